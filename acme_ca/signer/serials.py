"""Which serials were signed lately: none is signed twice, whatever the ledger says by then.

A file beside the socket, shared with a signer that takes over or is about to end. It needs no fsync: it has to outlive
a process, and the ledger's claims are good for minutes.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from acme_ca import clock
from acme_ca.keys import KeyAway

KEPT = 24 * 3600  # seconds
SWEEP_EVERY = 1000  # serials


class Serials:
    """The serials that were signed within a day."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._until_sweep = 0

    def take(self, issuer: str, serial: int) -> bool:
        """Record a serial of an issuer as signed; False when it was before. Raises KeyAway when that cannot be told."""
        with self._lock:
            try:
                return self._take(f"{issuer} {serial:x}", int(clock.now().timestamp()))
            except sqlite3.Error as error:
                self._connection = None
                raise KeyAway(str(self._path), f"what was signed cannot be recorded: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _take(self, name: str, now: int) -> bool:
        connection = self._connection = self._connection or self._opened()
        taken = connection.execute("INSERT OR IGNORE INTO signed VALUES (?, ?)", (name, now)).rowcount == 1
        self._until_sweep -= 1
        if self._until_sweep < 0:
            self._until_sweep = SWEEP_EVERY
            connection.execute("DELETE FROM signed WHERE at < ?", (now - KEPT,))
        return taken

    def _opened(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE IF NOT EXISTS signed (serial TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE INDEX IF NOT EXISTS signed_at ON signed (at)",
        ):
            connection.execute(statement)
        return connection
