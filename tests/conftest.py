"""What all tests share: databases of both kinds."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.support import ca, signer
from tests.support.postgres import Postgres
from tests.support.softhsm import CONFIGURATION, SoftHsm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the same tests run with keys that are kept elsewhere: `scripts/test --keys pkcs11 tests/acme`."""
    parser.addoption(
        "--keys", choices=("software", "pkcs11", "signer"), default="software", help="where CAs keep their keys"
    )


@pytest.fixture(scope="session", autouse=True)
def kept_keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each CA that is made has its keys in a token of its own, with `--keys pkcs11`, or with a signer beside it."""
    if request.config.getoption("--keys") == "software":
        yield
        return
    if request.config.getoption("--keys") == "signer":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ca, "beside", lambda settings: signer.beside(settings, tmp_path_factory.mktemp("signer")))
            yield
        return
    softhsm, number = SoftHsm(tmp_path_factory.mktemp("softhsm")), count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIGURATION, str(softhsm.configuration))
        patch.setattr(ca, "key_options", lambda: softhsm.token(f"ca-{next(number)}").options)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for each test process."""
    server = Postgres()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(server.passfile))  # for this process and those that it starts
        yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'acme-ca.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test on each kind of database, fresh and empty."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(fixture)
    return url
