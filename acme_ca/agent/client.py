"""Signed requests to an ACME server: nonces, accounts, polling. RFC 8555 §6, §7.2, §7.3."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urljoin

import structlog
from pydantic import BaseModel

from acme_ca.agent.errors import AgentError, RefusedError, UnreachableError, retry_after
from acme_ca.agent.jws import AccountKey
from acme_ca.agent.messages import Directory, WorkloadMeta
from acme_ca.agent.transport import Answer, Transport, origin

TRIES = 4  # of one request that the server puts off
MAX_PAUSE = 30.0  # seconds; who is put off longer comes back as a new attempt
POLL_SECONDS = 300.0
VERSION = "00"

_CONTENT_TYPE = {"Content-Type": "application/jose+json"}
_JSON = {"Content-Type": "application/json"}

log = structlog.get_logger(__name__)

Message = TypeVar("Message", bound=BaseModel)
Result = TypeVar("Result")


def repeated(ask: Callable[[], Result]) -> Result:
    """Return the result of a request that is repeated, a few times, while the server puts it off."""
    for _ in range(TRIES - 1):
        try:
            return ask()
        except RefusedError as error:
            pause = 1.0 if error.retry_after is None else error.retry_after
            if not error.passing or pause > MAX_PAUSE:
                raise
            log.info("request.put_off", reason=str(error), seconds=pause)
            time.sleep(pause * (1 + random.random() / 4))  # noqa: S311 - so that many clients do not return at once
    return ask()


class Server:
    """An environment of a CA: its directory, and requests that need no account."""

    def __init__(self, transport: Transport, directory_url: str) -> None:
        self.transport = transport
        self.url = directory_url
        self.directory = repeated(lambda: transport.get(directory_url, "the directory")).read(Directory)

    @property
    def workloads(self) -> WorkloadMeta:
        """How workloads prove themselves here; raises AgentError when they cannot, or not at this server.

        What is asked of the platform is for the audience in it, so it has to be of the directory's own origin: a
        server that names another's would collect credentials for that one.
        """
        meta = self.directory.meta.workload_identity
        if meta is None:
            raise AgentError(
                f"{self.url} has no meta.workloadIdentity: this environment knows no provider of workload identity"
            )
        if meta.version != VERSION:
            raise AgentError(f"{self.url} speaks version {meta.version!a} of workload identity; expected {VERSION}")
        for name, url in (("audience", meta.audience), ("exchange", meta.exchange), ("nonce", meta.nonce)):
            self.require_own(url, f"meta.workloadIdentity.{name}")
        return meta

    def require_own(self, url: str, what: str) -> None:
        """Raise AgentError unless a URL has the directory's origin."""
        if origin(url) != origin(self.url):
            raise AgentError(
                f"{what} is {url!a}, which is not of the origin of {self.url}; no credential was asked for"
            )

    def post_json(self, url: str, body: bytes, what: str) -> Answer:
        """POST JSON that is not signed."""
        return self.transport.request("POST", url, body, _JSON).require(what)


class Account:
    """An account of an environment, or what is going to be one: `register` comes before all else."""

    def __init__(self, server: Server, key: AccountKey) -> None:
        self.server = server
        self.key = key
        self.url: str | None = None
        self._nonces: list[str] = []

    def register(self, binding: object = None) -> None:
        """Make the account, or find it by its key. §7.3, §7.3.1."""
        body: dict[str, object] = {"termsOfServiceAgreed": True}
        if binding is not None:
            body["externalAccountBinding"] = binding
        answer = self.post(self.server.directory.new_account, body, "newAccount")
        self.url = _location(answer)

    def create(self, url: str, payload: object, model: type[Message], what: str) -> tuple[str, Message]:
        """POST what makes a resource; return its URL and the resource."""
        answer = self.post(url, payload, what)
        return _location(answer), answer.read(model)

    def post(self, url: str, payload: object, what: str) -> Answer:
        """POST a signed payload, None for POST-as-GET; a nonce that is no longer good is replaced. §6.5."""
        return repeated(lambda: self._post(url, payload, what))

    def await_change(self, url: str, model: type[Message], settled: Callable[[Message], bool], what: str) -> Message:
        """Read a resource until it is settled; raises UnreachableError if that takes too long. §7.5.1."""
        until = time.monotonic() + POLL_SECONDS
        while True:
            answer = self.post(url, None, what)
            found = answer.read(model)
            if settled(found):
                return found
            if time.monotonic() > until:
                raise UnreachableError(f"{what} {url} was not decided within {POLL_SECONDS:g} seconds")
            pause = retry_after(answer.headers)
            time.sleep(min(max(0.2, 1.0 if pause is None else pause), MAX_PAUSE))

    def _post(self, url: str, payload: object, what: str) -> Answer:
        for _ in range(TRIES - 1):
            try:
                return self._post_once(url, payload, what)
            except RefusedError as error:
                if error.type != "badNonce":
                    raise
                del self._nonces[:-1]  # the answer brought a good one; those before it are as old as the bad one
        return self._post_once(url, payload, what)

    def _post_once(self, url: str, payload: object, what: str) -> Answer:
        body = self.key.sign(url, payload, self._nonce(), self.url)
        answer = self.server.transport.request("POST", url, body, _CONTENT_TYPE)
        self._keep_nonce(answer)
        return answer.require(what)

    def _nonce(self) -> str:
        if not self._nonces:
            answer = self.server.transport.request("HEAD", self.server.directory.new_nonce).require("newNonce")
            self._keep_nonce(answer)
        if not self._nonces:
            raise UnreachableError(f"{self.server.directory.new_nonce} gave no Replay-Nonce (RFC 8555 §7.2)")
        return self._nonces.pop()

    def _keep_nonce(self, answer: Answer) -> None:
        if nonce := answer.headers.get("replay-nonce"):
            self._nonces.append(nonce)


def _location(answer: Answer) -> str:
    if not (location := answer.headers.get("location")):
        raise UnreachableError(f"the answer of {answer.url} has no Location (RFC 8555 §7.1)")
    return urljoin(answer.url, location)
