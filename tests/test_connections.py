"""The time that a client has for its request and for the answer, on real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from acme_ca.server import connections
from acme_ca.server.connections import HELD_LIMIT, Bounded

SHORT = 0.2  # seconds
PIECE = b"a" * (HELD_LIMIT + 1)  # is sent at once


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bounded, socket.socket]]:
    """The server's end of a connection, whose request has just arrived, and the client's."""
    monkeypatch.setattr(connections, "REQUEST_TIME", SHORT)
    server, client = socket.socketpair()
    bounded = Bounded(server.family, server.type, server.proto, fileno=server.detach())
    with bounded, client:
        bounded.setblocking(flag=True)  # as gunicorn does when a thread takes the connection
        bounded.hold()
        yield bounded, client


def test_an_answer_has_its_own_time_however_long_the_work_took(ends: tuple[Bounded, socket.socket]) -> None:
    server, client = ends
    time.sleep(SHORT * 1.5)
    server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    server.release()
    assert client.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_so_has_one_that_is_not_sent_in_one_piece(ends: tuple[Bounded, socket.socket]) -> None:
    server, client = ends
    with ThreadPoolExecutor(1) as reader:
        taken = reader.submit(lambda: b"".join(iter(lambda: client.recv(HELD_LIMIT), b"")))
        time.sleep(SHORT * 1.5)
        try:
            server.sendall(PIECE)
            server.sendall(b"b")
            server.release()
        finally:
            server.shutdown(socket.SHUT_WR)
        assert taken.result() == PIECE + b"b"


def test_a_client_that_takes_no_answer_is_lost(ends: tuple[Bounded, socket.socket]) -> None:
    server, _ = ends
    with pytest.raises(ConnectionResetError, match="too long"):
        send_on(server, lambda: None)


def test_one_that_takes_it_in_drops_has_no_more_time(ends: tuple[Bounded, socket.socket]) -> None:
    """The time is that of the whole answer, not of each piece."""
    server, client = ends

    def sip() -> None:
        client.recv(len(PIECE))
        time.sleep(SHORT / 10)

    with pytest.raises(ConnectionResetError, match="too long"):
        send_on(server, sip)


def send_on(server: Bounded, then: Callable[[], None]) -> None:
    for _ in range(1000):
        server.sendall(PIECE)
        then()
