"""What providers by issuer share: how a token of theirs is verified, and what of its claims is believed."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StrictBool, StringConstraints, model_validator

from acme_ca.clock import rfc3339
from acme_ca.jose.encoding import shown
from acme_ca.workload import jwt
from acme_ca.workload.base import BindingMode, Expected, Format, Proof, Provider, refusal
from acme_ca.workload.jwks import AnyJwks, Discovery, https_url, keys_for

MAX_SUBJECT = 1024  # characters of a subject, an instance or the name of a token
DAY = 86400

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SUBJECT, pattern=r"^[\x21-\x7e]+$")]

_BOUND = "bound to the account key"


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature, issuer, times and audience are right. `checks` says so, for the audit."""

    claims: Mapping[str, Any]
    mode: BindingMode
    expires_at: datetime
    token: str
    checks: tuple[str, ...]

    @property
    def token_id(self) -> str | None:
        """The claim `jti`, where it can be a name."""
        return self.claims["jti"] if is_text(self.claims.get("jti")) else None


class TokenProvider(Provider, ABC):
    """An issuer of tokens that are verified by its published keys."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    formats: ClassVar[tuple[Format, ...]] = ("jwt",)

    issuer: Text
    """The claim `iss` of its tokens, octet for octet."""
    jwks: AnyJwks = Discovery()
    """Where the issuer's keys come from."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256", "ES384")
    """What the issuer may sign with."""
    binding: BindingMode = "required"
    """How tokens are tied to an account key: `required`, or where workloads cannot choose the audience, `affinity`."""
    audiences: tuple[Text, ...] = ()
    """With `affinity`, the audiences that tokens may have; when empty, the environment's audience alone."""
    allow_extra_audiences: StrictBool = False
    """Whether a token may be for others too, who could then use it here."""
    max_token_ttl: Annotated[int, Field(strict=True, ge=60, le=30 * DAY)] = 3600
    """The longest time from `iat` to `exp`, in seconds."""
    max_token_age: Annotated[int, Field(strict=True, ge=1, le=30 * DAY)] | None = None
    """The longest time since `iat`, in seconds; without one, only `exp` ends a token."""

    @model_validator(mode="after")
    def _askable(self) -> TokenProvider:
        if isinstance(self.jwks, Discovery):
            try:
                https_url(self.issuer)
            except ValueError as error:
                raise ValueError(f"the issuer has no discovery ({error}); set jwks to a url or file") from error
        return self

    @model_validator(mode="after")
    def _audiences_count(self) -> TokenProvider:
        if self.audiences and self.binding != "affinity":
            raise ValueError(f"audiences say nothing with binding = '{self.binding}'; leave them out")
        return self

    def claims_proof(self, proof: Proof) -> bool:
        """Tell whether the token says that this issuer made it; raises evidence_malformed for what is no token."""
        return jwt.peek(proof.evidence).issuer == self.issuer

    def check(self, proof: Proof, expected: Expected, now: datetime) -> Verified:
        """Return a token that this issuer made for us and now; raises what `refusal` returns."""
        if proof.format not in self.formats:
            raise refusal("format_unsupported", f"the provider {self.name} does not take {shown(proof.format)}")
        token = jwt.peek(proof.evidence)
        jwt.check_type(token)
        if token.issuer != self.issuer:
            detail = f"the token's iss is {shown(token.claims.get('iss'))}; expected {self.issuer}"
            raise refusal("issuer_untrusted", detail)
        jwt.verify(token, keys_for(self.jwks, self.issuer, token.kid), self.algorithms)
        expires_at = jwt.check_times(token.claims, now, max_ttl=self.max_token_ttl, max_age=self.max_token_age)
        mode = jwt.check_audience(
            token.claims, self.binding, expected, self.audiences, allow_extra=self.allow_extra_audiences
        )
        audience = {"required": _BOUND, "affinity": "a fixed one", "tofu": "not looked at"}[mode]
        signed = f"signature: {token.alg} by key {shown(token.kid)} of {self.issuer}"
        checks = (signed, f"time: until {rfc3339(expires_at)}", f"audience: {audience}")
        return Verified(token.claims, mode, expires_at, token.token, checks)


def subject_of(claims: Mapping[str, Any]) -> str:
    """Return the claim `sub`; raises evidence_malformed for one that is no name."""
    if not is_text(claims.get("sub")):
        detail = f"the token's sub is {shown(claims.get('sub'))}; expected 1 to {MAX_SUBJECT} printable characters"
        raise refusal("evidence_malformed", detail)
    return str(claims["sub"])


def is_text(value: object) -> bool:
    """Tell whether a value can be a name in records and on one line."""
    return isinstance(value, str) and 0 < len(value) <= MAX_SUBJECT and value.isprintable()


def cleaned(claims: Mapping[str, Any], renames: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims with names that policy can write; raises evidence_malformed.

    `renames` are names of known claims and what they become: a token that has such a new name itself could pass its
    own claim off as the known one, so it is refused. Then claims with a dot in their name, or without a name, are
    dropped at every level, so that a dotted path means one claim.
    """
    if taken := next((name for name in renames.values() if name in claims), None):
        raise refusal("evidence_malformed", f"the token has the claim {taken}, which is kept for another one")
    kept: dict[str, Any] = _undotted({renames.get(name, name): value for name, value in claims.items()})
    return kept


def _undotted(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: _undotted(inner) for name, inner in value.items() if name and "." not in name}
    return [_undotted(inner) for inner in value] if isinstance(value, list) else value
