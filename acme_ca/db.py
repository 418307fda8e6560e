"""The database: engines, transactions and their promises.

`read` sees, `write` changes, and `write(durable=True)` is on disk before it returns. What was promised to a client for
good (accounts, issued certificates, revocations) is written durably; what a client simply asks for again (orders,
authorizations) may be lost in a power cut, and only then.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import structlog
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from acme_ca import baton
from acme_ca.problems import Contended, ServiceUnavailable

log = structlog.get_logger(__name__)

REVISION = "0015"  # of the tables: the newest in migrations/versions, which a test compares
BUSY_TIMEOUT = 30_000  # milliseconds that SQLite waits for another process's transaction
SETTLING = 2.0  # seconds that `settle` waits at most
IDLE = 60_000  # milliseconds that PostgreSQL keeps a transaction open of which it hears nothing
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""When a server that is gone without a word is given up: after a minute."""
_REHEARSING = ContextVar("rehearsing", default=False)
_COMMITS = ContextVar("commits", default=0)
SERIALIZATION_FAILURES = ("40001", "40P01")  # SQLSTATE: repeat the transaction


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

    def __enter__(self) -> None:
        """Take the turn; raises ServiceUnavailable when its file cannot be had."""
        if not self._lock.acquire(blocking=False):
            with baton.aside():
                self._lock.acquire()
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._wait_for(self._file)
        except OSError as error:
            self._lock.release()
            log.warning("database.no_turn", path=self._path, error=str(error))
            raise ServiceUnavailable("the database does not answer; repeat the request") from error
        except BaseException:
            self._lock.release()
            raise

    @staticmethod
    def _wait_for(file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with baton.aside():
                fcntl.flock(file, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        """Let the next one have it."""
        fcntl.flock(self._file or 0, fcntl.LOCK_UN)
        self._lock.release()

    def close(self) -> None:
        """Close the file, unless somebody has the turn: they need it. Whoever comes next opens it again."""
        if self._lock.acquire(blocking=False):
            if self._file is not None:
                os.close(self._file)
            self._file = None
            self._lock.release()


class Kept:
    """Open connections of an engine, for one transaction at a time each; the one used last is taken first.

    A process has no more of them than threads that speak to the database at once.
    """

    def __init__(self, engine: Engine) -> None:
        self.driver = engine.dialect.loaded_dbapi  # the module, which has the classes of its errors (PEP 249)
        self._engine = engine
        self._idle: list[Connection] = []

    @contextmanager
    def __call__(self) -> Iterator[Connection]:
        """Lend a connection; after trouble with the database, neither it nor another one is used again."""
        try:
            connection = self._idle.pop()
        except IndexError:
            with baton.aside():  # it may have to wait for another program
                connection = self._engine.connect()
        try:
            yield connection
        except (OperationalError, self.driver.OperationalError):
            connection.invalidate()
            connection.close()
            self.close()
            raise
        except BaseException:
            self._take_back(connection)
            raise
        self._take_back(connection)

    def close(self) -> None:
        """Close all connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _take_back(self, connection: Connection) -> None:
        if connection.in_transaction():  # as SQLAlchemy sees it; the transaction of the database is over
            connection.rollback()
        self._idle.append(connection)


class Database:
    """Transactions on the configured database. Made before or after a fork; connections are opened on first use.

    Drivers are in autocommit mode, and transactions are begun and ended here: what SQLAlchemy does around each costs
    more than the statements in it.
    """

    def __init__(self, url: str, password: str | None = None, *, only_look: bool = False) -> None:
        """Remember where the database is; with `only_look`, SQLite neither makes a file nor changes it."""
        self.url = _with_driver(make_url(url), password)
        if only_look and self.url.get_backend_name() == "sqlite":
            file = f"file:{quote(self.url.database or '')}"
            self.url = self.url.set(database=file, query={"mode": "ro", "uri": "true"})
        if self.url.get_backend_name() == "sqlite":
            self._reading = Kept(_sqlite_engine(self.url, synchronous="NORMAL", busy_timeout=BUSY_TIMEOUT))
            self._writing = Kept(_sqlite_engine(self.url, synchronous="NORMAL", busy_timeout=0))
            self._durable = Kept(_sqlite_engine(self.url, synchronous="FULL", busy_timeout=0))
            # With the write lock taken at once, no transaction has to be repeated half-way (SQLITE_BUSY_SNAPSHOT).
            self._begin = self._begin_durable = "BEGIN IMMEDIATE"
            self._turn: Any = WriteTurn(f"{self.url.database}-turn")
            self._waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        else:
            self._reading = self._writing = self._durable = Kept(_engine(self.url))
            self._begin = "BEGIN; SET LOCAL synchronous_commit = off"
            self._begin_durable = "BEGIN"
            self._turn = nullcontext()
            self._waiting = baton.aside  # each statement goes to a server and back
        self._driver: Any = self._reading.driver

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection that only looks; each statement sees the latest commit."""
        with self._translated(), self._waiting(), self._reading() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Open a transaction, committed at the end of the block; an exception rolls it back."""
        kept, begin = (self._durable, self._begin_durable) if durable else (self._writing, self._begin)
        with self._translated(), self._waiting(), self._turn, kept() as connection:
            driver: Any = connection.connection.driver_connection
            self._start(driver, begin)
            try:
                yield connection
                with baton.aside() if durable else nullcontext():
                    self._end(driver)
            except BaseException:
                with suppress(self._driver.Error):  # a connection that is lost has lost the transaction too
                    driver.execute("ROLLBACK")
                raise

    def settle(self) -> None:
        """Wait until the transactions that are writing now have ended: what they wrote is seen from then on.

        A row has its time before it is committed. PostgreSQL's may be slow: two seconds is the longest that is waited.
        """
        if self.url.get_backend_name() == "sqlite":
            with self.write():
                return
        with self.read() as connection:
            own = connection.scalar(text("SELECT pg_current_xact_id()::text"))  # those that write have older ones
            ended = text("SELECT pg_snapshot_xmin(pg_current_snapshot()) > CAST(:own AS xid8)")
            until = time.monotonic() + SETTLING
            while not connection.scalar(ended, {"own": own}) and time.monotonic() < until:
                time.sleep(0.01)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Undo what this thread writes in the block, each transaction at its end: to tell what would come of it."""
        token = _REHEARSING.set(True)
        try:
            yield
        finally:
            _REHEARSING.reset(token)

    @property
    def commits(self) -> int:
        """How many transactions this thread committed so far, those counted of which it may not know."""
        return _COMMITS.get()

    @staticmethod
    def _end(driver: Any) -> None:  # noqa: ANN401 - the driver's own connection
        if _REHEARSING.get():
            driver.execute("ROLLBACK")
            return
        _COMMITS.set(_COMMITS.get() + 1)  # before: a connection that breaks now leaves it open what became of it
        driver.execute("COMMIT")

    def _start(self, driver: Any, begin: str) -> None:  # noqa: ANN401 - the driver's own connection
        """Begin a transaction; another program that holds SQLite's write lock is waited for without the baton."""
        try:
            driver.execute(begin)
        except self._driver.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:  # of its extended codes too
                raise
            with baton.aside():
                driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
                try:
                    driver.execute(begin)
                finally:
                    driver.execute("PRAGMA busy_timeout=0")

    @contextmanager
    def reshape(self) -> Iterator[Connection]:
        """Open a transaction as SQLAlchemy makes it, for migrations."""
        is_sqlite = self.url.get_backend_name() == "sqlite"
        options = {"isolation_level": None} if is_sqlite else {}  # sqlite3 alone would not take the tables into it
        engine = create_engine(self.url, poolclass=NullPool, hide_parameters=True, connect_args=options)
        with self._translated(), self._turn, engine.begin() as connection:
            if is_sqlite:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # kept in the file; needs it for itself
                connection.exec_driver_sql("BEGIN IMMEDIATE")
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

    def close(self) -> None:
        """Close all connections, and the file of the turn."""
        for kept in (self._reading, self._writing, self._durable):
            kept.close()
        if isinstance(self._turn, WriteTurn):
            self._turn.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Trouble with the database is passing trouble for the client: 503, to be repeated."""
        driver = self._driver
        try:
            yield
        except (DBAPIError, driver.Error) as error:
            original = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(original, driver.IntegrityError):
                raise AlreadyThereError from error
            if getattr(original, "sqlstate", None) in SERIALIZATION_FAILURES:
                raise Contended from error
            if isinstance(original, (driver.OperationalError, driver.InternalError)):  # away, or one that only reads
                log.warning("database.failed", error=str(original))
                raise ServiceUnavailable("the database does not answer; repeat the request") from error
            raise


def _with_driver(url: URL, password: str | None) -> URL:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url.set(password=password) if password is not None else url


def _engine(url: URL) -> Engine:
    """Make an engine for PostgreSQL; whoever waits for a lock, or holds one and is gone, does so for a bounded time."""
    keepalive = {name: value for name, value in KEEPALIVE.items() if name not in url.query}
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=keepalive
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        for setting, milliseconds in (("lock_timeout", BUSY_TIMEOUT), ("idle_in_transaction_session_timeout", IDLE)):
            connection.execute(f"SET {setting} = {milliseconds}")  # no option of the connection: poolers refuse those
        connection.commit()

    return engine


def _sqlite_engine(url: URL, *, synchronous: str, busy_timeout: int) -> Engine:
    only_look = url.query.get("mode") == "ro"
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
        # It stays so once it is set. To set it again needs a lock that is not waited for.
        if not only_look and connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=WAL")
        for pragma in (f"synchronous={synchronous}", "foreign_keys=ON", f"busy_timeout={busy_timeout}"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
