"""A real PostgreSQL server for the tests: its own cluster in a temporary folder, on a free loopback port.

It keeps its default durability (fsync). It ends with the process that started it, however that one ends.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

START_ATTEMPTS = 3  # another process may take the port between its choice and its use
START_SECONDS = 60
STOP_SECONDS = 15
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "log_min_messages": "warning",
}


class Postgres:
    """A running server. Databases are made from it as tests need them and go with it."""

    def __init__(self) -> None:
        self._programs = require_tool("postgres").parent
        self._folder = Path(tempfile.mkdtemp(prefix="acme-ca-postgres-"))
        self.password = secrets.token_hex(16)
        self.passfile = self._folder / "pgpass"
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        try:
            self._make_cluster()
            self._start()
        except BaseException:
            self.stop()
            raise

    def url(self, database: str) -> str:
        """Return the URL of a database. Without the password: libpq reads that from `passfile` (PGPASSFILE)."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Return the URL of a new database, a copy of another one to which nobody is connected."""
        name = f"test_{next(self._numbers)}"
        with self._connect() as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database made by `new_database`, and cut who is still connected to it."""
        with self._connect() as connection:
            name = sql.Identifier(url.rpartition("/")[2])
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def stop(self) -> None:
        """Stop the server, and with it everything that it kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # "fast": clients are cut, nothing is lost
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(STOP_SECONDS)
        shutil.rmtree(self._folder)

    def _make_cluster(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        self.passfile.touch(mode=0o600)  # libpq ignores one that others can read
        self.passfile.write_text(f"127.0.0.1:*:*:postgres:{self.password}\n")
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (self._folder, password_file):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        initdb = [self._programs / "initdb", "--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"]
        options = ["--locale=C", "--no-sync", f"--pwfile={password_file}", f"--pgdata={self._folder / 'data'}"]
        command = self._as_postgres([*map(str, initdb), *options])
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)

    def _start(self) -> None:
        for _ in range(START_ATTEMPTS):
            self.port = _free_port()
            settings = [f"-c{name}={value}" for name, value in (SETTINGS | {"port": self.port}).items()]
            command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *settings]
            with (self._folder / "log").open("wb") as log:
                self._process = subprocess.Popen(self._as_postgres(command), stderr=log, stdout=log, cwd=self._folder)
            if self._answers(self._process):
                return
        raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()}")

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), self._connect():
                return True
            time.sleep(0.05)
        return False

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5, passfile=str(self.passfile))

    @staticmethod
    def _as_postgres(command: Sequence[str]) -> list[str]:
        """PostgreSQL refuses to run as root; setpriv becomes the program, so its process is PostgreSQL's own."""
        user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        return [str(require_tool("setpriv")), "--pdeathsig=INT", *user, "--", *command]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
