"""SoftHSM for each test, with a token of its own."""

from __future__ import annotations

import secrets

import pytest

from acme_ca import keys
from tests.support.softhsm import CONFIGURATION, SoftHsm, Token


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(autouse=True)
def own(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> object:
    """Each test has SoftHSM, and a library that is not loaded yet."""
    monkeypatch.setenv(CONFIGURATION, str(softhsm.configuration))
    yield
    keys.let_go()


@pytest.fixture
def token(softhsm: SoftHsm) -> Token:
    return softhsm.token(f"token-{secrets.token_hex(4)}")
