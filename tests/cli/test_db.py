"""`acme-ca db upgrade`."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from acme_ca.config import load
from acme_ca.db import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    assert CliRunner().invoke(cli, ["init", "--dir", str(tmp_path), "--environment", "prod"]).exit_code == 0
    return tmp_path / "acme-ca.toml"


def upgrade(path: Path) -> Result:
    return CliRunner().invoke(cli, ["db", "upgrade", "--config", str(path)])


def test_the_tables_are_made_and_kept(path: Path) -> None:
    for file in path.parent.glob("acme-ca.db*"):
        file.unlink()
    assert (upgrade(path).exit_code, upgrade(path).exit_code) == (0, 0)
    database = Database(load(path).database.url)
    database.require_current()
    database.close()


def test_the_tables_are_made_in_postgresql_too(path: Path, postgres_url: str) -> None:
    path.write_text(path.read_text().replace("sqlite:///acme-ca.db", postgres_url))
    assert upgrade(path).exit_code == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ('url = "sqlite:///nowhere/acme-ca.db"', "nowhere/acme-ca.db"),
        ('url = "postgresql://a@127.0.0.1:1/b"', "postgresql://a@127.0.0.1:1/b"),
        ('url = "postgresql://a@b/c"\npassword = "env:NO_SUCH_VARIABLE"', "the password of the database: env:NO_SUCH"),
        ('url = "mysql://a@b/c"', "1 mistake(s) in the configuration"),
    ],
)
def test_a_database_that_is_not_there_is_refused(path: Path, settings: str, reason: str) -> None:
    path.write_text(path.read_text().replace('url = "sqlite:///acme-ca.db"', settings))
    result = upgrade(path)
    assert result.exit_code == 1, result.output
    assert reason in result.stderr
    assert isinstance(result.exception, SystemExit)
