"""Bounded HTTPS requests to what the operator configured: providers of workload identity, or by the agent the CA.

No redirects, no proxies of the environment, no cookies, no retries, one deadline and one limit of size for each
request. Connections are kept alive; a child process makes its own.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAX_BODY = 1 << 20  # octets
_PIECE = 65536
_IDLE = 16  # connections kept for one server
_OK = 200
_ACCEPT = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "acme-ca"}


class FetchFailedError(Exception):
    """A request got no usable answer. The message says which URL was asked and what happened."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An https URL. `ca_file` is a PEM file of roots in place of the system's; `timeout` seconds end a request.

    Only the search for the server's address, and each further address that does not answer, comes on top. With `plain`
    the URL may be an http one, of a server on this machine.
    """

    url: str
    ca_file: Path | None = None
    timeout: float = 5.0
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def get_json(endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> object:
    """Return the JSON value at the URL; raises FetchFailedError unless the answer is 200 with JSON."""
    response = request(endpoint, headers=headers)
    if response.status != _OK:
        raise FetchFailedError(f"{endpoint.url} answered with status {response.status}; expected 200")
    try:
        return parse_json(response.body)
    except ValueError as error:
        raise FetchFailedError(f"{endpoint.url} answered with what is not JSON: {error}") from error


def parse_json(data: bytes) -> object:
    """Return the value of a JSON text that the operator trusts; raises ValueError, however deep it is."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def request(
    endpoint: Endpoint,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request and return the answer, redirects and errors included; raises FetchFailedError for none."""
    try:
        parts = urlsplit(endpoint.url)
        port = parts.port
    except ValueError as error:
        raise FetchFailedError(f"{endpoint.url} was not asked: {error}") from error
    if parts.scheme not in ({"http", "https"} if endpoint.plain else {"https"}) or not parts.hostname:
        raise FetchFailedError(f"{endpoint.url} was not asked: it is no https URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    _now_until.deadline = time.monotonic() + endpoint.timeout
    try:
        pool = _pool(parts.scheme, parts.hostname, port, endpoint.ca_file)
        answer = pool.urlopen(
            method,
            target,
            body=body,
            headers=_ACCEPT | dict(headers or {}),
            timeout=Timeout(total=endpoint.timeout),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        return Response(answer.status, {name.lower(): text for name, text in answer.headers.items()}, _body(answer))
    except (HTTPError, OSError, ValueError) as error:  # ValueError: what http.client refuses to send or cannot read
        raise FetchFailedError(f"{endpoint.url} gave no answer: {_reason(error)}") from error


def _body(answer: urllib3.BaseHTTPResponse) -> bytes:
    """Read the body; whatever goes wrong, the connection is not used again."""
    try:
        body = b"".join(_pieces(answer))
    except BaseException:
        answer.close()
        raise
    answer.release_conn()
    return body


def _pieces(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    size = 0
    while piece := answer.read1(_PIECE):
        if (size := size + len(piece)) > MAX_BODY:
            raise ValueError(f"the answer has more than {MAX_BODY} octets")
        if time.monotonic() > _now_until.deadline:
            raise TimeoutError("the deadline has passed")
        yield piece


def _reason(error: Exception) -> str:
    """Say what happened without urllib3's names of objects in it."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None and isinstance(cause, HTTPError):
        cause = inner
    return "it took too long" if isinstance(cause, TimeoutError) else f"{cause}" or type(cause).__name__


# --- The deadline: urllib3's own timeouts start again with every octet that a slow server sends ---


class _Until(threading.local):
    """When the request of this thread has to end, on the monotonic clock."""

    deadline = float("inf")


_now_until = _Until()


class _DeadlineSocket(ssl.SSLSocket):
    """A socket that waits for no octet beyond the deadline of the request that it is used for."""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        self._wait_until_deadline()
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        self._wait_until_deadline()
        return super().send(memoryview(data)[:_PIECE], flags)

    def _wait_until_deadline(self) -> None:
        left = _now_until.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self.settimeout(left)


# --- Pools, one for each server and CA file ---


_Server = tuple[str, str, int | None, Path | None]


@dataclass(slots=True)
class _Pools:
    """The pools of this process. `stamp` is the state of the CA file that a pool was made with."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    found: dict[_Server, tuple[object, urllib3.HTTPConnectionPool]] = field(default_factory=dict)


_pools = _Pools()


def _start_afresh() -> None:
    """Forget the parent's connections: two processes that write to one TLS connection break it."""
    _pools.lock = threading.Lock()
    _pools.found = {}


os.register_at_fork(after_in_child=_start_afresh)


def _pool(scheme: str, host: str, port: int | None, ca_file: Path | None) -> urllib3.HTTPConnectionPool:
    """Return the server's pool; a new one when the CA file has changed. Raises OSError if it cannot be read."""
    stamp = None if ca_file is None else (ca_file.stat().st_mtime_ns, ca_file.stat().st_ino)
    server = (scheme, host, port, ca_file)
    with _pools.lock:
        known = _pools.found.get(server)
        if known is None or known[0] != stamp:
            known = _pools.found[server] = (stamp, _new_pool(*server))
    return known[1]


def _new_pool(scheme: str, host: str, port: int | None, ca_file: Path | None) -> urllib3.HTTPConnectionPool:
    if scheme == "http":
        return urllib3.HTTPConnectionPool(host, port, maxsize=_IDLE)
    context = ssl.create_default_context(cafile=ca_file)
    context.sslsocket_class = _DeadlineSocket
    return urllib3.HTTPSConnectionPool(host, port, maxsize=_IDLE, ssl_context=context)
