"""A proof of a workload in exchange for an external account key. docs/workload-identity-00.md §8."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, TypeVar

from flask import Response, g, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acme_ca import clock, complaints, jose
from acme_ca.authority import Authority, Environment
from acme_ca.clock import rfc3339
from acme_ca.problems import Malformed, NotFound, UnsupportedMediaType
from acme_ca.services import nonces, workloads
from acme_ca.services.workloads import Exchanged, Wish
from acme_ca.web import body, json_response
from acme_ca.workload import Expected, Proof, refusal
from acme_ca.workload.base import MAX_EVIDENCE

CONTENT_TYPE = "application/json"

Thumbprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
Text = Annotated[str, Field(max_length=256)]
Body = TypeVar("Body", bound="NonceBody")


class NonceBody(BaseModel):
    """What a nonce is asked for with: the thumbprint (RFC 7638) of the account key that it shall be good for."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    account_jkt: Thumbprint | None = None


class EabBody(NonceBody):
    """A proof to be exchanged. `eab: false` asks for the binding alone."""

    format: Text
    evidence: Any
    provider: Text | None = None
    nonce: Text | None = None
    eab: bool = True


class Face:
    """The views; both take JSON that nobody signed."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca

    def nonce(self, environment: str) -> Response:
        """Return a nonce, and the audience that a token made for it has."""
        where = self._environment(environment)
        asked = _read(NonceBody)
        nonce = nonces.issue(where)
        bound = nonce if asked.account_jkt is None else f"{nonce}.{asked.account_jkt}"
        expires_at = clock.now() + timedelta(seconds=where.settings.nonce_lifetime)
        audience = Expected(where.audience, request.path, bound).bound_audience
        return json_response({"nonce": nonce, "audience": audience, "expires": rfc3339(expires_at)}, 201)

    def eab(self, environment: str) -> Response:
        """Exchange a proof."""
        where = self._environment(environment)
        asked = _read(EabBody)
        if asked.nonce is not None:
            nonces.consume(self._ca, where, asked.nonce)
        wish = Wish(
            proof=Proof(asked.format, asked.evidence, asked.provider),
            nonce=asked.nonce,
            account_jkt=asked.account_jkt,
            key=asked.eab,
        )
        return json_response(_exchanged(where, workloads.exchange(self._ca, where, wish, f"{where.audience}/eab")), 201)

    def _environment(self, name: str) -> Environment:
        found = self._ca.environments.get(name)
        if found is None or found.workloads is None:
            raise NotFound(f"there is no environment {name[:64]!r} where workloads can prove themselves")
        g.environment = name
        return found


def _read(kind: type[Body]) -> Body:
    if request.mimetype != CONTENT_TYPE:
        raise UnsupportedMediaType(f"the body must be {CONTENT_TYPE}, not {request.mimetype or 'untyped'}")
    octets = body()
    if len(octets) > MAX_EVIDENCE:
        raise refusal("evidence_malformed", f"the body has {len(octets)} octets, more than {MAX_EVIDENCE}")
    try:
        return kind.model_validate(jose.load_object(octets, "the body"))
    except ValidationError as error:
        wrong = "; ".join(complaints.lines(error))
        raise Malformed(f"the body is not as expected: {wrong}") from error


def _exchanged(environment: Environment, found: Exchanged) -> dict[str, Any]:
    grant = found.grant
    answer: dict[str, Any] = {
        "binding": found.binding.id,
        "binding_expires": rfc3339(found.binding.expires_at),
        "directory": f"{environment.url}/directory",
        "identity": {
            "spiffe_id": grant.spiffe_id,
            "dns": list(grant.dns),
            "profiles": list(grant.profiles or environment.profiles),
            "lifetime": grant.lifetime,
        },
    }
    if found.kid is not None:
        answer |= {
            "kid": found.kid,
            "hmac_key": found.mac_key,
            "hmac_alg": "HS256",
            "expires": rfc3339(found.key_expires_at),
            "single_use": True,
        }
    return answer
