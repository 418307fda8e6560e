"""The CA of tests/support/client_config.py, and a file with the MAC key of an external account key."""

from __future__ import annotations

from pathlib import Path

import pytest

from acme_ca.config import Config, load
from tests.support import client_config
from tests.support.client_config import KEY


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_config.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def config(path: Path) -> Config:
    return load(path)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "mac-key"
    file.write_text(f"{KEY}\n")
    return file
