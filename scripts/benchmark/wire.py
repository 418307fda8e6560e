"""Keep-alive HTTPS to the server under test: raw sockets and a small HTTP/1.1 reader (RFC 9112).

The generator shares the cores with the server that it measures, so what it spends on every request counts:
`http.client` parses headers with the e-mail package and takes several times as long.
"""

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024
_CHUNK = 16 * 1024  # bytes; a TLS record is never longer


class NotLoopbackError(ValueError):
    """The address is not on this machine: the generator refuses to load it."""


class BadAnswerError(Exception):
    """The server's bytes are not an HTTP answer, or are too many."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of the server; every URL it hands out must have the same."""

    host: str
    port: int
    address: str

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of an https URL on a loopback address; raises NotLoopbackError for anything else."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise NotLoopbackError(f"{url!r} is not an https URL")
        return cls(parts.hostname, parts.port or 443, loopback_address(parts.hostname))

    @property
    def authority(self) -> str:
        """Host and port as a URL and the Host header have them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"  # noqa: PLR2004 - the https port

    def path_of(self, url: str) -> str:
        """Return the request target of a URL of this origin; raises NotLoopbackError for another origin's."""
        prefix = f"https://{self.authority}"
        target = url.removeprefix(prefix)
        if len(target) == len(url) or not target.startswith("/"):
            raise NotLoopbackError(f"the server handed out {url!r}, which is not below {prefix}/")
        return target


def loopback_address(host: str) -> str:
    """Return the loopback address that a host name or literal means; `localhost` is never looked up (RFC 6761 §6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise NotLoopbackError(f"{host!r} is neither localhost nor a loopback address") from error
    if not address.is_loopback:
        raise NotLoopbackError(f"{host} is not a loopback address; only those are ever loaded")
    return str(address)


def client_context(ca: Path) -> ssl.SSLContext:
    """Make a TLS context that trusts the roots of one PEM file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(slots=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""

    def header(self, name: bytes) -> str:
        """Return a header's value, "" without it."""
        return self.headers.get(name, b"").decode("latin-1")


class Connection:
    """One TLS connection that is opened when needed and kept while the server keeps it."""

    def __init__(self, origin: Origin, context: ssl.SSLContext, timeout: float) -> None:
        self.origin = origin
        self.opened = 0
        self._context = context
        self._timeout = timeout
        self._socket: ssl.SSLSocket | None = None
        self._left = b""
        host = origin.authority
        self._tail = f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: acme-ca-bench\r\n"

    def request(self, method: str, target: str, body: bytes | None = None) -> Answer:
        """Send a request and read its answer; a kept connection that the server has closed is opened afresh, once."""
        head = f"{method} {target}{self._tail}"
        if body is not None:
            head += f"Content-Type: application/jose+json\r\nContent-Length: {len(body)}\r\n"
        message = head.encode("latin-1") + b"\r\n" + (body or b"")
        kept = self._socket is not None
        try:
            return self._exchange(message, head_only=method == "HEAD")
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.close()
            if not kept:
                raise
            return self._exchange(message, head_only=method == "HEAD")
        except (OSError, BadAnswerError):
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._left = b""

    def _open(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self.origin.address, self.origin.port), self._timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = self._context.wrap_socket(plain, server_hostname=self.origin.host)
        self.opened += 1
        return self._socket

    def _exchange(self, message: bytes, *, head_only: bool) -> Answer:
        (self._socket or self._open()).sendall(message)
        answer = self._read_head()
        if not head_only and answer.status not in {204, 304}:
            answer.body = self._read_body(answer.headers)
        if answer.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return answer

    def _more(self) -> bytes:
        if self._socket is None or not (data := self._socket.recv(_CHUNK)):
            raise ConnectionResetError("the server closed the connection")
        return data

    def _until(self, mark: bytes, limit: int) -> bytes:
        data = self._left
        while (end := data.find(mark)) < 0:
            if len(data) > limit:
                raise BadAnswerError(f"no {mark!r} within {limit} bytes")
            data += self._more()
        self._left = data[end + len(mark) :]
        return data[:end]

    def _exactly(self, length: int) -> bytes:
        data = self._left
        while len(data) < length:
            data += self._more()
        self._left = data[length:]
        return data[:length]

    def _read_head(self) -> Answer:
        first, *lines = self._until(b"\r\n\r\n", MAX_HEAD).split(b"\r\n")
        version, _, rest = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise BadAnswerError(f"not a status line: {first[:80]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return Answer(int(rest[:3]), headers)

    def _read_body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return self._read_chunks()
        length = int(headers.get(b"content-length", b"0"))
        if length > MAX_BODY:
            raise BadAnswerError(f"a body of {length} bytes")
        return self._exactly(length)

    def _read_chunks(self) -> bytes:
        body = b""
        while length := int(self._until(b"\r\n", MAX_HEAD).split(b";")[0], 16):
            if len(body) + length > MAX_BODY:
                raise BadAnswerError(f"a body of more than {MAX_BODY} bytes")
            body += self._exactly(length + 2)[:-2]
        while self._until(b"\r\n", MAX_HEAD):  # trailers, ended by an empty line
            pass
        return body
