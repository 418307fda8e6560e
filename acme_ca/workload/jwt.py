"""Tokens: compact JWS (RFC 7515 §7.1) with claims (RFC 7519), taken apart, verified, and checked by RFC 8725.

Nothing here asks the network, and no key comes from a header. Whatever a client sends raises nothing but a Problem.
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from acme_ca import public_keys
from acme_ca.clock import rfc3339
from acme_ca.jose.encoding import b64url_decode, load_object, shown
from acme_ca.problems import Malformed, Problem
from acme_ca.public_keys import JosePublicKey
from acme_ca.vocabulary import KeyType
from acme_ca.workload.base import LEEWAY, BindingMode, Expected, refusal

MAX_TOKEN = 16 * 1024  # octets
ALGORITHMS = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519"),
)
"""What an issuer may sign with; Ed25519 is RFC 9864's name of EdDSA with such a key."""

_RSA = ALGORITHMS[:6]
_FITTING: Mapping[KeyType, tuple[str, ...]] = {
    "ec-p256": ("ES256",),
    "ec-p384": ("ES384",),
    "ec-p521": ("ES512",),
    "ed25519": ("EdDSA", "Ed25519"),
    "rsa-2048": _RSA,
    "rsa-3072": _RSA,
    "rsa-4096": _RSA,
}
_KEY_IN_HEADER = ("jku", "jwk", "x5u", "x5c")
_NOT_READ = ("crit", "b64")  # extensions of RFC 7515 §4.1.11 and RFC 7797, of which none is understood
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # what neither UTF-8 nor every database can hold
_MANY = 8  # keys that a detail lists
_END_OF_TIME = 253_402_300_799  # 9999-12-31T23:59:59Z, where datetime ends

_JoseKey: TypeAlias = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that tokens are verified by. `algorithms` are those that it may have signed with."""

    jose: _JoseKey = field(repr=False)
    algorithms: tuple[str, ...]
    kid: str | None = None

    @classmethod
    def of(cls, public: JosePublicKey, kid: str | None = None, alg: str | None = None) -> Self:
        """Return the key, for `alg` alone if that is given; raises BadPublicKey for a weak or unknown one."""
        fitting = _FITTING[public_keys.check(public)]
        if alg is not None:
            fitting = tuple(name for name in fitting if name == alg or {name, alg} == {"EdDSA", "Ed25519"})
        return cls(_jose_key(public), fitting, kid)


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token as it came: nothing that it says is proved before `verify` returns."""

    token: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def alg(self) -> str:
        """The algorithm that the header names: always one of ALGORITHMS."""
        return str(self.header["alg"])

    @property
    def kid(self) -> str | None:
        """The name of the key, where the header has one."""
        return self.header.get("kid")

    @property
    def issuer(self) -> str | None:
        """The claim `iss`, where it is a string."""
        return issuer if isinstance(issuer := self.claims.get("iss"), str) else None


def peek(token: object) -> Unverified:
    """Return the header and claims of a token; raises evidence_malformed, or signature_invalid for its `alg`."""
    if not isinstance(token, str):
        raise refusal("evidence_malformed", "the evidence is not a string; expected a token in compact form")
    if len(token) > MAX_TOKEN:
        detail = f"the token has {len(token)} characters; expected at most {MAX_TOKEN}"
        raise refusal("evidence_malformed", detail)
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():  # noqa: PLR2004 - RFC 7515 §7.1
        detail = "the token is not in compact form: expected header.payload.signature, each base64url (RFC 7515 §7.1)"
        raise refusal("evidence_malformed", detail)
    try:
        header = load_object(b64url_decode(parts[0], "the token's header"), "the token's header")
        claims = load_object(b64url_decode(parts[1], "the token's payload"), "the token's payload")
        signature = b64url_decode(parts[2], "the token's signature")
    except Malformed as problem:
        raise refusal("evidence_malformed", problem.detail) from problem
    _check_header(header)
    _check_values(claims)
    return Unverified(token, header, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def verify(unverified: Unverified, keys: Sequence[Key], algorithms: Sequence[str]) -> None:
    """Raise signature_invalid unless one of the keys signed the token with one of the algorithms.

    With a `kid` only the keys of that name count, without one all of them do.
    """
    alg, kid = unverified.alg, unverified.kid
    if alg not in algorithms:
        raise refusal("signature_invalid", f"the token is signed with {alg}; expected {' or '.join(algorithms)}")
    named = [key for key in keys if kid in {None, key.kid}]
    if not named:
        raise refusal("signature_invalid", f"the issuer has no key {shown(kid)}; its keys are {_names(keys)}")
    fitting = [key for key in named if alg in key.algorithms]
    if not fitting:
        raise refusal("signature_invalid", f"the issuer's key is not for {alg}; its keys are {_names(named)}")
    if not any(_signed(unverified, key) for key in fitting):
        raise refusal("signature_invalid", "the token's signature is wrong: it was changed, or another key made it")


def check_type(unverified: Unverified) -> None:
    """Raise evidence_malformed for a token that says it is something else than a plain one. RFC 8725 §3.11."""
    kind = unverified.header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper().removeprefix("APPLICATION/") not in {"JWT", "JOSE"}:
        raise refusal("evidence_malformed", f"the token's typ is {shown(kind)}; expected JWT, or none")


def check_times(claims: Mapping[str, Any], now: datetime, *, max_ttl: float, max_age: float | None) -> datetime:
    """Return the end of the token; raises token_expired, token_not_yet_valid, token_too_old or evidence_malformed.

    `max_ttl` seconds may lie between `iat` and `exp`, `max_age` between `iat` and now; clocks may differ by LEEWAY.
    """
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    starts = max(issued, _time(claims, "nbf")) if "nbf" in claims else issued
    present = now.timestamp()
    server = f"the time here is {rfc3339(now)}"
    if present >= expires + LEEWAY:
        raise refusal("token_expired", f"the token ended at {_shown_time(expires)}; {server}; get a new one")
    if present < starts - LEEWAY:
        detail = f"the token starts at {_shown_time(starts)}; {server}; check the clocks"
        raise refusal("token_not_yet_valid", detail)
    if not 0 < expires - issued <= max_ttl:
        detail = f"the token is made for {expires - issued} s; expected 1 to {max_ttl:.0f} s"
        raise refusal("token_too_old", detail)
    if max_age is not None and present - issued > max_age + LEEWAY:
        detail = f"the token was made at {_shown_time(issued)}, over {max_age:.0f} s ago; {server}; get a new one"
        raise refusal("token_too_old", detail)
    return datetime.fromtimestamp(expires, UTC)


def check_audience(
    claims: Mapping[str, Any],
    mode: BindingMode,
    expected: Expected,
    audiences: tuple[str, ...],
    *,
    allow_extra: bool,
) -> BindingMode:
    """Return how the token is bound: `required` also where `mode` is affinity and its audience is the bound one.

    Raises audience_mismatch, binding_mismatch for a bound audience of another key or order, or evidence_malformed.
    """
    if mode == "tofu":
        return mode
    seen, bound = _audience(claims), expected.bound_audience
    static = () if mode == "required" else audiences or (expected.audience,)
    wanted = (*static, *(() if bound is None else (bound,)))
    if not wanted:
        detail = "this provider takes tokens only for an audience bound to an account key; ask for a nonce first"
        raise refusal("audience_mismatch", detail)
    if len(seen) > 1 and not allow_extra:
        detail = f"the token is for {len(seen)} audiences; expected exactly one: {' or '.join(wanted)}"
        raise refusal("audience_mismatch", detail)
    if bound is not None and _among((bound,), seen):
        return "required"
    if _among(static, seen):
        return mode
    raise _wrong_audience(seen, wanted, expected)


def _wrong_audience(seen: Sequence[str], wanted: Sequence[str], expected: Expected) -> Problem:
    needed = " or ".join(wanted)
    if any(audience.startswith(f"{expected.audience}/") for audience in seen):
        detail = f"the token is bound to another account key, order or nonce: {shown(seen[0])}; expected {needed}"
        return refusal("binding_mismatch", detail)
    return refusal("audience_mismatch", f"the token is for the audience {shown(seen[0])}; expected {needed}")


def _among(wanted: Iterable[str], seen: Iterable[str]) -> bool:
    """Compare every pair in constant time: a bound audience is as good as a secret before it is used."""
    equal = [hmac.compare_digest(one.encode(), other.encode()) for one in wanted for other in seen]
    return any(equal)


def _audience(claims: Mapping[str, Any]) -> list[str]:
    value = claims.get("aud")
    found: list[object] = value if isinstance(value, list) else [value]
    seen = [one for one in found if isinstance(one, str) and one]
    if not seen or len(seen) < len(found):
        raise refusal("evidence_malformed", f"the token's aud is {shown(value)}; expected a string, or an array of one")
    return seen


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value <= _END_OF_TIME:  # bool is an int, and no time
        raise refusal("evidence_malformed", f"the token's {name} is {shown(value)}; expected whole seconds since 1970")
    return value


def _shown_time(seconds: int) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


# --- The envelope ---


def _check_header(header: Mapping[str, Any]) -> None:
    for name in (*_KEY_IN_HEADER, *_NOT_READ):
        if name in header:
            why = "keys come from the configuration" if name in _KEY_IN_HEADER else "no extension is understood"
            raise refusal("evidence_malformed", f"the token's header has {name}; {why}")
    alg = header.get("alg")
    if not isinstance(alg, str):
        raise refusal("evidence_malformed", f"the token's alg is {shown(alg)}; expected the name of an algorithm")
    if alg not in ALGORITHMS:
        raise refusal("signature_invalid", f"the token's alg is {shown(alg)}; expected one of {', '.join(ALGORITHMS)}")
    if not isinstance(header.get("kid", ""), str):
        raise refusal("evidence_malformed", f"the token's kid is {shown(header['kid'])}; expected a string")


def _check_values(value: object) -> None:
    """Refuse what JSON can say and no record can hold. Depth is bounded by `load_object`."""
    if isinstance(value, dict):
        _check_values([*value, *value.values()])
    elif isinstance(value, list):
        for one in value:
            _check_values(one)
    elif isinstance(value, str) and _UNSTORABLE.search(value):
        raise refusal("evidence_malformed", f"the token has the text {shown(value)}, which is no Unicode text")
    elif isinstance(value, float) and not math.isfinite(value):
        raise refusal("evidence_malformed", "the token has a number that is too large")


def _names(keys: Sequence[Key]) -> str:
    named = [f"{shown(key.kid)} for {'/'.join(key.algorithms) or 'nothing'}" for key in keys[:_MANY]]
    return ", ".join((*named, "...") if len(keys) > _MANY else named) or "none"


def _jose_key(public: JosePublicKey) -> _JoseKey:
    if isinstance(public, RSAPublicKey):
        return RSAKey.import_key(public)
    return ECKey.import_key(public) if isinstance(public, EllipticCurvePublicKey) else OKPKey.import_key(public)


def _signed(unverified: Unverified, key: Key) -> bool:
    name = "Ed25519" if unverified.alg == "EdDSA" else unverified.alg  # joserfc warns of the old name, RFC 9864
    algorithm = JWSRegistry(algorithms=(name,)).get_alg(name)
    algorithm.check_key(key.jose)
    return algorithm.verify(unverified.signing_input, unverified.signature, key.jose)
