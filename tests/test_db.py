"""The database and its tables, on each kind of database."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic import command

from acme_ca import baton, db
from acme_ca.db import AlreadyThereError, Database
from acme_ca.migrations import upgrade as migrations
from acme_ca.migrations.upgrade import newest, require_complete, upgrade
from acme_ca.models import base
from acme_ca.models.environment import SpentNonce
from acme_ca.problems import ServiceUnavailable


@pytest.fixture
def database(database_url: str) -> Database:
    """An upgraded database."""
    found = Database(database_url)
    upgrade(found)
    return found


def test_this_version_needs_the_newest_revision() -> None:
    assert newest() == db.REVISION


def test_migrations_make_the_tables_of_the_models(database: Database) -> None:
    require_complete(database)
    database.require_current()
    upgrade(database)  # again, which changes nothing
    database.close()


def test_events_of_old_keep_who_did_them(database_url: str) -> None:
    made = Database(database_url)
    with made.reshape() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    values = "'2026-01-01 00:00:00.000000', 'test', 'account.revoked', 's', {account}, '{details}'"
    with made.write() as connection:
        for account, details in (("'a'", '{"by": "admin:eve"}'), ("'a'", "{}"), ("NULL", "{}")):
            connection.exec_driver_sql(
                "INSERT INTO audit_events (at, environment, event, subject, account_id, details) "
                f"VALUES ({values.format(account=account, details=details)})"
            )
    upgrade(made)
    with made.read() as connection:
        found = connection.exec_driver_sql("SELECT actor FROM audit_events ORDER BY id").fetchall()
    assert [row[0] for row in found] == ["admin:eve", "a", "system"]
    made.close()


def test_database_without_tables_is_refused_with_what_to_do(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(RuntimeError, match="acme-ca db upgrade"):
        database.require_current()
    database.close()


def test_failed_transaction_leaves_nothing(database: Database) -> None:
    for again in (False, True):
        with pytest.raises(AlreadyThereError), database.write() as connection:
            base.insert(connection, SpentNonce(b"1"), SpentNonce(b"2"), SpentNonce(b"1"))
        with database.read() as connection:
            assert base.find(connection, SpentNonce, base.select(SpentNonce)) == [], again
    database.close()


def test_database_that_is_away_is_passing_trouble() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(ServiceUnavailable), database.read():
        pass


def test_server_that_only_reads_is_passing_trouble(postgres_url: str) -> None:
    """As a standby does during a failover."""
    database = Database(postgres_url)
    upgrade(database)
    with database.write() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {database.url.database} SET default_transaction_read_only = on")
    database.close()
    with pytest.raises(ServiceUnavailable), database.write() as connection:
        base.insert(connection, SpentNonce(b"1"))
    database.close()


def test_nobody_waits_for_a_lock_for_ever(postgres_url: str) -> None:
    database = Database(postgres_url)
    for open_connection in (database.read, database.write):
        with open_connection() as connection:
            for setting in ("lock_timeout", "idle_in_transaction_session_timeout"):
                assert connection.exec_driver_sql(f"SHOW {setting}").scalar() in {"30s", "1min"}
    database.close()


def test_a_turn_that_cannot_be_had_is_passing_trouble(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    Path(f"{sqlite_url.removeprefix('sqlite:///')}-turn").mkdir(parents=True)
    with pytest.raises(ServiceUnavailable), database.write():
        pass


def test_another_program_that_writes_is_waited_for_without_the_baton(sqlite_url: str) -> None:
    """Such as a person with a shell: readers of the same process go on."""
    database = Database(sqlite_url)
    upgrade(database)
    foreign = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        with baton.held():
            begun.set()
            with database.write() as connection:
                base.insert(connection, SpentNonce(b"1"))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(10)
    with baton.held():
        assert not done.is_set()
    foreign.execute("ROLLBACK")
    foreign.close()
    thread.join(30)
    assert done.is_set()
    database.close()


def test_a_database_that_was_closed_leaves_no_file_open(database: Database) -> None:
    with database.write() as connection:
        base.insert(connection, SpentNonce(nonce=b"a" * 16))
    path = str(database.url.database)
    database.close()
    descriptors = list(Path("/proc/self/fd").iterdir())
    assert not [one for one in descriptors if one.exists() and str(one.readlink()).startswith(path)]
    with database.write() as connection:
        base.insert(connection, SpentNonce(nonce=b"b" * 16))
    database.close()
