"""A CA in this process for the protocol tests, with a web server and a DNS server that its validations reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acme_ca import config
from acme_ca.config import Config
from tests.support import dns, web
from tests.support.acme_client import AcmeClient
from tests.support.ca import RunningCa, make_ca_files, start_ca, with_environment
from tests.support.dns import DnsServer
from tests.support.web import WebServer

MakeCa = Callable[..., RunningCa]


@pytest.fixture(scope="session")
def ca_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Keys, certificates and configuration as `acme-ca init` makes them, once for all tests of a process."""
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca"), "--ip-network", "127.0.0.0/8"))


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as server:
        yield server


@pytest.fixture
def nameserver() -> Iterator[dns.Running]:
    """The resolver that the CA asks."""
    with dns.serve(DnsServer()) as running:
        yield running


@pytest.fixture
def make_ca(ca_settings: Config, tmp_path: Path, sqlite_url: str, website: WebServer) -> Iterator[MakeCa]:
    """Return a CA whose environment `test` has some settings changed; all of them validate at the test's website."""
    running: list[RunningCa] = []

    def make(*, database_url: str = sqlite_url, validation: dict[str, Any] | None = None, **changes: Any) -> RunningCa:  # noqa: ANN401 - settings of any kind
        network = ca_settings.environment["test"].validation
        changed = network.model_copy(update={"http_port": website.port, "timeout": 2.0, **(validation or {})})
        settings = ca_settings
        for name in ca_settings.environment:
            settings = with_environment(settings, name, validation=changed, **(changes if name == "test" else {}))
        running.append(start_ca(settings, database_url, tmp_path / "state"))
        return running[-1]

    yield make
    for ca in running:
        ca.close()


@pytest.fixture
def ca(make_ca: MakeCa) -> RunningCa:
    """A CA as init configures it, on SQLite."""
    return make_ca()


@pytest.fixture
def ca_on_each(make_ca: MakeCa, database_url: str) -> RunningCa:
    """A CA on each kind of database."""
    return make_ca(database_url=database_url)


@pytest.fixture
def client(ca: RunningCa) -> AcmeClient:
    """A client with an account in the environment `test`."""
    return ca.client().register()
