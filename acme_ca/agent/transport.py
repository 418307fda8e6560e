"""Bounded HTTP requests: to the CA over TLS that a file of roots decides, and to the platform's own servers.

No redirects, no proxies of the environment, one deadline and one limit of size for each request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from pydantic import BaseModel, ValidationError
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from acme_ca.agent.errors import AgentError, RefusedError, UnreachableError, printable, retry_after
from acme_ca.jose.encoding import load_object
from acme_ca.problems import Problem

TIMEOUT = 30.0  # seconds for one request
MAX_BODY = 1 << 20  # octets of an answer
USER_AGENT = "acme-workload"

_PIECE = 65_536
_ERROR = 400

Message = TypeVar("Message", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever its status. The names of `headers` are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def members(self) -> dict[str, object]:
        """Return the body's JSON object; raises UnreachableError for anything else."""
        try:
            return load_object(self.body, f"the answer of {self.url}")
        except Problem as problem:
            raise UnreachableError(
                f"{problem.detail}; the status is {self.status}. Is this the URL of an ACME server, and no proxy's?"
            ) from problem

    def read(self, model: type[Message]) -> Message:
        """Return the body as a message; raises UnreachableError."""
        try:
            return model.model_validate(self.members())
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UnreachableError(f"the answer of {self.url} has a wrong member {place}: {first['msg']}") from error

    def require(self, what: str) -> Answer:
        """Return the answer if it is a success; raises RefusedError, naming `what` was asked for."""
        if self.status < _ERROR:
            return self
        try:
            document = self.members()
        except AgentError:  # a proxy's page, or nothing
            document = {"detail": f"{self.url} said: {printable(self.body[:200].decode(errors='replace'))}"}
        raise RefusedError(what, document, self.status, retry_after(self.headers))


@dataclass(frozen=True)
class Transport:
    """Connections that believe the roots in a PEM file, by default the system's. The file is read when it is made."""

    ca_file: Path | None = None
    timeout: float = TIMEOUT
    _pools: urllib3.PoolManager = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Open no connection yet."""
        ca_file = None if self.ca_file is None else str(self.ca_file)
        object.__setattr__(self, "_pools", urllib3.PoolManager(ca_certs=ca_file, cert_reqs="CERT_REQUIRED"))

    def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        plain: bool = False,
    ) -> Answer:
        """Send a request; raises UnreachableError. Only with `plain` may the URL be an http one."""
        if urlsplit(url).scheme not in ({"http", "https"} if plain else {"https"}):
            raise UnreachableError(f"{url} was not asked: it is no https URL")
        until = time.monotonic() + self.timeout
        try:
            answer = self._pools.request(
                method,
                url,
                body=body,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"} | dict(headers or {}),
                timeout=Timeout(total=self.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = b"".join(_pieces(answer, url, until))
        except (HTTPError, OSError, ValueError) as error:  # ValueError: what http.client refuses to send or read
            raise UnreachableError(f"{url} gave no answer: {_reason(error)}") from error
        answer.release_conn()
        return Answer(url, answer.status, {name.lower(): text for name, text in answer.headers.items()}, content)

    def get(self, url: str, what: str) -> Answer:
        """GET what must be there; raises UnreachableError or RefusedError."""
        return self.request("GET", url).require(what)


def origin(url: str) -> tuple[str, str | None, int]:
    """Return scheme, host and port of an https URL; raises AgentError."""
    try:
        parts = urlsplit(url)
        found = (parts.scheme, parts.hostname, parts.port or 443)
    except ValueError as error:
        raise AgentError(f"{printable(url)} is no URL: {error}") from error
    if parts.scheme != "https" or not parts.hostname:
        raise AgentError(f"{printable(url)} is no https URL")
    return found


def _pieces(answer: urllib3.BaseHTTPResponse, url: str, until: float) -> Iterator[bytes]:
    """Yield the body as it comes; whatever goes wrong, the connection is not used again."""
    size = 0
    try:
        while piece := answer.read1(_PIECE):
            size += len(piece)
            _check_bounds(url, size, until)
            yield piece
    except BaseException:
        answer.close()
        raise


def _check_bounds(url: str, size: int, until: float) -> None:
    if size > MAX_BODY:
        raise UnreachableError(f"{url} answered with more than {MAX_BODY} octets")
    if time.monotonic() > until:
        raise UnreachableError(f"{url} did not end its answer in time")


def _reason(error: Exception) -> str:
    told = printable(str(error)) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in told:
        told += ". Give the CA's root certificate with --ca-file, and use a host name that its certificate has"
    return told
