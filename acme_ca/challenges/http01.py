"""http-01: prove control of a host by a file on its web server. RFC 8555 §8.3, RFC 8738 §4."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from acme_ca.challenges import http_fetch
from acme_ca.challenges.base import EXTENSION, Attempt, Challenge, Evidence, Unanswered, excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.http_fetch import Fetched
from acme_ca.identifiers import Identifier, IdentifierType
from acme_ca.problems import IncorrectResponse

_OK = 200
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


@dataclass(frozen=True, config=EXTENSION)
class Http01(Challenge):
    """Fetch the key authorization from the well-known path. RFC 8555 §8.3."""

    type: Literal["http-01"] = "http-01"
    identifier_types: ClassVar[frozenset[IdentifierType]] = frozenset({"dns", "ip"})

    def validate(self, attempt: Attempt) -> Evidence:
        """Return the requests that ended at the key authorization; raises IncorrectResponse and others, Unanswered."""
        network = attempt.network
        port = "" if network.http_port == 80 else f":{network.http_port}"  # noqa: PLR2004 - the port of http
        url = f"http://{_host(attempt.identifier)}{port}/.well-known/acme-challenge/{attempt.token}"
        fetched = http_fetch.fetch(network, url, Deadline.after(network.timeout))
        if fetched.status == _TOO_MANY_REQUESTS or fetched.status >= _SERVER_ERRORS:
            raise Unanswered(IncorrectResponse(f"{_seen(fetched)} answers with HTTP status {fetched.status}"))
        if fetched.status != _OK:
            raise IncorrectResponse(f"{_seen(fetched)} answers with HTTP status {fetched.status}; expected 200")
        body = fetched.body.rstrip()  # §8.3: whitespace at the end is to be ignored; editors add it
        if body != attempt.key_authorization.encode():
            raise IncorrectResponse(_difference(fetched, body, attempt.key_authorization))
        return Evidence(f"key authorization at {_seen(fetched)}", fetched.records)


def _host(identifier: Identifier) -> str:
    return f"[{identifier.value}]" if ":" in identifier.value else identifier.value


def _seen(fetched: Fetched) -> str:
    return f"{fetched.url} ({fetched.records[-1]['addressUsed']})"


def _difference(fetched: Fetched, body: bytes, expected: str) -> str:
    # What a redirect leads to was chosen by the client, perhaps to read, through this CA, what it cannot reach itself.
    saw = f"{len(body)} octets" if fetched.redirected else excerpt(body, 100)
    return f"{_seen(fetched)} answers with {saw}; expected the key authorization {expected}"
