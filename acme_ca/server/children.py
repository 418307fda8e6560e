"""Child processes: what the supervisor tells them, and what they do. Each runs `acme-ca serve --only ROLE` again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict

from acme_ca import logs, worker
from acme_ca.app import Face
from acme_ca.config import Config
from acme_ca.server import listeners
from acme_ca.server.application import NOT_ASSEMBLED, RETRY_FIRST, RETRY_MAX, Application, assemble
from acme_ca.services import listener
from acme_ca.signer import process as signer

Role = Literal["signer", "acme", "status", "admin", "worker"]

PARENT_CHECK = 0.5  # seconds between looks at whether the supervisor is still there

log = structlog.get_logger(__name__)


class Orders(BaseModel):
    """What a child reads from its standard input.

    It is the configuration as it was accepted: a child that is started again later gets the same one, whatever has
    become of the file meanwhile. Descriptors are inherited.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    config: Config
    listen: tuple[int, ...]
    ready: int
    supervisor: int


@dataclass(slots=True)
class Child:
    """A running child, seen from the supervisor. It is ready when each of its workers wrote a byte."""

    role: Role
    process: subprocess.Popen[bytes]
    unready: int
    pipe: int | None
    started: float = field(default_factory=time.monotonic)

    def note_ready(self) -> None:
        """Read what the pipe has."""
        if self.pipe is not None:
            said = os.read(self.pipe, 64)
            self.unready -= len(said)
            if self.unready <= 0 or not said:
                self.hang_up()

    def hang_up(self) -> None:
        """Stop to listen to the pipe."""
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    @property
    def is_ready(self) -> bool:
        """Whether it serves with all its workers."""
        return self.unready <= 0

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to finish what it has at hand and end."""
        self.process.terminate()

    def kill(self) -> None:
        """End it and its own children now."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def start(role: Role, config: Config, config_path: Path, listening: Sequence[socket.socket]) -> Child:
    """Start a child in a process group of its own: Ctrl-C at a terminal is for the supervisor, which drains."""
    reading, writing = os.pipe()
    try:
        orders = Orders(
            role=role,
            config=config,
            listen=tuple(opened.fileno() for opened in listening),
            ready=writing,
            supervisor=os.getpid(),
        )
        with tempfile.TemporaryFile() as file:
            file.write(orders.model_dump_json().encode())
            file.seek(0)
            process = subprocess.Popen(  # noqa: S603 - this very program
                [sys.executable, "-m", "acme_ca", "serve", "--config", config_path, "--only", role, "--child"],
                stdin=file,
                pass_fds=[orders.ready, *orders.listen],
                process_group=0,
                env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
            )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    workers = 1 if role in {"signer", "worker"} else getattr(config.listener, role).workers
    return Child(role, process, workers, reading)


def run(orders: Orders) -> None:
    """Do what the supervisor ordered, until told to stop or left alone."""
    logs.configure(orders.config.log)
    ready = partial(_say_ready, orders.ready)
    if orders.role == "signer":
        _sign(orders, ready)
    elif orders.role == "worker":
        _work(orders, ready)
    else:
        _listen(orders.role, orders.config, orders.listen, ready)


def _listen(role: Face, config: Config, descriptors: Sequence[int], ready: Callable[[], None]) -> None:
    own = getattr(config.listener, role)
    certificate = None if role == "status" else listener.certificate_path(config)
    clients = own.issuer.certificate if role == "admin" else None
    settings = listeners.settings(descriptors, own.workers, own.threads, certificate, ready, clients)
    listeners.Listener(settings, partial(Application, config, role)).run()


def _sign(orders: Orders, ready: Callable[[], None]) -> None:
    """Be the signer. Until its keys can be had, the socket is there, and who asks waits, or hears that it is away."""
    told = Told()
    (descriptor,) = orders.listen

    def stopping() -> bool:
        return told.to_stop or os.getppid() != orders.supervisor

    ready()
    pause = RETRY_FIRST
    while not stopping():
        try:
            server = signer.prepare(orders.config, socket.socket(fileno=os.dup(descriptor)))
        except NOT_ASSEMBLED:
            log.exception("signer.not_ready", retry_in=pause)
            time.sleep(pause)
            pause = min(pause * 2, RETRY_MAX)
        else:
            signer.run(server, stopping)


def _work(orders: Orders, ready: Callable[[], None]) -> None:
    told = Told()
    stopping = threading.Event()
    thread = threading.Thread(target=_worker, args=(orders.config, stopping, ready), name="worker")
    thread.start()
    while thread.is_alive() and not told.to_stop and os.getppid() == orders.supervisor:
        thread.join(PARENT_CHECK)
    stopping.set()
    thread.join()


class Told:
    """Whether a signal asked for the end. Only a flag: a handler may run inside of any lock."""

    def __init__(self) -> None:
        self.to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: object) -> None:
        self.to_stop = True


def _worker(config: Config, stopping: threading.Event, ready: Callable[[], None]) -> None:
    ready()
    ca = assemble(config, stopping)
    if ca is not None:
        try:
            worker.run(ca, stopping)
        finally:
            ca.close()


def _say_ready(descriptor: int) -> None:
    with suppress(BrokenPipeError):  # the supervisor knew already: this is a worker process that came later
        os.write(descriptor, b".")
