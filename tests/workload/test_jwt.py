"""Tokens: what is taken apart, what is verified, and what each claim has to say."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.problems import BadPublicKey, Problem
from acme_ca.workload import jwt
from acme_ca.workload.base import BindingMode, Expected
from acme_ca.workload.jwt import Key, Unverified
from tests.support.issuers import compact
from tests.support.jws import Kind, PrivateKey, algorithm, b64, public_jwk, shared_key
from tests.support.pop import signature
from tests.workload.proofs import AUDIENCE, BOUND, EXPECTED, JSON, OF_NOBODY, refused

KINDS: tuple[Kind, ...] = ("ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048")
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())


def private(kind: Kind, number: int = 0) -> PrivateKey:
    return shared_key(kind, number)


EC = private("ec-p256")
RSA = private("rsa-2048")


def token(header: Mapping[str, object] | None = None, claims: object = None) -> str:
    return compact(EC, {"alg": "ES256"} | dict(header or {}), {"iss": "me"} if claims is None else claims)


def key(kind: Kind = "ec-p256", kid: str | None = None, alg: str | None = None, number: int = 0) -> Key:
    return Key.of(private(kind, number).public_key(), kid, alg)


def unsigned(found: Unverified, keys: Sequence[Key], algorithms: Sequence[str] = jwt.ALGORITHMS) -> str:
    """The detail of the refusal of a signature."""
    code, detail = refused(lambda: jwt.verify(found, keys, algorithms))
    assert code == "signature_invalid"
    return detail


# --- Taking apart ---


def test_a_token_is_taken_apart() -> None:
    text = token({"kid": "k", "typ": "JWT"})

    found = jwt.peek(text)

    assert (found.alg, found.kid, found.issuer, found.claims) == ("ES256", "k", "me", {"iss": "me"})
    assert text not in repr(found)


@pytest.mark.parametrize("iss", [None, 1, ["me"]])
def test_only_text_is_an_issuer(iss: object) -> None:
    assert jwt.peek(token(claims={"iss": iss})).issuer is None


HEADERS: dict[str, tuple[dict[str, object], str]] = {
    "no alg": ({"alg": None}, "evidence_malformed"),
    "a list for alg": ({"alg": ["ES256"]}, "evidence_malformed"),
    "alg none": ({"alg": "none"}, "signature_invalid"),
    "alg None": ({"alg": "None"}, "signature_invalid"),
    "alg HS256": ({"alg": "HS256"}, "signature_invalid"),
    "an alg nobody knows": ({"alg": "XX1"}, "signature_invalid"),
    "crit": ({"crit": ["exp"]}, "evidence_malformed"),
    "an empty crit": ({"crit": []}, "evidence_malformed"),
    "b64": ({"b64": False}, "evidence_malformed"),
    "jku": ({"jku": "https://127.0.0.1/keys"}, "evidence_malformed"),
    "x5u": ({"x5u": "https://127.0.0.1/chain"}, "evidence_malformed"),
    "jwk": ({"jwk": public_jwk(EC)}, "evidence_malformed"),
    "x5c": ({"x5c": []}, "evidence_malformed"),
    "a number for kid": ({"kid": 1}, "evidence_malformed"),
    "null for kid": ({"kid": None}, "evidence_malformed"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_are_refused(case: str) -> None:
    header, code = HEADERS[case]

    assert refused(lambda: jwt.peek(token(header)))[0] == code


PARTS: dict[str, object] = {
    "two parts": "e30.e30",
    "five parts": "a.b.c.d.e",
    "padding": f"{b64(b'{}')}==.e30.e30",
    "the other alphabet": "e30.e30.+/+/",
    "bits left over": "e31.e30.AA",
    "not ASCII": "é30.e30.AAAA",
    "white space": f" {token()}",
    "too long": token(claims={"a": "x" * 16_384}),
    "bytes": token().encode(),
    "a header that is no object": compact(EC, b"[]", {}),
    "a header that is no UTF-8": compact(EC, b'{"alg":"\xff"}', {}),
    "a member twice in the header": compact(EC, b'{"alg":"ES256","alg":"none"}', {}),
    "a payload that is no object": token(claims=[1]),
    "a payload that is no JSON": token(claims=b"{"),
    "a claim twice": token(claims=b'{"sub":"a","sub":"b"}'),
    "a claim twice, deep inside": token(claims=b'{"a":[{"b":1,"b":2}]}'),
    "NaN": token(claims=b'{"exp":NaN}'),
    "a number without end": token(claims=b'{"a":1e999}'),
    "too many digits": token(claims=b'{"a":' + b"1" * 5000 + b"}"),
    "half a surrogate pair": token(claims=b'{"a":{"b":["\\ud800"]}}'),
    "half a surrogate pair as a name": token(claims=b'{"\\udfff":1}'),
    "the character NUL": token(claims=b'{"a":"\\u0000"}'),
    "deep nesting": token(claims=b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
}


@pytest.mark.parametrize("case", PARTS)
def test_tokens_that_are_malformed(case: str) -> None:
    assert refused(lambda: jwt.peek(PARTS[case]))[0] == "evidence_malformed"


@given(JSON)
def test_no_evidence_raises_anything_but_a_problem(evidence: object) -> None:
    with pytest.raises(Problem):
        jwt.peek(evidence)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80))
def test_no_octets_raise_anything_but_a_problem(header: bytes, payload: bytes, sig: bytes) -> None:
    with pytest.raises(Problem):
        jwt.peek(f"{b64(header)}.{b64(payload)}.{b64(sig)}")


@given(JSON)
def test_no_claim_raises_anything_but_a_problem(value: object) -> None:
    """Whatever the claims are, each check refuses or passes."""
    names = ("exp", "iat", "nbf", "aud")
    for name in names:
        claims = {"exp": SECOND + 60, "iat": SECOND, "aud": AUDIENCE} | {name: value}
        for call in (
            lambda claims=claims: jwt.check_times(claims, NOW, max_ttl=3600, max_age=None),
            lambda claims=claims: jwt.check_audience(claims, "affinity", EXPECTED, (), allow_extra=False),
        ):
            try:
                call()
            except Problem as problem:
                assert problem.extra["workloadError"]  # noqa: PT017 - it may pass, too


@pytest.mark.parametrize("typ", ["JWT", "jwt", "JOSE", "application/jwt", None])
def test_plain_tokens_by_type(typ: str | None) -> None:
    jwt.check_type(jwt.peek(token({} if typ is None else {"typ": typ})))


@pytest.mark.parametrize("typ", ["at+jwt", "wit+jwt", "acme-workload-pop+jws", "", 1, None])
def test_tokens_of_another_type(typ: object) -> None:
    assert refused(lambda: jwt.check_type(jwt.peek(token({"typ": typ}))))[0] == "evidence_malformed"


# --- Signatures ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_of_each_kind(kind: Kind) -> None:
    signer = private(kind)
    found = jwt.peek(compact(signer, {"alg": algorithm(signer)}, {}))

    jwt.verify(found, [key(kind)], [algorithm(signer)])

    assert "wrong" in unsigned(found, [key(kind, number=1)])


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_a_signature_by_each_algorithm_of_rsa(alg: str) -> None:
    jwt.verify(jwt.peek(compact(RSA, {"alg": alg}, {})), [key("rsa-2048")], [alg])


def test_ed25519_has_two_names() -> None:
    signer = private("ed25519")
    for alg in ("EdDSA", "Ed25519"):
        for own in ("EdDSA", "Ed25519", None):
            found = jwt.peek(compact(signer, {"alg": alg}, {}))
            jwt.verify(found, [key("ed25519", alg=own)], ["EdDSA", "Ed25519"])


def test_an_algorithm_that_is_not_listed() -> None:
    found = jwt.peek(token())

    assert unsigned(found, [key()], ["RS256", "ES384"]) == "the token is signed with ES256; expected RS256 or ES384"


def test_a_key_of_another_curve_or_kind() -> None:
    for kind in ("ec-p384", "rsa-2048", "ed25519"):
        found = jwt.peek(compact(private(kind), {"alg": "ES256"}, {}))
        assert "is not for ES256" in unsigned(found, [key(kind)])


def test_a_key_is_used_with_its_own_algorithm_alone() -> None:
    found = jwt.peek(compact(RSA, {"alg": "PS256"}, {}))

    assert "is not for PS256" in unsigned(found, [key("rsa-2048", alg="RS256")])
    assert "for nothing" in unsigned(found, [key("rsa-2048", alg="RSA-OAEP")])


def test_a_kid_chooses_the_keys() -> None:
    found = jwt.peek(token({"kid": "mine"}))

    jwt.verify(found, [key(kid="other", number=1), key(kid="mine", number=2), key(kid="mine")], ["ES256"])

    detail = unsigned(found, [key(kid="other"), key()])
    assert "no key 'mine'" in detail
    assert "'other'" in detail


def test_without_a_kid_every_key_is_tried() -> None:
    jwt.verify(jwt.peek(token()), [key("rsa-2048"), key(kid="a", number=1), key(kid="b")], ["ES256"])


def test_without_keys_nothing_is_right() -> None:
    assert "none" in unsigned(jwt.peek(token({"kid": "a"})), [])
    assert "none" in unsigned(jwt.peek(token()), [])


def test_a_detail_does_not_list_keys_without_end() -> None:
    assert len(unsigned(jwt.peek(token({"kid": "x"})), [key(kid=f"k{number}") for number in range(99)])) < 500


def test_the_public_key_as_a_secret_of_hs256() -> None:
    """RFC 8725 §2.1: the classic confusion of a public key with a MAC key."""
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for alg, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        signing_input = f"{b64(json.dumps({'alg': alg}).encode())}.{b64(b'{}')}"
        forged = f"{signing_input}.{b64(hmac.digest(pem, signing_input.encode(), digest))}"
        assert refused(partial(jwt.peek, forged))[0] == "signature_invalid"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sig", [b"", b"\0", b"\0" * 64, b"\0" * 96, b"\0" * 132, b"\0" * 256, b"\xff" * 64])
def test_signatures_that_are_none(kind: Kind, sig: bytes) -> None:
    header = b64(json.dumps({"alg": algorithm(private(kind))}).encode())
    found = jwt.peek(f"{header}.e30.{b64(sig)}")

    assert "wrong" in unsigned(found, [key(kind)])


def test_a_signature_has_its_exact_length() -> None:
    signing_input = f"{b64(b'{}')}.e30"
    raw = signature(EC, "ES256", signing_input.encode())
    for sig in (raw + b"\0", raw[:-1], b"\0" + raw):
        found = Unverified("", {"alg": "ES256"}, {}, signing_input.encode(), sig)
        assert "wrong" in unsigned(found, [key()])


def test_weak_keys_are_none() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()

    with pytest.raises(BadPublicKey, match="1024 bits"):
        Key.of(weak)


# --- Times ---


def times(**claims: object) -> datetime:
    kept = {name: value for name, value in ({"iat": SECOND, "exp": SECOND + 600} | claims).items() if value is not None}
    return jwt.check_times(kept, NOW, max_ttl=3600, max_age=300)


def test_times_that_are_right() -> None:
    assert times() == NOW + timedelta(seconds=600)
    assert times(nbf=SECOND, iat=SECOND - 300, exp=SECOND + 1) == NOW + timedelta(seconds=1)
    assert times(iat=SECOND + 60, nbf=SECOND + 60)  # clocks differ
    assert times(iat=SECOND - 200, exp=SECOND - 59)
    assert times(iat=SECOND - 360, exp=SECOND + 60)
    assert times(exp=SECOND + 3600)


TIMES: dict[str, tuple[dict[str, object], str]] = {
    "no exp": ({"exp": None}, "evidence_malformed"),
    "no iat": ({"iat": None}, "evidence_malformed"),
    "text for exp": ({"exp": "1795467600"}, "evidence_malformed"),
    "true for exp": ({"exp": True}, "evidence_malformed"),
    "a fraction for exp": ({"exp": SECOND + 0.5}, "evidence_malformed"),
    "a fraction for iat": ({"iat": float(SECOND)}, "evidence_malformed"),
    "a negative iat": ({"iat": -1}, "evidence_malformed"),
    "exp after the end of time": ({"exp": 10**15}, "evidence_malformed"),
    "exp without end": ({"exp": 10**400}, "evidence_malformed"),
    "text for nbf": ({"nbf": "now"}, "evidence_malformed"),
    "expired": ({"iat": SECOND - 200, "exp": SECOND - 60}, "token_expired"),
    "made tomorrow": ({"iat": SECOND + 61, "exp": SECOND + 600}, "token_not_yet_valid"),
    "good from tomorrow": ({"nbf": SECOND + 61}, "token_not_yet_valid"),
    "too old": ({"iat": SECOND - 361}, "token_too_old"),
    "made for too long": ({"exp": SECOND + 3601}, "token_too_old"),
    "ended when it began": ({"exp": SECOND}, "token_too_old"),
    "ended before it began": ({"iat": SECOND + 10, "exp": SECOND + 5}, "token_too_old"),
}


@pytest.mark.parametrize("case", TIMES)
def test_times_that_are_refused(case: str) -> None:
    claims, code = TIMES[case]

    assert refused(lambda: times(**claims))[0] == code


@pytest.mark.parametrize("case", ["expired", "made tomorrow", "too old"])
def test_refusals_about_time_say_what_the_server_thinks(case: str) -> None:
    assert "the time here is 2026-11-23T12:00:00Z" in refused(lambda: times(**TIMES[case][0]))[1]


def test_without_a_limit_of_age_only_the_end_counts() -> None:
    claims = {"iat": SECOND - 3000, "exp": SECOND + 60}

    assert jwt.check_times(claims, NOW, max_ttl=3600, max_age=None) == NOW + timedelta(seconds=60)


# --- Audiences ---

STATIC = "https://other.corp.example/for-acme"
FOREIGN = f"{AUDIENCE}/{'A' * 43}"


def audience(
    aud: object,
    mode: BindingMode = "required",
    audiences: tuple[str, ...] = (),
    expected: Expected = EXPECTED,
    *,
    allow_extra: bool = False,
) -> BindingMode:
    return jwt.check_audience({"aud": aud}, mode, expected, audiences, allow_extra=allow_extra)


def test_audiences_that_are_right() -> None:
    assert audience(BOUND) == "required"
    assert audience([BOUND]) == "required"
    assert audience([STATIC, BOUND], allow_extra=True) == "required"
    assert audience(AUDIENCE, "affinity") == "affinity"
    assert audience([AUDIENCE], "affinity", expected=OF_NOBODY) == "affinity"
    assert audience(STATIC, "affinity", (STATIC, "b")) == "affinity"
    assert audience([STATIC, "x"], "affinity", (STATIC,), allow_extra=True) == "affinity"
    assert audience({"any": "thing"}, "tofu") == "tofu"


def test_a_bound_audience_is_more_than_affinity_asks_for() -> None:
    assert audience(BOUND, "affinity") == "required"
    assert audience([BOUND], "affinity", (STATIC,)) == "required"


AUDIENCES: dict[str, tuple[object, BindingMode, tuple[str, ...], str]] = {
    "none": (None, "required", (), "evidence_malformed"),
    "a number": (1, "required", (), "evidence_malformed"),
    "an empty array": ([], "required", (), "evidence_malformed"),
    "an empty text": ("", "required", (), "evidence_malformed"),
    "a number in an array": ([BOUND, 1], "required", (), "evidence_malformed"),
    "an array in an array": ([[BOUND]], "required", (), "evidence_malformed"),
    "the static one where a bound one is needed": (AUDIENCE, "required", (), "audience_mismatch"),
    "bound to another": (FOREIGN, "required", (), "binding_mismatch"),
    "bound to another, in affinity": (FOREIGN, "affinity", (), "binding_mismatch"),
    "bound to nobody": (f"{AUDIENCE}/", "required", (), "binding_mismatch"),
    "bound, with more behind it": (f"{BOUND}A", "required", (), "binding_mismatch"),
    "bound, in capitals": (BOUND.upper(), "required", (), "audience_mismatch"),
    "two": ([BOUND, STATIC], "required", (), "audience_mismatch"),
    "the same twice": ([BOUND, BOUND], "required", (), "audience_mismatch"),
    "two, in affinity": ([AUDIENCE, STATIC], "affinity", (), "audience_mismatch"),
    "the environment's where another is configured": (AUDIENCE, "affinity", (STATIC,), "audience_mismatch"),
    "a part of the environment's": (AUDIENCE[:-1], "affinity", (), "audience_mismatch"),
    "somebody else's": ("sts.amazonaws.com", "affinity", (), "audience_mismatch"),
    "not ASCII": ("é", "affinity", (), "audience_mismatch"),
}


@pytest.mark.parametrize("case", AUDIENCES)
def test_audiences_that_are_refused(case: str) -> None:
    aud, mode, audiences, code = AUDIENCES[case]

    assert refused(lambda: audience(aud, mode, audiences))[0] == code


def test_a_refusal_says_which_audience_is_expected() -> None:
    assert BOUND in refused(lambda: audience(STATIC))[1]
    assert f"{AUDIENCE} or {BOUND}" in refused(lambda: audience(STATIC, "affinity"))[1]


def test_where_nothing_can_be_bound_a_bound_audience_is_nothing() -> None:
    code, detail = refused(lambda: audience(BOUND, expected=OF_NOBODY))

    assert code == "audience_mismatch"
    assert "nonce" in detail
