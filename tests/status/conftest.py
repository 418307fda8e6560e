"""The status face of a CA in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from acme_ca import config
from acme_ca.config import Config
from tests.support.ca import RunningCa, make_ca_files, start_ca


@pytest.fixture(scope="session")
def status_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What `acme-ca init` makes, once for all tests of a process."""
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def ca(status_settings: Config, tmp_path: Path, sqlite_url: str) -> Iterator[RunningCa]:
    """A CA on an empty database."""
    running = start_ca(status_settings, sqlite_url, tmp_path / "state")
    yield running
    running.close()


@pytest.fixture
def client(ca: RunningCa) -> FlaskClient:
    """Asks the CA's status face."""
    return ca.app.test_client()
