"""Keys that only the signer has, `acme-ca signer`: whole certificates and lists go there, and signatures come back."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from weakref import finalize

from acme_ca.keys import elsewhere, frames
from acme_ca.keys.base import KeyAway, KeyRefused, PrivateKey
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.keys.frames import Answer, FrameError, Request
from acme_ca.paths import within
from acme_ca.public_keys import PublicKey

KEEP_ALIVE = 60  # seconds without a signature, after which one is made of nothing


def opened(path: Path, issuer: str, public_key: PublicKey, timeout: float) -> PrivateKey:
    """Return the key of an issuer once the signer behind this socket has signed something with it.

    Raises KeyAway, KeyRefused when it has no such key, and KeyUnavailableError when it is another one.
    """
    return elsewhere.opened(_Signer(path, issuer, public_key, timeout), KEEP_ALIVE)


class _Signer(Store):
    """One issuer's key. Connections are kept, each for one thread at a time; a child of a fork has its own."""

    def __init__(self, path: Path, issuer: str, public_key: PublicKey, timeout: float) -> None:
        self.where = f"signer:{issuer}"
        self.public_key = public_key
        self._path = path
        self._issuer = issuer
        self._timeout = timeout
        self._idle: list[socket.socket] = []
        self._process = os.getpid()
        self._lock = threading.Lock()
        finalize(self, _close, self._idle)

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        """Have a message signed; raises KeyAway, and KeyRefused when the signer will not."""
        request = Request(
            issuer=self._issuer, scheme=scheme.name, hash=None if scheme.hash is None else scheme.hash.name
        )
        try:
            answer, signature = self._ask(request, message)
        except (OSError, FrameError) as error:
            raise KeyAway(self.where, f"{self._path}: {_why(error)}") from error
        if answer.outcome == "away":
            raise KeyAway(self.where, answer.detail, retry_after=max(1, answer.retry_after))
        if answer.outcome == "refused":
            raise KeyRefused(self.where, answer.detail)
        return signature

    def _ask(self, request: Request, message: bytes) -> tuple[Answer, bytes]:
        """Ask over a connection that was kept, or over a new one where the signer ended those."""
        while (kept := self._take()) is not None:
            answer = self._asked(kept, request, message)
            if answer is not None:
                return answer
        answer = self._asked(self._connected(), request, message)
        if answer is None:
            raise FrameError("it hung up; its log says why")
        return answer

    def _asked(self, connection: socket.socket, request: Request, message: bytes) -> tuple[Answer, bytes] | None:
        """Return the answer, or None where the connection had ended before there was any."""
        keep = False
        try:
            connection.settimeout(self._timeout)
            with suppress(BrokenPipeError):  # it may have said why
                frames.send(connection, request, message)
            sizes = frames.lengths(connection)
            if sizes is None:
                return None
            answer = frames.rest(connection, Answer, sizes, self._timeout)
            keep = True
        except ConnectionResetError:
            return None
        else:
            return answer
        finally:
            if keep:
                self._idle.append(connection)
            else:
                connection.close()

    def _take(self) -> socket.socket | None:
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                _close(self._idle)
            return self._idle.pop() if self._idle else None

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            with within(self._path.parent) as folder:
                connection.connect(f"{folder}/{self._path.name}")
        except BaseException:
            connection.close()
            raise
        return connection


def _close(connections: list[socket.socket]) -> None:
    while connections:
        connections.pop().close()


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "nobody listens there; start `acme-ca signer`, or see in its log why it ended"
    if isinstance(error, PermissionError):
        return "this user may not connect; see `users` and `mode` of [signer]"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error)
