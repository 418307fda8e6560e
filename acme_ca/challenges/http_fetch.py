"""HTTP GET of a validation target, with redirects. RFC 8555 §8.3, RFC 9110 §15.4.

The socket is opened and bounded in `outbound`; only the reading of the answer is left to http.client, so there are no
proxies, cookies, credentials or pools that would have to be kept out.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any, Self, cast
from urllib.parse import urljoin, urlsplit

from acme_ca import identifiers
from acme_ca.challenges import outbound
from acme_ca.challenges.base import Unanswered, excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.network import Network
from acme_ca.challenges.outbound import BoundedReader, Oversized, describe
from acme_ca.problems import ConnectionFailed, IncorrectResponse, Problem, TlsFailed

MAX_URL = 2048
_MAX_OVERHEAD = 65536  # octets of the head and of chunk sizes, beside the body
_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[\x21-\x7e]+")  # what may stand in a request line, RFC 9112 §3


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart and found to be one that validation may go to."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the target of an http or https URL; raises ValueError saying what is wrong with it."""
        if len(url) > MAX_URL or not _VISIBLE.fullmatch(url):
            raise ValueError(f"its URL has characters that do not belong there, or more than {MAX_URL}")
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError("only http and https are followed")
        if parts.username is not None or parts.password is not None:
            raise ValueError("its URL has a user name or password in it")
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(url, parts.scheme, _host(parts.hostname or ""), port, path)

    @property
    def authority(self) -> str:
        """The value of the Host header field. RFC 9110 §7.2."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """The last answer, with a record of each request."""

    status: int
    body: bytes
    location: str | None
    records: tuple[dict[str, Any], ...]

    @property
    def url(self) -> str:
        """The URL of the last request."""
        return str(self.records[-1]["url"])

    @property
    def redirected(self) -> bool:
        """Whether the answer is that of a URL the first server chose."""
        return len(self.records) > 1


def fetch(network: Network, url: str, deadline: Deadline) -> Fetched:
    """GET the URL and follow redirects; raises Unanswered for silence, a Problem for what may not be followed."""
    target = Target.parse(url)
    records: tuple[dict[str, Any], ...] = ()
    for _ in range(network.max_redirects + 1):
        fetched = _get(network, target, deadline, records)
        if fetched.status not in _REDIRECTS or fetched.location is None:
            return fetched
        records = fetched.records
        target = _redirected(network, target, fetched.location)
    raise IncorrectResponse(f"{url} leads to more than {network.max_redirects} redirects")


def _redirected(network: Network, target: Target, location: str) -> Target:
    try:
        following = Target.parse(urljoin(target.url, location))
    except ValueError as error:
        raise IncorrectResponse(f"{target.url} redirects to {excerpt(location, 200)}: {error}") from error
    if not network.permits_redirect_to(following.port):
        raise IncorrectResponse(
            f"{target.url} redirects to {excerpt(location, 200)}: port {following.port} is not among those allowed"
        )
    return following


def _get(network: Network, target: Target, deadline: Deadline, records: tuple[dict[str, Any], ...]) -> Fetched:
    with outbound.connect(network, target.host, target.port, deadline) as connection:
        try:
            with _secured(connection.sock, target, deadline) as sock:
                status, body, location = _exchange(network, sock, target, deadline)
        except Oversized as error:
            raise IncorrectResponse(f"{target.url} answers with more than {network.max_body} octets") from error
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, outbound.BROKEN_TLS):
                raise TlsFailed(f"{target.url} ({connection.used}) failed in TLS: {error.reason or error}") from error
            text = f"{target.url}: {connection.used} accepted the connection but {describe(error)}"
            raise Unanswered(ConnectionFailed(text)) from error
        except (HTTPException, ValueError) as error:
            text = f"{target.url} ({connection.used}) did not answer in HTTP: {excerpt(str(error) or repr(error))}"
            raise IncorrectResponse(text) from error
        record = {"url": target.url, **connection.record(), "status": status}
        return Fetched(status, body, location, (*records, record))


def _secured(sock: socket.socket, target: Target, deadline: Deadline) -> socket.socket:
    if target.scheme == "http":
        return sock
    sock.settimeout(deadline.left())
    return _TLS.wrap_socket(sock, server_hostname=target.host)


def _exchange(
    network: Network, sock: socket.socket, target: Target, deadline: Deadline
) -> tuple[int, bytes, str | None]:
    head = (
        f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
        "User-Agent: acme-ca (RFC 8555 http-01 validation)\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    sock.settimeout(deadline.left())
    sock.sendall(head.encode())
    stream = _Stream(BoundedReader(sock, deadline, network.max_body + _MAX_OVERHEAD))
    with HTTPResponse(cast("socket.socket", stream), method="GET") as answer:  # of a socket it uses makefile() only
        answer.begin()
        location = answer.getheader("Location")
        if answer.status in _REDIRECTS and location is not None:
            return answer.status, b"", location
        body = answer.read(network.max_body + 1)
    if len(body) > network.max_body:
        raise Oversized
    return answer.status, body, None


class _Stream:
    """What http.client reads an answer from."""

    def __init__(self, reader: BoundedReader) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


def _host(text: str) -> str:
    """Normalise a host or raise ValueError: URLs know spellings of addresses that resolvers would read in their way."""
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        identifier = identifiers.parse("dns", text)
    except Problem as problem:
        raise ValueError(problem.detail) from problem
    if identifier.wildcard:
        raise ValueError("a wildcard is no host")
    return identifier.value


def _tls_context() -> ssl.SSLContext:
    """Return the context for https redirects, whose certificates prove nothing here: the body does. §8.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _tls_context()  # made once: contexts are expensive, and this one has no secrets to rotate
