"""What all challenge types share: the attempt they get, the evidence they return, and the exception for silence.

A challenge type is a frozen model with one method (docs: extension points). What it raises decides what happens:
a Problem is a definite wrong answer and makes the challenge invalid at once; Unanswered is silence and is retried.
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from acme_ca.challenges.network import Network
from acme_ca.identifiers import Identifier, IdentifierType
from acme_ca.problems import Problem

ChallengeType = Literal["http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"]

EXTENSION = ConfigDict(extra="forbid")
"""Configuration of every challenge type's model: a setting that is not there stops the start."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to validate one challenge: values only, so that it needs no database."""

    identifier: Identifier
    token: str
    thumbprint: str
    """JWK thumbprint of the account key, base64url without padding. RFC 7638."""
    account_url: str
    network: Network
    caa_identities: tuple[str, ...]

    @property
    def key_authorization(self) -> str:
        """The token and the account key's thumbprint. RFC 8555 §8.1."""
        return f"{self.token}.{self.thumbprint}"

    @property
    def digest_bytes(self) -> bytes:
        """SHA-256 of the key authorization, 32 octets. RFC 8737 §3."""
        return hashlib.sha256(self.key_authorization.encode()).digest()

    @property
    def digest(self) -> str:
        """SHA-256 of the key authorization in base64url without padding. RFC 8555 §8.4."""
        return base64.urlsafe_b64encode(self.digest_bytes).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What proved control, for the audit and for the challenge object's `validationRecord`."""

    summary: str
    records: tuple[Mapping[str, Any], ...] = ()
    expires_at: datetime | None = None
    """When the proof itself ends, if it says so: the authorization may not outlive it (dns-persist-01)."""


class Unanswered(Exception):
    """Nobody answered: a timeout, SERVFAIL, a refused connection. To be retried; `problem` is for the last time."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Challenge(ABC):
    """A challenge type. Its fields are its configuration, `type` its name on the wire and in the file."""

    type: ChallengeType
    identifier_types: ClassVar[frozenset[IdentifierType]] = frozenset({"dns"})
    wildcards: ClassVar[bool] = False

    @abstractmethod
    def validate(self, attempt: Attempt) -> Evidence:
        """Return what proved control; raises the Problem the client shall see, or Unanswered."""

    def supports(self, identifier: Identifier) -> bool:
        """Tell whether the challenge type can validate the identifier. RFC 8555 §7.1.3, RFC 8738 §4."""
        return identifier.type in self.identifier_types and (self.wildcards or not identifier.wildcard)

    def members(self, account_url: str, caa_identities: tuple[str, ...]) -> dict[str, Any]:  # noqa: ARG002 - for drafts
        """Return the members that this type adds to the challenge object."""
        return {}


def excerpt(text: str | bytes, limit: int = 80) -> str:
    """Quote what a stranger sent, escaped and bounded, for a detail."""
    if isinstance(text, bytes):
        text = text[: limit + 1].decode("utf-8", "replace")
    return ascii(text if len(text) <= limit else text[:limit] + "…")
