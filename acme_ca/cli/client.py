"""The admin API as the command line asks it: over HTTPS, over the Unix socket of a running server, or in this process.

Without `--api`, the configuration file says where the CA lives: if a server runs there it is asked over its socket,
otherwise the API works in this process, on the same database.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import click

from acme_ca.cli.options import config_option, refuse

PREFIX = "/admin/v1"
TIMEOUT = 60  # seconds for one call
KEY_SIZE = 16  # bytes of an Idempotency-Key
HTTPS_PORT = 443
PAGE = "1000"
_PATH = click.Path(path_type=Path, dir_okay=False)
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:  # noqa: ANN401 - whatever JSON carries
        """The answer."""
        return json.loads(self.body)


class Transport(Protocol):
    """A way to ask."""

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Return the answer; raises OSError and http.client.HTTPException."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Over HTTPS. `context` has the client's certificate, if there is one."""

    host: str
    port: int
    context: ssl.SSLContext
    token: str | None = field(default=None, repr=False)

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Return the answer."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=self.context)
        signed = headers if self.token is None else {**headers, "Authorization": f"Bearer {self.token}"}
        return _exchange(connection, method, path, body, signed)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's file, by a short name for a path of any length."""
        from acme_ca.paths import within

        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(TIMEOUT)
            with within(self._path.parent) as folder:
                opened.connect(f"{folder}/{self._path.name}")
        except BaseException:
            opened.close()
            raise
        self.sock = opened


@dataclass(frozen=True, slots=True)
class Local:
    """Over the Unix socket of the server that runs on this host."""

    path: Path

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Return the answer."""
        return _exchange(_UnixConnection(self.path), method, path, body, headers)

    def answers(self) -> bool:
        """Whether a server listens."""
        with suppress(OSError):
            connection = _UnixConnection(self.path)
            connection.connect()
            connection.close()
            return True
        return False


@dataclass(frozen=True, slots=True)
class Api:
    """The calls; what is refused ends the command with exit code 1 and the reason."""

    transport: Transport

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - whatever JSON carries
        """Return what a call of GET answers."""
        return self.call("GET", path, query=query).document

    def pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Yield the items of all pages of a list."""
        after: str | None = None
        while True:
            page = self.get(path, **{"limit": PAGE, "after": after, **query})
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        reason: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> Reply:
        """Make a call. `path` is below /admin/v1, its parts quoted by `at`; query values that are None are left out.

        `reason` puts a problem document into the words of the command's user.
        """
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        url = PREFIX + path + (f"?{urlencode(given)}" if given else "")
        sent = None if body is None else json.dumps(body).encode()
        sending = {"Content-Type": "application/json", **(headers or {})} if sent is not None else dict(headers or {})
        try:
            reply = self._ask(method, url, sent, sending)
        except (OSError, http.client.HTTPException) as error:
            refuse(f"the admin API cannot be asked: {error}")
        if reply.status >= http.HTTPStatus.BAD_REQUEST:
            refuse(_reason(reply, reason or _in_words))
        return reply

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Ask; what acts is asked once more when the connection broke: with the same key it is done once."""
        if method != "POST":
            return self.transport.ask(method, url, body, headers)
        keyed = {**headers, "Idempotency-Key": secrets.token_urlsafe(KEY_SIZE)}
        try:
            return self.transport.ask(method, url, body, keyed)
        except (OSError, http.client.HTTPException):
            return self.transport.ask(method, url, body, keyed)


def at(*parts: str) -> str:
    """Return a path of these parts, quoted."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def api_options(function: Function) -> Function:
    """Add the options that say where the API is; the command gets `api: Api` as its first argument."""

    @config_option
    @click.option("--api", "url", envvar="ACME_CA_API", help="The URL of the admin API, such as https://HOST:8444.")
    @click.option("--token-file", type=_PATH, help="A file with your API token. Or set ACME_CA_TOKEN.")
    @click.option("--cert", type=_PATH, envvar="ACME_CA_CERT", help="Your certificate in PEM.")
    @click.option("--key", type=_PATH, envvar="ACME_CA_KEY", help="Its key, if not in --cert.")
    @click.option("--ca-file", type=_PATH, envvar="ACME_CA_CA_FILE", help="The CA's root in PEM, for --api.")
    @wraps(function)
    def with_api(
        *,
        config_path: Path,
        url: str | None,
        token_file: Path | None,
        cert: Path | None,
        key: Path | None,
        ca_file: Path | None,
        **given: Any,  # noqa: ANN401 - the command's own options
    ) -> Any:  # noqa: ANN401 - what the command returns
        if url is not None:
            host, port = _address(url)
            return function(Api(Remote(host, port, _context(ca_file, cert, key), _token(token_file))), **given)
        with _without_url(config_path) as transport:
            return function(Api(transport), **given)

    return cast("Function", with_api)


@contextmanager
def _without_url(config_path: Path) -> Iterator[Transport]:
    """Give the way to the CA of a configuration file: a server that listens needs nothing of it in this process."""
    from acme_ca.cli.opening import load_or_refuse

    config = load_or_refuse(config_path)
    local = Local(config.admin_socket)
    if local.answers():
        yield local
        return
    from acme_ca.cli.in_process import InProcess

    with closing(InProcess(config)) as here:
        yield here


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or HTTPS_PORT
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme != "https":
        refuse(f"--api {url}: expected a URL such as https://ca.example:8444")
    return host, port


def _token(file: Path | None) -> str | None:
    try:
        return os.environ.get("ACME_CA_TOKEN") if file is None else file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"the token cannot be read: {error}")


def _context(ca_file: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        refuse(f"certificate, key or CA file cannot be used: {error}")
    return context


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> Reply:
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def _reason(reply: Reply, words: Callable[[Mapping[str, Any]], str]) -> str:
    try:
        return words(reply.document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the admin API answered {reply.status}"


def _in_words(problem: Mapping[str, Any]) -> str:
    more = [f"{error['place']}: {error['reason']}" for error in problem.get("errors", ())[1:]]
    return "\n".join([str(problem["detail"]), *more])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
