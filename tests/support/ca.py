"""A whole CA in this process: made by `acme-ca init`, on a database of the test's own, validating on loopback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from cryptography import x509
from flask import Flask

from acme_ca.app import create_app
from acme_ca.authority import Authority
from acme_ca.cli import cli
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.keys import KeyBackend
from acme_ca.migrations.upgrade import upgrade
from tests.support.acme_client import AcmeClient

URL = "https://localhost:8443"


def key_file(key: KeyBackend) -> Path:
    """Return the file of a key that is in one."""
    assert key.file is not None
    return key.file


def key_options() -> tuple[str, ...]:
    """Where keys are kept; tests/conftest.py may say otherwise."""
    return ()


def beside(settings: Config) -> tuple[Config, Callable[[], None]]:
    """What a CA with this configuration runs with, and what ends what runs beside it; see tests/conftest.py."""
    return settings, lambda: None


def make_ca_files(folder: Path, *options: str) -> Path:
    """Run `acme-ca init` in a folder; return the configuration file."""
    result = CliRunner().invoke(cli, ["init", "--dir", str(folder), *key_options(), *options])
    assert result.exit_code == 0, result.output
    return folder / "acme-ca.toml"


def with_environment(settings: Config, name: str, **changes: Any) -> Config:  # noqa: ANN401 - settings of any kind
    """The configuration with some settings of an environment changed, and checked again."""
    table = settings.environment[name]
    document = table.model_copy(update=changes)
    checked = type(table).model_validate(document.model_dump(warnings=False), strict=False)
    return settings.model_copy(update={"environment": dict(settings.environment) | {name: checked}})


@dataclass
class RunningCa:
    """A CA and the ways to talk to it."""

    authority: Authority
    app: Flask
    root: x509.Certificate
    end_beside: Callable[[], None]

    def client(self, environment: str = "test") -> AcmeClient:
        """A client without an account yet."""
        return AcmeClient(self.app, f"{URL}/acme/{environment}")

    def close(self) -> None:
        """Let everything go."""
        self.authority.close()
        self.end_beside()


def start_ca(settings: Config, database_url: str, state: Path) -> RunningCa:
    """Start a CA with this configuration on this database, which is migrated first."""
    database = settings.database.model_copy(update={"url": database_url})
    settings = settings.model_copy(update={"database": database, "state": state})
    migration = Database(database_url)
    upgrade(migration)
    migration.close()
    settings, end_beside = beside(settings)
    authority = Authority(settings)
    app = create_app(authority, ("acme", "status"))
    root = x509.load_pem_x509_certificate(settings.service.issuer.root.read_bytes())
    return RunningCa(authority, app, root, end_beside)
