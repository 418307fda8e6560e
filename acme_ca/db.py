"""The database: engines, transactions and their promises.

`read` sees, `write` changes, and `write(durable=True)` is on disk before it returns. What was promised to a client for
good (accounts, issued certificates, revocations) is written durably; what a client simply asks for again (orders,
authorizations) may be lost in a power cut, and only then.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import structlog
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from acme_ca.problems import Contended, ServiceUnavailable

log = structlog.get_logger(__name__)

REVISION = "0001"  # of the tables: the newest in migrations/versions, which a test compares
BUSY_TIMEOUT = 30_000  # milliseconds that SQLite waits for another process's transaction
POOL_TIMEOUT = 10.0  # seconds to wait for a connection
SERIALIZATION_FAILURES = ("40001", "40P01")  # SQLSTATE: repeat the transaction
PASSING = (OperationalError, InternalError)  # the server is away; it is a standby that only reads


class AlreadyThereError(Exception):
    """A row with the same unique values exists: somebody else was first."""


class WriteTurn:
    """One writer at a time over all threads and processes of a host, in a queue that sleeps instead of polling.

    SQLite has one writer anyhow; its own waiting is by sleeps of up to 100 ms. The kernel drops the lock of a process
    that dies.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the turn."""
        with self._lock:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)


class Database:
    """Transactions on the configured database. Made before or after a fork; connections are opened on first use."""

    def __init__(self, url: str, password: str | None = None, pool_size: int = 24) -> None:
        self.url = _with_driver(make_url(url), password)
        if self.url.get_backend_name() == "sqlite":
            self._reading = _sqlite_engine(self.url, pool_size, begin=None, synchronous="NORMAL")
            self._writing = _sqlite_engine(self.url, 2, begin="BEGIN IMMEDIATE", synchronous="NORMAL")
            self._durable = _sqlite_engine(self.url, 2, begin="BEGIN IMMEDIATE", synchronous="FULL")
            self._turn: Any = WriteTurn(f"{self.url.database}-turn")
        else:
            self._writing = _engine(self.url, pool_size, connect_args={"options": "-c synchronous_commit=off"})
            self._durable = _engine(self.url, pool_size)
            self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")
            self._turn = nullcontext

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection that only looks; each statement sees the latest commit."""
        with _translated(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Open a transaction, committed at the end of the block; an exception rolls it back."""
        engine = self._durable if durable else self._writing
        with _translated(), self._turn(), engine.begin() as connection:
            yield connection

    def require_current(self) -> None:
        """Raise RuntimeError unless the tables are those of this version."""
        with self.read() as connection:
            is_there = inspect(connection).has_table("alembic_version")
            found = connection.scalar(text("SELECT version_num FROM alembic_version")) if is_there else None
        if found != REVISION:
            raise RuntimeError(
                f"the database is at revision {found or 'none'}, this version needs {REVISION}: "
                "run `acme-ca db upgrade`"
            )

    def dispose(self) -> None:
        """Close all connections."""
        for engine in (self._reading, self._writing, self._durable):
            engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """Trouble with the database is passing trouble for the client: 503, to be repeated."""
    try:
        yield
    except IntegrityError as error:
        raise AlreadyThereError from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in SERIALIZATION_FAILURES:
            raise Contended from error
        if isinstance(error, PASSING) or error.connection_invalidated:
            log.warning("database.failed", error=str(error.orig))
            raise ServiceUnavailable("the database does not answer; repeat the request") from error
        raise
    except PoolTimeout as error:
        raise ServiceUnavailable("all database connections are busy; repeat the request") from error


def _with_driver(url: URL, password: str | None) -> URL:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url.set(password=password) if password is not None else url


def _engine(url: URL, pool_size: int, **options: Any) -> Engine:  # noqa: ANN401 - passed on to SQLAlchemy as they are
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        pool_pre_ping=False,
        hide_parameters=True,
        **options,
    )


def _sqlite_engine(url: URL, pool_size: int, *, begin: str | None, synchronous: str) -> Engine:
    engine = _engine(
        url,
        pool_size,
        connect_args={"isolation_level": None, "check_same_thread": False},
        pool_reset_on_return=None,  # each transaction was committed or rolled back by its block
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT}",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    if begin is not None:

        @event.listens_for(engine, "begin")
        def start(connection: Any) -> None:  # noqa: ANN401 - the driver's own connection
            # With the write lock taken at once, no transaction has to be repeated half-way (SQLITE_BUSY_SNAPSHOT).
            connection.connection.driver_connection.execute(begin)

    return engine
