"""What tests of providers share: an issuer of tokens, and the API of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import issuers, token_review
from tests.support.issuers import TokenIssuer
from tests.support.token_review import Cluster


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[TokenIssuer]:
    """An issuer with one RSA key."""
    with issuers.serve(tmp_path / "issuer") as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The API server of a cluster in which nothing runs."""
    with token_review.serve(tmp_path / "cluster") as running:
        yield running
