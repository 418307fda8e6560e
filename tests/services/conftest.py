"""A CA in this process for tests of services, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_ca import config
from acme_ca.config import Config
from tests.support.ca import RunningCa, make_ca_files, start_ca, with_environment
from tests.support.web import WebServer, serve


@pytest.fixture(scope="session")
def service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration that `acme-ca init` makes."""
    return make_ca_files(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def service_settings(service_folder: Path) -> Config:
    """What it says."""
    return config.load(service_folder)


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with serve(WebServer()) as running:
        yield running


@pytest.fixture
def ca(service_settings: Config, tmp_path: Path, database_url: str, website: WebServer) -> Iterator[RunningCa]:
    """A CA on each kind of database, which validates at the website."""
    network = service_settings.environment["test"].validation.model_copy(update={"http_port": website.port})
    running = start_ca(with_environment(service_settings, "test", validation=network), database_url, tmp_path / "state")
    yield running
    running.close()
