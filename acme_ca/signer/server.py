"""The signer's socket: who may ask, how much at once, and for how long. unix(7): SO_PEERCRED."""

from __future__ import annotations

import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import structlog

from acme_ca import metrics
from acme_ca.config import Config
from acme_ca.keys import KeyUnavailableError, frames
from acme_ca.keys.frames import LARGE, Answer, FrameError, Request
from acme_ca.signer.desk import Desk

CREDENTIALS = struct.Struct("3i")  # process, user, group
LOOK = 0.5  # seconds between looks at whether it is to stop
WHOLE = 10.0  # seconds in which a frame that has begun has to be there
IDLE = 600.0  # seconds that a connection may be silent
LAST = 10.0  # seconds for what is being signed at the end
AT_ONCE = 2  # large messages that are read and signed at the same time: each may have 64 MiB

log = structlog.get_logger(__name__)


class Server:
    """Answers on a listening socket until it is told to stop. `desk` may be another one at any time."""

    def __init__(self, config: Config, listening: socket.socket, desk: Desk) -> None:
        """Prepare; raises KeyUnavailableError for a user that this host does not know."""
        self.desk = desk
        self._listening = listening
        self.configure(config)
        self._large = threading.BoundedSemaphore(AT_ONCE)
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()

    def configure(self, config: Config) -> None:
        """Let other users ask from now on, over more or fewer connections; raises as the constructor does."""
        settings = config.signer
        if settings is None:
            raise KeyUnavailableError("there is no [signer] in the configuration")
        self._users = frozenset({os.geteuid(), *(_uid(name) for name in settings.users)})
        self._most = settings.connections

    def run(self, stopping: Callable[[], bool]) -> None:
        """Answer until `stopping`; what is being signed then is finished."""
        self._listening.settimeout(LOOK)
        while not stopping():
            with suppress(TimeoutError, BlockingIOError, ConnectionAbortedError):
                self._accept(self._listening.accept()[0])
        self._end()

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()

    def _accept(self, connection: socket.socket) -> None:
        connection.settimeout(WHOLE)
        peer, user, _group = CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        )
        if user not in self._users:
            log.error("signer.turned_away", user=user, peer=peer, allowed=sorted(self._users))
            metrics.SIGNER_REQUESTS.labels("", "refused").inc()
            _dismiss(connection, Answer(outcome="refused", detail=f"user {user} may not ask; see `users` of [signer]"))
        elif len(self._open) >= self._most:
            log.error("signer.too_many", connections=self._most, peer=peer)
            reason = f"there are {self._most} connections already; see `connections` of [signer]"
            _dismiss(connection, Answer(outcome="away", detail=reason, retry_after=1))
        else:
            thread = threading.Thread(target=self._serve, args=(connection, peer), name="signer", daemon=True)
            with self._lock:
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket, peer: int) -> None:
        try:
            while self._turn(connection, peer):
                pass
        except FrameError as error:
            log.warning("signer.no_frame", reason=str(error), peer=peer)
            metrics.SIGNER_REQUESTS.labels("", "refused").inc()
            with suppress(OSError):
                frames.send(connection, Answer(outcome="refused", detail=str(error)))
        except OSError as error:
            log.debug("signer.connection_lost", reason=str(error), peer=peer)
        finally:
            with self._lock:
                self._open.pop(connection, None)
            connection.close()

    def _turn(self, connection: socket.socket, peer: int) -> bool:
        """Answer one request; False when there is none any more. Raises FrameError and OSError."""
        connection.settimeout(IDLE)
        first = connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(WHOLE)
        sizes = frames.lengths(connection) if first else None
        if sizes is None:
            return False
        if sizes[1] < LARGE:
            self._answer(connection, peer, sizes)
        else:
            with self._large:
                self._answer(connection, peer, sizes)
        return True

    def _answer(self, connection: socket.socket, peer: int, sizes: tuple[int, int]) -> None:
        """Answer the request whose lengths were read. Raises FrameError and OSError."""
        request, body = frames.rest(connection, Request, sizes, WHOLE)
        answer, signature = self.desk.answer(request, body, peer)
        issuer = request.issuer if request.issuer in self.desk.issuers else ""  # labels are for names that are known
        metrics.SIGNER_REQUESTS.labels(issuer, answer.outcome).inc()
        frames.send(connection, answer, signature)

    def _end(self) -> None:
        with self._lock:
            threads = list(self._open.items())
        for connection, _ in threads:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # who waits for a request learns that there is none
        deadline = monotonic() + LAST
        for _, thread in threads:
            thread.join(max(0.0, deadline - monotonic()))


def _dismiss(connection: socket.socket, answer: Answer) -> None:
    with suppress(OSError):
        frames.send(connection, answer)
        connection.shutdown(socket.SHUT_WR)
    connection.close()


def _uid(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise KeyUnavailableError(f"signer.users: there is no user {name!a} on this host") from error
