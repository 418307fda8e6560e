"""`acme-ca db`: the tables of the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca.cli.options import SETTINGS, config_option, refuse

if TYPE_CHECKING:
    from acme_ca.config import Config


@click.group(**SETTINGS)
def db() -> None:
    """Create or migrate the tables of the database."""


@db.command(**SETTINGS)
@config_option
def upgrade(config_path: Path) -> None:
    """Create the tables, or migrate them to what this version needs. Safe to repeat."""
    from acme_ca.cli.opening import load_or_refuse

    upgrade_or_refuse(load_or_refuse(config_path, files=False))
    click.echo("The database is up to date.")


def upgrade_or_refuse(config: Config) -> None:
    """Bring the configured database up to date, or end with exit code 1."""
    from acme_ca.db import Database
    from acme_ca.migrations import upgrade as migrations
    from acme_ca.problems import ServiceUnavailable
    from acme_ca.secret import SecretUnavailableError

    try:
        database = Database(config.database.url, config.database.reveal_password())
        try:
            migrations.upgrade(database)
        finally:
            database.close()
    except SecretUnavailableError as error:
        refuse(f"the password of the database: {error}")
    except ServiceUnavailable as error:
        refuse(f"{config.database.url}: {error.__cause__ or error.detail}")
    except OSError as error:
        refuse(f"{config.database.url}: {error.strerror}")
