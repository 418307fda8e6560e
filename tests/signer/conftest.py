"""A CA on a database and a signer beside it: the CA's own keys sign what the signer finds right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_ca import config
from acme_ca.authority import Authority
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from tests.support.ca import make_ca_files, with_environment
from tests.support.signer import RunningSigner, signing
from tests.support.sub_cas import RULES


@pytest.fixture(scope="session")
def signer_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What `acme-ca init` makes, with revocable certificates, responders and rules for sub-CAs in `test`."""
    folder = tmp_path_factory.mktemp("signer-ca")
    path = make_ca_files(folder)
    with path.open("a") as file:
        file.write(RULES)
    make_ca_files(folder)
    profiles = ("server-1h", "server-7d", "workload-1h")
    return with_environment(config.load(path), "test", profiles=profiles, ocsp=True)


@pytest.fixture
def settings(signer_settings: Config, tmp_path: Path, sqlite_url: str) -> Config:
    """The same on an empty database."""
    migration = Database(sqlite_url)
    upgrade(migration)
    migration.close()
    database = signer_settings.database.model_copy(update={"url": sqlite_url})
    return signer_settings.model_copy(update={"database": database, "state": tmp_path / "state"})


@pytest.fixture
def running(settings: Config, tmp_path: Path) -> Iterator[RunningSigner]:
    """The signer."""
    with signing(settings, tmp_path) as found:
        yield found


@pytest.fixture
def ca(running: RunningSigner) -> Iterator[Authority]:
    """The CA of a process that asks it."""
    found = Authority(running.settings)
    yield found
    found.close()
