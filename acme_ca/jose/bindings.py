"""JWS inside of a request: key change (RFC 8555 §7.3.5) and external account binding (§7.3.4)."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from acme_ca.jose.encoding import load_json, load_object
from acme_ca.jose.envelope import ALGORITHMS, Envelope, parse_members, verify
from acme_ca.jose.jwk import Jwk, jwk_from_json
from acme_ca.problems import Malformed, Unauthorized

EAB_ALGORITHMS = ("HS256", "HS384", "HS512")
_DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def parse_inner_key_change(payload: bytes, outer_url: str) -> tuple[Envelope, Jwk]:
    """Return the inner JWS of a keyChange and the new key, by which it is verified. §7.3.5.

    Whether its payload names the account and the old key is for the caller to check.
    Raises Malformed, BadSignatureAlgorithm or BadPublicKey.
    """
    envelope = parse_members(load_object(payload, "the payload of keyChange"), ALGORITHMS)
    header = envelope.header
    if header.kid is not None or header.jwk is None:
        raise Malformed("the inner JWS of keyChange needs jwk, the new key, and no kid (RFC 8555 §7.3.5)")
    _check_inner(envelope, outer_url, "the inner JWS of keyChange")
    jwk = jwk_from_json(header.jwk)
    verify(envelope, jwk.key)
    return envelope, jwk


def eab_kid(binding: object) -> str:
    """Return the key identifier that an externalAccountBinding names, before anything is verified. Raises Malformed."""
    return _parse_eab(binding, EAB_ALGORITHMS)[1]


def verify_eab(
    binding: object,
    account_jwk: Jwk,
    url: str,
    secret_for: Callable[[str], bytes],
    algorithms: tuple[str, ...] = EAB_ALGORITHMS,
) -> str:
    """Return the kid of an externalAccountBinding that is made for this account key and newAccount URL. §7.3.4.

    `secret_for` returns the MAC key (raw bytes) of a kid, or raises. Raises Unauthorized if the MAC is wrong.
    """
    envelope, kid = _parse_eab(binding, algorithms)
    _check_inner(envelope, url, "the externalAccountBinding")
    expected = hmac.digest(secret_for(kid), envelope.signing_input, _DIGESTS[envelope.header.alg])
    if not hmac.compare_digest(expected, envelope.signature):
        raise Unauthorized("the MAC of the externalAccountBinding is wrong; check the HMAC key given for its kid")
    bound = load_json(envelope.payload, "the payload of the externalAccountBinding")
    if not isinstance(bound, dict) or any(bound.get(name) != value for name, value in account_jwk.json.items()):
        raise Malformed("the payload of the externalAccountBinding is not the jwk of the newAccount request")
    return kid


def _parse_eab(binding: object, algorithms: tuple[str, ...]) -> tuple[Envelope, str]:
    if not isinstance(binding, dict):
        raise Malformed("externalAccountBinding is not a JSON object")
    envelope = parse_members(binding, algorithms)
    kid = envelope.header.kid
    if kid is None or envelope.header.jwk is not None:
        raise Malformed("the externalAccountBinding needs kid and no jwk in its protected header (RFC 8555 §7.3.4)")
    return envelope, kid


def _check_inner(envelope: Envelope, url: str, what: str) -> None:
    if envelope.header.nonce is not None:
        raise Malformed(f"{what} has a nonce; only the outer JWS has one")
    if envelope.header.url != url:
        raise Malformed(f"the url of {what} is not that of the request; expected {url}")
