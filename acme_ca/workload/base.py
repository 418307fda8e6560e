"""What all providers of workload identity share: the proof they get, the workload they find, and how they refuse.

A provider is a frozen model: its fields are its configuration, its `type` literal the name in the file, its one method
the work. It gets values and returns values; who was seen before and who may have what is decided elsewhere.
docs/workload-identity-00.md
"""

from __future__ import annotations

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from acme_ca.problems import IncorrectResponse, Malformed, Problem, RejectedIdentifier, ServiceUnavailable, Unauthorized

Format = Literal["jwt", "x5c", "aws-sigv4"]
"""How a proof is written on the wire. §4.3."""

BindingMode = Literal["required", "affinity", "tofu"]
"""How a proof is tied to an account key.

`required`: its audience or its signature carries the key authorization's digest, so that a stolen one is useless.
`affinity`: a fixed audience; the first account to show the token, and its instance, owns it.
`tofu`: no audience at all; one account for an instance, for ever.
"""

WORKLOAD_CHALLENGE = "workload-identity-00"
"""The challenge type on the wire."""
MAX_EVIDENCE = 32 * 1024  # octets of a proof in JSON
LEEWAY = 60  # seconds that clocks may differ

Code = Literal[
    "format_unsupported",
    "evidence_malformed",
    "issuer_untrusted",
    "signature_invalid",
    "token_expired",
    "token_not_yet_valid",
    "token_too_old",
    "audience_mismatch",
    "binding_mismatch",
    "evidence_replayed",
    "subject_gone",
    "no_policy",
    "identifier_not_allowed",
    "binding_expired",
    "provider_unavailable",
]
"""The member `workloadError` of a problem document: stable, for programs."""

_PROBLEMS: Mapping[Code, type[Problem]] = {
    "format_unsupported": Malformed,
    "evidence_malformed": Malformed,
    "issuer_untrusted": Unauthorized,
    "signature_invalid": Unauthorized,
    "token_expired": Unauthorized,
    "token_not_yet_valid": Unauthorized,
    "token_too_old": Unauthorized,
    "audience_mismatch": IncorrectResponse,
    "binding_mismatch": IncorrectResponse,
    "evidence_replayed": Unauthorized,
    "subject_gone": Unauthorized,
    "no_policy": Unauthorized,
    "identifier_not_allowed": RejectedIdentifier,
    "binding_expired": Unauthorized,
    "provider_unavailable": ServiceUnavailable,
}


def refusal(code: Code, detail: str) -> Problem:
    """Return the problem that a proof is refused with, to be raised; `provider_unavailable` is passing trouble."""
    return _PROBLEMS[code](detail, extra={"workloadError": code})


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client shows: `evidence` is decoded JSON, as it came; `provider` is its wish where nothing else tells."""

    format: str
    evidence: object = field(repr=False)
    provider: str | None = None

    @property
    def sha256(self) -> bytes:
        """The digest that stands for verified evidence in the records, 32 octets.

        Of a token it is that of what is signed: signatures can be changed into others that verify as well (ECDSA).
        """
        return hashlib.sha256(_octets(self.evidence)).digest()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a proof has to be made for. `audience` is the environment's; `url` the challenge's or the exchange's.

    `key_authorization` is what a bound proof carries or signs (§4.3; for an exchange the nonce, §8), None where a
    client asks without one: then only providers that do not require a binding take the proof.
    """

    audience: str
    url: str
    key_authorization: str | None

    @property
    def bound_audience(self) -> str | None:
        """The audience of a bound token: `audience/` and SHA-256 of the key authorization, base64url unpadded."""
        if self.key_authorization is None:
            return None
        digest = hashlib.sha256(self.key_authorization.encode()).digest()
        return f"{self.audience}/{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@dataclass(frozen=True, slots=True)
class Workload:
    """Who was proved. Two proofs are of one workload when `provider` and `subject` are equal.

    `claims` are what the proof says and the provider believes, nested as in the token: policy finds them by dotted
    paths, so no name of a claim in it has a dot. `instance` is the pod, machine, job or certificate, where there is
    one. `expires_at` is the end of the proof itself. `checks` are the outcomes of every check, for the audit.
    """

    provider: str
    issuer: str
    subject: str
    claims: Mapping[str, Any]
    mode: BindingMode
    expires_at: datetime
    instance: str | None = None
    token_id: str | None = None
    checks: tuple[str, ...] = ()


class Provider(BaseModel, ABC):
    """Somebody who vouches for workloads. Subclasses add `type`, a literal that names them in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Names the provider in rules, records and the audit."""
    formats: ClassVar[tuple[Format, ...]]
    liveness_claims: ClassVar[frozenset[str]] = frozenset()
    """The dotted paths of the claims that `is_alive` reads."""

    @property
    def tells_liveness(self) -> bool:
        """Whether `is_alive` asks anybody: rules can then have `liveness`."""
        return False

    @abstractmethod
    def claims_proof(self, proof: Proof) -> bool:
        """Tell, before anything is verified, whether the proof names this provider (its `iss`, its trust domain).

        Asked for proofs of the provider's own formats; raises evidence_malformed for what is no proof at all.
        """

    @abstractmethod
    def verify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the workload that the proof is of; raises what `refusal` returns.

        Trouble of the provider (its keys cannot be had, its API does not answer) is provider_unavailable.
        """

    def is_alive(self, workload: Workload) -> bool:  # noqa: ARG002 - for providers that can ask
        """Tell whether the workload still exists, as far as the provider can tell; raises provider_unavailable."""
        return True


def _octets(evidence: object) -> bytes:
    text = evidence.rpartition(".")[0] if isinstance(evidence, str) else json.dumps(evidence, sort_keys=True)
    return text.encode("utf-8", "surrogatepass")
