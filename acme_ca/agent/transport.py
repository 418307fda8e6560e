"""Requests to the CA and to the platform's own servers, and what their answers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from acme_ca import https
from acme_ca.agent.errors import AgentError, RefusedError, UnreachableError, printable, retry_after
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.jose.encoding import load_object
from acme_ca.problems import Problem

TIMEOUT = 30.0  # seconds for one request
USER_AGENT = "acme-workload"

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


@dataclass(frozen=True, slots=True)
class Transport:
    """Requests to servers whose certificates lead to the roots in a PEM file, by default the system's."""

    ca_file: Path | None = None
    timeout: float = TIMEOUT

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
        endpoint = Endpoint(url, self.ca_file, self.timeout, plain)
        try:
            answer = https.request(endpoint, method, body, {"User-Agent": USER_AGENT} | dict(headers or {}))
        except FetchFailedError as error:
            raise UnreachableError(printable(str(error)) + self._advice(str(error))) from error
        return Answer(url, answer.status, answer.headers, answer.body)

    def _advice(self, told: str) -> str:
        if "CERTIFICATE_VERIFY_FAILED" not in told:
            return ""
        if self.ca_file is None:
            return ". Give the CA's root certificate with --ca-file"
        return (
            f". The root in {self.ca_file} is not that of this server, or the URL has a host that its certificate lacks"
        )

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
