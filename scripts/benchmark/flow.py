"""One ACME client: its requests and the whole way to a certificate. RFC 8555 §7."""

import json
import ssl
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .signing import AccountKey, CsrTemplate, b64url, compact
from .wire import Answer, Connection, Origin

OPERATION = "operation"  # the latency of a mode's whole unit of work
_PROBLEM = "urn:ietf:params:acme:error:"
_NONCE_TRIES = 5
_POLL_FIRST, _POLL_GROWTH, _POLL_LONGEST = 0.005, 1.5, 0.25  # seconds: short, so that the server sets the pace
_POLL_LIMIT = 30.0  # seconds

Body = dict[str, Any]  # a JSON object from the server under test


class RefusedError(Exception):
    """The server refused a request or ended an order; `kind` is a short name to count it by."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


@dataclass(slots=True)
class Recorder:
    """Latencies in seconds, counters and errors of the measured window; what ends outside it is not counted."""

    begin: float = 0.0
    end: float = 0.0
    latencies: dict[str, "array[float]"] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    counters: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    finished: "array[float]" = field(default_factory=lambda: array("d"))  # when operations ended, by time.monotonic

    def measuring(self, now: float) -> bool:
        """Whether this time (of time.monotonic) is in the window."""
        return self.begin <= now < self.end

    def time(self, kind: str, started: float) -> None:
        """Record how long something took that has ended now."""
        now = time.monotonic()
        if self.measuring(now):
            self.latencies[kind].append(now - started)
            if kind == OPERATION:
                self.finished.append(now)

    def count(self, name: str) -> None:
        """Count an event."""
        self.counters[name] += self.measuring(time.monotonic())

    def fail(self, kind: str, detail: str) -> None:
        """Count an error and keep the first of its kind as an example."""
        if self.measuring(time.monotonic()):
            self.errors[kind] += 1
            self.examples.setdefault(kind, detail[:500])


@dataclass(frozen=True, slots=True)
class Issued:
    """A downloaded chain, and what it must match."""

    name: str
    chain: bytes


class Client:
    """An account with its key, its connection and its nonce."""

    def __init__(
        self, directory: str, context: ssl.SSLContext, key: AccountKey, recorder: Recorder, timeout: float
    ) -> None:
        self.recorder = recorder
        self._origin = Origin.of(directory)
        self._connection = Connection(self._origin, context, timeout)
        self._key = key
        self._nonce = ""
        self._account_url = ""
        answer = self._connection.request("GET", self._origin.path_of(directory))
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise RefusedError("directory", f"HTTP {answer.status} from {directory}")
        self._directory: Body = json.loads(answer.body)

    @property
    def connections(self) -> int:
        """How many TLS connections were opened so far."""
        return self._connection.opened

    def register(self, contact: str | None = None) -> None:
        """Make the account. §7.3."""
        body: Body = {"termsOfServiceAgreed": True, **({"contact": [contact]} if contact else {})}
        answer = self._post("newAccount", self._directory["newAccount"], body)
        self._account_url = answer.header(b"location")

    def head_nonce(self) -> None:
        """Ask for a nonce. §7.2."""
        started = time.monotonic()
        answer = self._connection.request("HEAD", self._origin.path_of(self._directory["newNonce"]))
        self.recorder.time("newNonce", started)
        self._nonce = answer.header(b"replay-nonce")
        if not self._nonce:
            raise RefusedError("newNonce", f"HTTP {answer.status} without Replay-Nonce")

    def new_order(self, name: str) -> tuple[str, Body]:
        """Order a certificate for a DNS name: the order's URL and body. §7.4."""
        wanted = {"identifiers": [{"type": "dns", "value": name}]}
        answer = self._post("newOrder", self._directory["newOrder"], wanted)
        return answer.header(b"location"), json.loads(answer.body)

    def issue(self, name: str, template: CsrTemplate) -> Issued:
        """Go the whole way to a certificate, with http-01 where the order is not ready at once. §7.1.6, §7.4, §7.5."""
        url, order = self.new_order(name)
        if order["status"] == "ready":
            self.recorder.count("ready_at_once")
        else:
            for authorization_url in order["authorizations"]:
                self._authorize(authorization_url)
        csr = {"csr": b64url(template.der(name)).decode()}
        order = json.loads(self._post("finalize", order["finalize"], csr).body)
        order = self._poll("order", url, order, waiting=("processing", "ready", "pending"))
        return Issued(name, self._post("certificate", order["certificate"], None).body)

    def _authorize(self, url: str) -> None:
        """Answer one authorization's http-01 challenge and wait for the result. §7.5, §7.5.1."""
        authorization = json.loads(self._post("authorization", url, None).body)
        if authorization["status"] == "valid":
            self.recorder.count("already_valid")
            return
        offered = [challenge for challenge in authorization["challenges"] if challenge["type"] == "http-01"]
        if not offered:
            raise RefusedError("no http-01", f"offered for {authorization['identifier']}")
        challenge = json.loads(self._post("challenge", offered[0]["url"], {}).body)
        if challenge["status"] != "valid":
            self._poll("authorization", url, {"status": "pending"}, waiting=("pending", "processing"))

    def _poll(self, kind: str, url: str, body: Body, waiting: tuple[str, ...]) -> Body:
        """Ask again, ever more slowly, while the status is one to wait in; raises RefusedError unless it ends valid."""
        pause, give_up = _POLL_FIRST, time.monotonic() + _POLL_LIMIT
        while body["status"] in waiting and time.monotonic() < give_up:
            time.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _POLL_LONGEST)
            body = json.loads(self._post(f"{kind} poll", url, None).body)
        if body["status"] != "valid":
            raise RefusedError(f"{kind} {body['status']}", json.dumps(body))
        return body

    def _post(self, kind: str, url: str, payload: Mapping[str, object] | None) -> Answer:
        """Send a signed POST, or a POST-as-GET without payload; a refused nonce is replaced. §6.2, §6.3, §6.5."""
        for _ in range(_NONCE_TRIES):
            if not self._nonce:
                self.head_nonce()
            answer = self._post_once(kind, url, payload)
            if answer.status < 400:  # noqa: PLR2004 - success and redirects
                return answer
            problem = _problem(answer)
            error = str(problem.get("type", "")).removeprefix(_PROBLEM)
            if error != "badNonce":
                raise RefusedError(f"{kind}: {answer.status} {error}".strip(), json.dumps(problem))
            self.recorder.count("bad_nonce")
        raise RefusedError(f"{kind}: badNonce", f"refused {_NONCE_TRIES} times in a row")

    def _post_once(self, kind: str, url: str, payload: Mapping[str, object] | None) -> Answer:
        key = {"kid": self._account_url} if self._account_url else {"jwk": self._key.jwk}
        message = self._key.jws({"nonce": self._nonce, "url": url, **key}, b"" if payload is None else compact(payload))
        self._nonce = ""
        started = time.monotonic()
        answer = self._connection.request("POST", self._origin.path_of(url), message)
        self.recorder.time(kind, started)
        self._nonce = answer.header(b"replay-nonce")
        return answer


def _problem(answer: Answer) -> Body:
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": answer.body[:200].decode("latin-1")}
