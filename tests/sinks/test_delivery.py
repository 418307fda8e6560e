"""What counts as delivered, and that no receiver holds a delivery up."""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acme_ca import https
from acme_ca.sinks import DeliveryFailedError, SealedEvent
from acme_ca.sinks import file as file_sink
from acme_ca.sinks.file import File
from acme_ca.sinks.syslog import Syslog
from tests.support.pop import tls_server

Serve = Callable[[ssl.SSLSocket], None]
EVENT = SealedEvent(1, "ab" * 32, 1, datetime(2026, 1, 31, tzinfo=UTC), "prod", "order.created", "a", "a", "o", {})
BIG = SealedEvent(
    2, "ab" * 32, 2, datetime(2026, 1, 31, tzinfo=UTC), "prod", "order.created", "a", "a", "o", {"x": "x" * 50_000}
)


@contextmanager
def receiver(folder: Path, serve: Serve) -> Iterator[tuple[int, Path]]:
    """A server that speaks TLS as the function does: its port, and the file of its root."""
    context, root = tls_server(folder)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            with suppress(OSError):
                plain, _ = listening.accept()
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                with context.wrap_socket(plain, server_side=True) as connection:
                    serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listening.getsockname()[1], root
        thread.join(0.1)


@contextmanager
def soon_over() -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 3


def syslog(port: int, root: Path, **settings: object) -> Syslog:
    return Syslog(name="siem", host="127.0.0.1", port=port, ca_file=root, **settings)  # type: ignore[arg-type]  # whatever a test sets


def hang_up(connection: ssl.SSLSocket) -> None:
    """Read everything, and close without a word."""
    while connection.recv(4096):
        pass
    connection.shutdown(socket.SHUT_RDWR)


def take(connection: ssl.SSLSocket) -> None:
    while connection.recv(4096):
        pass
    connection.unwrap().close()


def read_slowly(connection: ssl.SSLSocket) -> None:
    for _ in range(100):
        connection.recv(1)
        time.sleep(0.05)


def speak_for_ever(connection: ssl.SSLSocket) -> None:
    while True:
        connection.send(b"x")
        time.sleep(0.05)


def test_syslog_server_that_ends_in_good_order_has_everything(tmp_path: Path) -> None:
    with receiver(tmp_path, take) as (port, root):
        syslog(port, root).deliver([EVENT])


def test_syslog_server_that_hangs_up_may_have_lost_everything(tmp_path: Path) -> None:
    with receiver(tmp_path, hang_up) as (port, root), pytest.raises(DeliveryFailedError, match="close_notify"):
        syslog(port, root).deliver([EVENT])
    with receiver(tmp_path, hang_up) as (port, root):
        syslog(port, root, close_notify=False).deliver([EVENT])


@pytest.mark.parametrize("serve", [read_slowly, speak_for_ever])
def test_syslog_server_that_is_slow_holds_nobody_up(tmp_path: Path, serve: Serve) -> None:
    with receiver(tmp_path, serve) as (port, root), soon_over(), pytest.raises(DeliveryFailedError, match="too long"):
        syslog(port, root, timeout=0.5).deliver([BIG] * 100)


def test_https_server_that_reads_nothing_holds_nobody_up(tmp_path: Path) -> None:
    with receiver(tmp_path, read_slowly) as (port, root), soon_over(), pytest.raises(https.FetchFailedError):
        https.request(https.Endpoint(f"https://127.0.0.1:{port}/", root, 0.5), "POST", b"x" * 5_000_000)


@pytest.mark.parametrize("lowest", [0, 1500], ids=["few open files", "many open files"])
def test_a_pipe_takes_events_and_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lowest: int
) -> None:
    def opened(*arguments: Any) -> int:  # noqa: ANN401 - those of os.open
        first = os_open(*arguments)
        moved = fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, lowest)
        os.close(first)
        return moved

    os_open = os.open
    monkeypatch.setattr(os, "open", opened)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sink = File(name="pipe", path=pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink.deliver([EVENT])
    assert os.read(reader, 10_000).endswith(b"\n")
    monkeypatch.setattr(file_sink, "TIMEOUT", 0.2)
    with pytest.raises(DeliveryFailedError, match="too long"):
        sink.deliver([BIG] * 10)
    os.close(reader)


def test_a_terminal_or_nothing_at_all_is_written_to() -> None:
    File(name="nothing", path=Path("/dev/null")).deliver([EVENT])
