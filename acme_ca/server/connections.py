"""Connections of the listeners, on gunicorn's threads: bounded in time, cheap while idle, one write for one answer.

Four things that gunicorn's `gthread` leaves open and a CA on the open network needs: a client that dribbles its
request does not keep a thread; a connection gets a thread only when its first byte is there; a slow goodbye holds up
one thread, never the accept loop; and what is no HTTP is answered as RFC 9457 says. While threads are idle, a
connection keeps its thread for a moment, which saves two changes of thread for each request of a busy client.

What strangers can hold up is bounded: a handshake has a thread only while there is something to do, at most half of
the threads wait for slow clients while others need them, and who comes by a Unix socket has threads of their own.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

import structlog
from gunicorn import http, sock, util
from gunicorn.http import errors
from gunicorn.http.body import ChunkedReader
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from acme_ca.problems import Malformed

REQUEST_TIME = 10.0  # seconds in which a request has to arrive whole, and then as many for its answer to be taken
GOODBYE_TIME = 1.0  # seconds a closing connection waits for the client to close too (RFC 9112 §9.6)
SLOW = 2.0  # seconds that any client may let a thread wait for more of its request
REST_TIME = 0.05  # seconds a thread waits for the next request of its connection while others are idle
HELD_LIMIT = 65_536  # bytes of an answer that are gathered into one write

STATUS = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}
"""The answers to requests that cannot be read; to all others it is 400."""
OWN_MISTAKES = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)

log = structlog.get_logger(__name__)


class Crowd:
    """The threads of this process that serve the network: how many are in use, and how many wait for slow clients."""

    def __init__(self) -> None:
        self.threads = 0
        self.used = 0  # and connections that wait for a thread; changed by the accept loop only
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def has_idle_threads(self) -> bool:
        """Whether a thread would be there for another connection."""
        return self.used < self.threads

    @property
    def is_held_up(self) -> bool:
        """Whether a connection waits for a thread, while more than half of them wait for slow clients."""
        return self.used > self.threads and self._waiting > self.threads // 2

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the thread among those that wait for a slow client."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1


CROWD = Crowd()


class Bounded(socket.socket):
    """A socket that fails like a lost connection when the client takes longer than REQUEST_TIME for a request."""

    _until = 0.0
    _held: list[bytes] | None = None
    _held_size = 0
    _is_answered = True  # whether the answer to this request has begun

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the signature is socket's
        """Start the time of a request; gunicorn calls this when a thread takes the connection."""
        if flag:
            self.allow(REQUEST_TIME)
        else:
            self.settimeout(0.0)

    def allow(self, seconds: float) -> None:
        """Block from now on, for that long in all."""
        self._until = time.monotonic() + seconds
        self.settimeout(seconds)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """Receive within the time that is left; when others need the thread, a slow client has less."""
        self._spend(SLOW)
        try:
            return super().recv(size, flags)
        except TimeoutError:
            with CROWD.waiting():
                return self._recv_slowly(size, flags)

    def _recv_slowly(self, size: int, flags: int) -> bytes:
        while self.family == socket.AF_UNIX or not CROWD.is_held_up:
            self._spend(SLOW)
            with suppress(TimeoutError):
                return super().recv(size, flags)
        raise _lost()

    def hold(self) -> None:
        """Gather the answer, which is sent from now on. What the CA's own work takes until then is not the client's."""
        self._is_answered = False
        self._gather()

    def _gather(self) -> None:
        self._held, self._held_size = [], 0

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401 - any buffer, as socket takes it
        """Send, or gather for `release`; the time of an answer begins with its first byte."""
        if not self._is_answered:
            self._is_answered = True
            self.allow(REQUEST_TIME)
        if self._held is None:
            self._send_now(data, flags)
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > HELD_LIMIT:
            self.release()
            self._gather()

    def release(self) -> None:
        """Send what was gathered in one piece: one TLS record and one packet for a short answer."""
        held, self._held = self._held, None
        if held:
            self._send_now(b"".join(held), 0)

    def _send_now(self, data: Any, flags: int) -> None:  # noqa: ANN401 - any buffer, as socket takes it
        self._spend()
        try:
            super().sendall(data, flags)
        except TimeoutError as error:
            raise _lost() from error

    def _spend(self, at_most: float = REQUEST_TIME) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise _lost()
        self.settimeout(min(left, at_most))


class BoundedTls(Bounded, ssl.SSLSocket):
    """The same over TLS."""


def _lost() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "the client took too long")


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A client's connection. `finish` says goodbye in the thread that served it; `close` then has nothing to do."""

    sock: Any  # a Bounded, or a BoundedTls from its handshake on
    closed = False
    until = 0.0  # when its handshake has to be done

    def shake_hands(self, within: float) -> bool:
        """Go on with the TLS handshake; False when it takes more from the client. Raises OSError, ssl.SSLError."""
        if not isinstance(self.sock, ssl.SSLSocket):
            self.sock = sock.ssl_wrap_socket(self.sock, self.cfg)
        self.sock.settimeout(within)
        try:
            self.sock.do_handshake()
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        self.initialized = True
        self.parser = http.get_parser(self.cfg, self.sock, self.client)
        return True

    @property
    def is_of_this_host(self) -> bool:
        """Whether it came by a Unix socket."""
        return bool(self.sock.family == socket.AF_UNIX)

    def finish(self) -> None:
        """Close, waiting a little for the client to close first: unread bytes would otherwise cut the answer off."""
        if isinstance(self.sock, Bounded):
            self.sock.allow(GOODBYE_TIME)
        util.close_graceful(self.sock, timeout=GOODBYE_TIME)
        self.closed = True

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the signature is TConn's
        """Close at once: this runs in the accept loop."""
        if not self.closed:
            self.closed = True
            util.close(self.sock)

    def speaks_again(self, within: float) -> bool:
        """Whether the next request arrives, or the end of the connection."""
        if self.parser.unreader.buf.getvalue() or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
            return True
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return bool(poller.poll(within * 1000))


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of a listener: an accept loop that never blocks, and its threads."""

    def init_process(self) -> None:
        """Look the settings up once: gunicorn reads a dozen for each request, at 0.5 µs each."""
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self._plain = copy(self.cfg)
        self._plain.__dict__.update(certfile=None, keyfile=None)
        self._own_threads = ThreadPoolExecutor(self.cfg.threads)  # of who is on this host; none until they come
        CROWD.threads = self.cfg.threads
        super().init_process()

    def accept(self, listener: Any) -> None:  # noqa: ANN401 - gunicorn's wrapper of a socket
        """Take a connection in; a thread comes to it with its first byte."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another worker was faster, or the client left
        own = self._plain if client.family == socket.AF_UNIX else self.cfg  # who is on this host needs no TLS
        if not own.is_ssl:
            client = Bounded(client.family, client.type, client.proto, fileno=client.detach())
        connection = Connection(own, client, address, listener.getsockname())
        self.nr_conns += 1
        connection.timeout = connection.until = time.monotonic() + REQUEST_TIME
        self.pending_conns.append(connection)
        self.poller.register(client, EVENT_READ, partial(self.on_pending_socket_readable, connection))

    def enqueue_req(self, conn: Connection) -> None:
        """Give the connection a thread."""
        if conn.is_of_this_host:
            served = self._own_threads.submit(self.handle, conn)
            served.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))
        else:
            CROWD.used += 1
            super().enqueue_req(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:  # noqa: ANN401 - a Future of gunicorn's outcome
        """Take the connection back from its thread."""
        if not conn.is_of_this_host:
            CROWD.used -= 1
        super().finish_request(conn, fs)
        if not conn.initialized:
            conn.timeout = conn.until  # of the handshake, which goes on with the client's next bytes

    def handle(self, conn: Connection) -> object:
        """Serve a connection: its request, and the next one when it comes at once."""
        if not conn.initialized and conn.cfg.is_ssl:
            greeted = self._greet(conn)
            if greeted is not True or not conn.speaks_again(REST_TIME):
                return greeted  # True is as after an answer: it waits for its request without a thread
        outcome = super().handle(conn)
        while outcome is True and self.alive and self._may_stay(conn) and conn.speaks_again(REST_TIME):
            outcome = super().handle(conn)
        if outcome is False:
            conn.finish()
        return outcome

    def _greet(self, conn: Connection) -> object:
        """Shake hands on a new connection as far as it goes; False when it ended over that."""
        try:
            return conn.shake_hands(self._handshake_time()) or _DEFER
        except ssl.SSLError as error:
            self.handle_error(None, conn.sock, conn.client, error)
        except OSError:  # the client left
            pass
        conn.finish()
        return False

    def _handshake_time(self) -> float:
        """Return how long the thread may wait for the client; a stopping worker comes back to no connection."""
        if not self.alive:
            return REQUEST_TIME
        return REST_TIME if CROWD.has_idle_threads else 0.0

    def handle_request(self, req: Any, conn: Connection) -> object:  # noqa: ANN401 - gunicorn's request
        """Answer a request with one write."""
        if isinstance(req.body.reader, ChunkedReader):
            req.body.reader = _Chunks(req.body.reader)
        conn.sock.hold()
        try:
            return super().handle_request(req, conn)
        finally:
            conn.sock.release()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:  # noqa: ANN401 - gunicorn's
        """Answer what is no HTTP with a problem document, and what is no TLS with silence."""
        remote = addr[0] if addr else None
        if isinstance(exc, ssl.SSLError):
            log.info("connection.no_tls", remote=remote, reason=exc.reason)
        elif isinstance(exc, errors.ParseException) and not isinstance(exc, OWN_MISTAKES):
            status = next((status for kind, status in STATUS.items() if isinstance(exc, kind)), HTTPStatus.BAD_REQUEST)
            log.info("connection.no_http", remote=remote, status=status.value, reason=str(exc)[:200])
            with suppress(OSError):
                client.sendall(_refusal(status, f"the request cannot be read: {exc}"))
        else:
            super().handle_error(req, client, addr, exc)

    def _cap_keepalive(self, deadline: float) -> None:
        """Let a stopping worker wait no longer for connections that are silent yet than for those kept alive."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    @staticmethod
    def _may_stay(conn: Connection) -> bool:
        return CROWD.has_idle_threads and not conn.is_of_this_host


class _Chunks:
    """A chunked body whose mistakes are the client's: applications take ValueError for a body that broke off."""

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 - gunicorn's reader
        self._reader = reader

    def read(self, size: int) -> bytes:
        """Read on."""
        try:
            data: bytes = self._reader.read(size)
        except errors.ParseException as error:
            raise ValueError(str(error)) from error
        return data


def _refusal(status: HTTPStatus, detail: str) -> bytes:
    document = Malformed(detail).document() | {"status": status.value}
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
