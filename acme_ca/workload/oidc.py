"""Workloads that an OpenID Connect issuer vouches for: clouds, CI systems, schedulers. RFC 7519, RFC 8725."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from acme_ca.jose.encoding import shown
from acme_ca.workload.base import Expected, Proof, Workload, refusal
from acme_ca.workload.presets import PRESETS, PresetName
from acme_ca.workload.tokens import MAX_SUBJECT, TokenProvider, cleaned, is_text, subject_of

ClaimPath = Annotated[str, StringConstraints(pattern=r"^[^.\x00-\x20]+(\.[^.\x00-\x20]+)*$")]
"""Names of nested claims, joined by dots, after `renames`."""
_STANDARD = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "email", "email_verified"})


class Oidc(TokenProvider):
    """An OpenID Connect issuer. Its subject is always the claim `sub`."""

    type: Literal["oidc"] = "oidc"
    preset: PresetName | None = None
    """Settings to start from; what is written beside it wins."""
    renames: dict[str, ClaimPath] = Field(default_factory=dict)
    """Names of claims that rules cannot write because of their dots, and the names they get."""
    instance: tuple[ClaimPath, ...] = ()
    """Claims that together tell one machine, run or job from another. One that is missing means no instance."""
    required: dict[ClaimPath, tuple[str, ...]] = Field(default_factory=dict)
    """Claims that a token has to have, and the strings that are allowed there; none means any value."""
    forbidden: tuple[ClaimPath, ...] = ()
    """Claims that a token must not have."""
    dropped: tuple[ClaimPath, ...] = ()
    """Claims that rules must not see because the workload chooses them."""
    forbidden_audiences: tuple[str, ...] = ()
    """Audiences of tokens that are worth more than an identity, so that nobody may send them here."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, settings: object) -> object:
        name = settings.get("preset") if isinstance(settings, dict) else None
        if not isinstance(settings, dict) or not isinstance(name, str):
            return settings
        return {**PRESETS.get(name, {}), **settings}  # one that does not exist is refused by its field

    @field_validator("renames", mode="after")
    @classmethod
    def _writable(cls, renames: dict[str, str]) -> dict[str, str]:
        for old, new in renames.items():
            if "." in new or new in _STANDARD or old in _STANDARD or list(renames.values()).count(new) > 1:
                raise ValueError(f"{old!r} cannot become {new!r}: expected a new name without dots, once")
        return renames

    @model_validator(mode="after")
    def _tofu_has_instances(self) -> Oidc:
        if self.binding == "tofu" and not self.instance:
            raise ValueError("binding = 'tofu' needs `instance`: it lets one account have each instance")
        return self

    def verify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the workload whose token this is."""
        verified = self.check(proof, expected, now)
        self._check_forbidden_audiences(verified.claims)
        claims = cleaned(verified.claims, self.renames)
        self._check_claims(claims)
        self._drop(claims)
        instance = _joined([_at(claims, path) for path in self.instance])
        if instance is None and verified.mode == "tofu":
            detail = f"the token does not tell its instance; expected {' and '.join(self.instance)}"
            raise refusal("evidence_malformed", detail)
        return Workload(
            provider=self.name,
            issuer=self.issuer,
            subject=subject_of(claims),
            claims=claims,
            mode=verified.mode,
            expires_at=verified.expires_at,
            instance=instance,
            token_id=verified.token_id,
            checks=(*verified.checks, f"instance: {'not told' if instance is None else instance}"),
        )

    def _check_forbidden_audiences(self, claims: Mapping[str, Any]) -> None:
        seen = claims.get("aud")
        found = [one for one in (seen if isinstance(seen, list) else [seen]) if one in self.forbidden_audiences]
        if found:
            detail = f"tokens for {found[0]} are not taken: whoever has one can do more; get one for this CA alone"
            raise refusal("audience_mismatch", detail)

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        for path, allowed in self.required.items():
            value = _at(claims, path)
            if value is None or (allowed and value not in allowed):
                wanted = f"expected {' or '.join(allowed)}" if allowed else "this provider needs it"
                raise refusal("evidence_malformed", f"the token's {path} is {shown(value)}; {wanted}")
        for path in self.forbidden:
            if _at(claims, path) is not None:
                raise refusal("evidence_malformed", f"the token has {path}, with which this provider takes none")

    def _drop(self, claims: dict[str, Any]) -> None:
        """Take out what would mislead rules; an e-mail address that nobody verified is anybody's."""
        unverified = () if claims.get("email_verified") is True else ("email",)
        for path in (*self.dropped, *unverified):
            *parents, name = path.split(".")
            owner = _at(claims, ".".join(parents)) if parents else claims
            if isinstance(owner, dict):
                owner.pop(name, None)


def _at(claims: Mapping[str, Any], path: str) -> object:
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _joined(values: Sequence[object]) -> str | None:
    """Return one name for the values, None if there are none or one is missing; raises evidence_malformed.

    Several are written as a JSON array: no character is safe to join them with.
    """
    if not values or None in values:
        return None
    texts = [str(value) if type(value) is int else value for value in values]
    name = texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    if not all(is_text(text) for text in texts) or not is_text(name):
        detail = f"the token's instance is {shown(list(values))}; expected up to {MAX_SUBJECT} printable characters"
        raise refusal("evidence_malformed", detail)
    return str(name)
