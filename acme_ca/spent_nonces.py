"""Which nonces were used: one atomic record each, seen by all processes, that expires by itself. RFC 8555 §6.5.

A record is the nonce's 16 bytes `time || random`, so records are made and dropped in order of time. They need no
fsync: after a power cut the nonces of the last moments could be used twice, within their lifetime, by their owner.
"""

import sqlite3
import threading
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import bindparam, delete
from sqlalchemy.dialects.postgresql import insert

from acme_ca.db import Database, WriteTurn
from acme_ca.models.environment import SpentNonce
from acme_ca.problems import ServiceUnavailable

log = structlog.get_logger(__name__)


class SpentNonces(Protocol):
    """What both stores do."""

    def spend(self, nonce: bytes) -> bool:
        """Record the nonce as used; False when it was before."""
        ...

    def forget(self, before: bytes) -> int:
        """Drop the records below `before`; return how many."""
        ...


class SpentNoncesFile:
    """For one host: a SQLite file of its own, so that spending a nonce never waits for the CA's database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = WriteTurn(f"{path}-turn")
        self._opening = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def spend(self, nonce: bytes) -> bool:
        """Record the nonce as used; False when it was before."""
        return self._changed("INSERT OR IGNORE INTO spent VALUES (?)", nonce) == 1

    def forget(self, before: bytes) -> int:
        """Drop the records below `before`; return how many."""
        return self._changed("DELETE FROM spent WHERE nonce < ?", before)

    def _changed(self, statement: str, nonce: bytes) -> int:
        """Return how many rows the statement changed; raises ServiceUnavailable when the file cannot be used."""
        try:
            with self._turn:
                return self._opened().execute(statement, (nonce,)).rowcount
        except (sqlite3.Error, OSError) as error:
            log.warning("spent_nonces.failed", error=str(error))
            raise ServiceUnavailable("the store of used nonces does not answer; repeat the request") from error

    def _opened(self) -> sqlite3.Connection:
        with self._opening:
            if self._connection is None:
                connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
                for statement in (
                    "PRAGMA journal_mode=WAL",
                    "PRAGMA synchronous=OFF",
                    "CREATE TABLE IF NOT EXISTS spent (nonce BLOB PRIMARY KEY) WITHOUT ROWID",
                ):
                    connection.execute(statement)
                self._connection = connection
            return self._connection


_SPEND = insert(SpentNonce.table).on_conflict_do_nothing().returning(SpentNonce.table.c.nonce)
_FORGET = delete(SpentNonce.table).where(SpentNonce.table.c.nonce < bindparam("before"))


class SpentNoncesTable:
    """For several hosts: an unlogged table of the shared PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, nonce: bytes) -> bool:
        """Record the nonce as used; False when it was before."""
        with self._database.read() as connection:  # autocommit: one statement is one transaction
            return connection.execute(_SPEND, {"nonce": nonce}).first() is not None

    def forget(self, before: bytes) -> int:
        """Drop the records below `before`; return how many."""
        with self._database.read() as connection:
            return connection.execute(_FORGET, {"before": before}).rowcount


def spent_nonces(database: Database, state: Path) -> SpentNonces:
    """Return the store that fits the database."""
    if database.url.get_backend_name() == "sqlite":
        return SpentNoncesFile(state / "nonces.db")
    return SpentNoncesTable(database)
