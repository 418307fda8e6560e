"""Keys as JSON: accepted forms, thumbprints, and each refusal."""

from __future__ import annotations

import hashlib
import json

import pytest

from acme_ca import jose
from acme_ca.pki.signing import new_mldsa
from acme_ca.problems import BadPublicKey, Malformed, Problem
from acme_ca.vocabulary import MLDSA_KEY_TYPES
from tests.support.jws import ACCOUNT_KINDS, Kind, b64, integer, public_jwk, shared_key, thumbprint

RFC_7638_MODULUS = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
    "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5ha"
    "jrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_key_is_read_and_written_alike(kind: Kind) -> None:
    key = shared_key(kind)
    jwk = jose.jwk_from_json(public_jwk(key))
    assert jwk.json == public_jwk(key)
    assert jwk.thumbprint == thumbprint(key)
    assert jwk.key == key.public_key()
    assert jose.jwk_from_public_key(key.public_key()) == jwk


def test_the_thumbprint_of_rfc_7638_section_3_1() -> None:
    jwk = {"kty": "RSA", "n": RFC_7638_MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert jose.jwk_from_json(jwk).thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_thumbprint_of_rfc_8037_appendix_a3() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert jose.jwk_from_json(jwk).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_optional_members_are_ignored(kind: Kind) -> None:
    plain = public_jwk(shared_key(kind))
    jwk = jose.jwk_from_json(
        plain | {"use": "sig", "key_ops": ["verify"], "alg": "x", "kid": "a", "x5u": "https://[", "z": 1}
    )
    assert jwk.json == plain


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_private_members_are_refused(kind: Kind, member: str) -> None:
    with pytest.raises(BadPublicKey, match=f"private member {member}"):
        jose.jwk_from_json(public_jwk(shared_key(kind)) | {member: None})


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_missing_member_is_refused(kind: Kind) -> None:
    plain = public_jwk(shared_key(kind))
    for member in plain:
        with pytest.raises(Problem):
            jose.jwk_from_json({name: value for name, value in plain.items() if name != member})


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
@pytest.mark.parametrize("value", [None, 1, [], {}, True, "", "AA==", "é", "\x00"])
def test_a_member_of_another_kind_is_refused(kind: Kind, value: object) -> None:
    plain = public_jwk(shared_key(kind))
    for member in plain:
        with pytest.raises((Malformed, BadPublicKey)):
            jose.jwk_from_json(plain | {member: value})


@pytest.mark.parametrize("obj", [None, 1, "a", [], b"", True])
def test_what_is_no_object_is_malformed(obj: object) -> None:
    with pytest.raises(Malformed, match="jwk is not a JSON object"):
        jose.jwk_from_json(obj)


@pytest.mark.parametrize(
    ("change", "problem", "reason"),
    [
        ({"kty": "oct"}, BadPublicKey, "kty 'oct' is not accepted"),
        ({"kty": "ec"}, BadPublicKey, "kty 'ec' is not accepted"),
        ({"kty": "\ud800"}, BadPublicKey, r"kty '\\ud800' is not accepted"),
        ({"crv": "secp256k1"}, BadPublicKey, "expected P-256, P-384 or P-521"),
        ({"crv": "P-384"}, BadPublicKey, "x has 32 bytes; P-384 needs 48"),
        ({"x": b64(bytes(31))}, BadPublicKey, "x has 31 bytes; P-256 needs 32"),
        ({"y": b64(bytes(33))}, BadPublicKey, "y has 33 bytes; P-256 needs 32"),
        ({"y": b64(bytes(32))}, BadPublicKey, "not a point of the curve P-256"),
        ({"x": b64(bytes(32)), "y": b64(bytes(32))}, BadPublicKey, "not a point of the curve P-256"),
        ({"x": b64(b"\xff" * 32)}, BadPublicKey, "not a point of the curve P-256"),
    ],
)
def test_a_bad_ec_key_is_refused(change: dict[str, str], problem: type[Problem], reason: str) -> None:
    with pytest.raises(problem, match=reason):
        jose.jwk_from_json(public_jwk(shared_key("ec-p256")) | change)


@pytest.mark.parametrize(
    ("change", "problem", "reason"),
    [
        ({"n": integer(2**1023 + 1)}, BadPublicKey, "1024 bits is not accepted"),
        ({"n": integer(2**511 + 1)}, BadPublicKey, "RSA"),
        ({"n": "AA"}, Malformed, "n is empty or starts with a zero byte"),
        ({"n": integer(2**2047 + 1, 257)}, Malformed, "n is empty or starts with a zero byte"),
        ({"n": b64(b"\xff" * 513)}, BadPublicKey, "n has 513 bytes; at most 512"),
        ({"n": b64(b"\xff" * 40_000)}, BadPublicKey, "n has 40000 bytes; at most 512"),
        ({"e": "AAEAAQ"}, Malformed, "e is empty or starts with a zero byte"),
        ({"e": "AQ"}, BadPublicKey, "expected an odd exponent"),
        ({"e": "Ag"}, BadPublicKey, "expected an odd exponent"),
        ({"e": "AQAA"}, BadPublicKey, "expected an odd exponent"),
        ({"e": "Aw"}, BadPublicKey, "exponent is not accepted"),
        ({"e": b64(b"\xff" * 33)}, BadPublicKey, "e has 33 bytes; at most 32"),
    ],
)
def test_a_bad_rsa_key_is_refused(change: dict[str, str], problem: type[Problem], reason: str) -> None:
    with pytest.raises(problem, match=reason):
        jose.jwk_from_json(public_jwk(shared_key("rsa-2048")) | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"crv": "X25519"}, "'X25519' is not accepted; expected Ed25519"),
        ({"crv": "Ed448"}, "'Ed448' is not accepted; expected Ed25519"),
        ({"x": b64(bytes(31))}, "x has 31 bytes; Ed25519 needs 32"),
        ({"x": b64(bytes(32))}, "small order"),
    ],
)
def test_a_bad_okp_key_is_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises(BadPublicKey, match=reason):
        jose.jwk_from_json(public_jwk(shared_key("ed25519")) | change)


@pytest.mark.parametrize("kind", MLDSA_KEY_TYPES)
def test_a_key_of_ml_dsa_is_written_and_not_read(kind: str) -> None:
    key = new_mldsa(kind).public_key()
    members = jose.members_of(key)
    assert members == {"alg": kind.upper(), "kty": "AKP", "pub": b64(key.public_bytes_raw())}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    assert jose.thumbprint_of(key) == b64(hashlib.sha256(canonical.encode()).digest())
    with pytest.raises(BadPublicKey, match="a jwk with kty 'AKP' is not accepted"):
        jose.jwk_from_json(members)
