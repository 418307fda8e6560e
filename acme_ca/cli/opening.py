"""The configuration and the database, opened for one command.

Both take their time to import, so that commands import this module when they run. SQLAlchemy waits until a database is
opened: who asks a server over its socket reads the configuration only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from acme_ca.cli.options import log_to_standard_error, refuse
from acme_ca.config import Config, ConfigError, load
from acme_ca.problems import Problem
from acme_ca.secret import SecretUnavailableError

if TYPE_CHECKING:
    from acme_ca.db import Database


def load_or_refuse(path: Path, *, files: bool = True) -> Config:
    """Return the configuration, or end with exit code 1 and every mistake in it. What is logged then is no answer."""
    log_to_standard_error()
    try:
        return load(path, files=files)
    except ConfigError as error:
        refuse(f"{len(error.mistakes)} mistake(s) in the configuration\n{error}")


@contextmanager
def open_database(config_path: Path, environment: str) -> Iterator[tuple[Config, Database]]:
    """Open the database for one command on an environment; what it refuses ends the command with exit code 1."""
    with open_whole_database(config_path) as (config, database):
        if environment not in config.environment:
            refuse(f"there is no environment {environment!r}; there are {', '.join(config.environment)}")
        yield config, database


@contextmanager
def open_whole_database(config_path: Path) -> Iterator[tuple[Config, Database]]:
    """Open the database for one command; what it refuses ends the command with exit code 1."""
    from acme_ca.db import Database

    config = load_or_refuse(config_path)
    try:
        database = Database(config.database.url, config.database.reveal_password())
        try:
            yield config, database
        finally:
            database.close()
    except Problem as problem:
        refuse(problem.detail)
    except SecretUnavailableError as error:
        refuse(f"the password of the database: {error}")
