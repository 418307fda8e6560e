"""Whatever a client sends is read or refused by a Problem; never another exception, never more than was signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca import jose
from acme_ca.problems import Problem
from tests.support.jws import ACCOUNT_KINDS, PrivateKey, Signer, algorithm, b64, eab, flattened, public_jwk, shared_key

Result = TypeVar("Result")
URL = "https://ca.corp.example/acme/prod/new-account"
PAYLOAD = b'{"termsOfServiceAgreed": true}'
SECRET = b"0123456789abcdef0123456789abcdef"
SIGNER = Signer(shared_key("ec-p256"))
KNOWN = jose.jwk_from_json(SIGNER.jwk)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary().map(b64)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
names = st.sampled_from(
    ["alg", "url", "kid", "jwk", "nonce", "crit", "b64", "typ", "protected", "payload", "signature", "x"]
)
algorithms = st.sampled_from([*jose.ALGORITHMS, *jose.EAB_ALGORITHMS, "none"])
changes = st.dictionaries(names, values | algorithms, max_size=3)
keys = st.sampled_from([shared_key(kind) for kind in ACCOUNT_KINDS])
examples = settings(deadline=None, max_examples=150)


def total(read: Callable[[], Result]) -> Result | None:
    """Return what was read, or None when a client's mistake was found."""
    refused: Problem | None = None
    result: Result | None = None
    try:
        result = read()
    except Problem as problem:
        refused = problem
    if refused is not None:
        assert refused.status < 500
        assert refused.detail.isprintable()  # so no lone surrogate either
        json.dumps(refused.document())
    return result


def changed(key: PrivateKey, change: dict[str, Any]) -> dict[str, str]:
    """A well-signed newAccount whose header has these members changed."""
    header = {"alg": algorithm(key), "url": URL, "nonce": "abc", "jwk": public_jwk(key)}
    return flattened(key, header | change, PAYLOAD)


def accept(body: bytes) -> jose.Envelope:
    """What the face does with a newAccount request."""
    envelope = jose.parse(body)
    key = KNOWN if envelope.header.jwk is None else jose.jwk_from_json(envelope.header.jwk)
    jose.verify(envelope, key.key)
    return envelope


@given(body=st.binary() | values.map(lambda value: json.dumps(value).encode()))
@examples
def test_any_body(body: bytes) -> None:
    assert total(lambda: accept(body)) is None


@given(position=st.integers(min_value=0), byte=st.integers(0, 255), cut=st.booleans())
@examples
def test_a_changed_byte_is_refused_or_changes_nothing(position: int, byte: int, *, cut: bool) -> None:
    body = bytearray(SIGNER.sign(URL, PAYLOAD, nonce="abc"))
    position %= len(body)
    body[position : len(body) if cut else position + 1] = bytes([byte])
    if (envelope := total(lambda: accept(bytes(body)))) is not None:
        assert envelope.payload == PAYLOAD
        assert (envelope.header.url, envelope.header.nonce) == (URL, "abc")


@given(key=keys, change=changes)
@examples
def test_any_header_under_a_good_signature(key: PrivateKey, change: dict[str, Any]) -> None:
    body = json.dumps(changed(key, change)).encode()
    if (envelope := total(lambda: accept(body))) is not None:
        assert envelope.payload == PAYLOAD
        assert envelope.header.alg == jose.algorithm_for(key.public_key())


@given(header=st.binary(max_size=200))
@examples
def test_any_bytes_as_header_under_a_good_signature(header: bytes) -> None:
    assert total(lambda: accept(json.dumps(flattened(SIGNER.key, header, PAYLOAD)).encode())) is None


@given(change=changes)
@examples
def test_any_member_in_place_of_a_good_one(change: dict[str, Any]) -> None:
    body = json.dumps(SIGNER.message(URL, PAYLOAD) | change).encode()
    if (envelope := total(lambda: accept(body))) is not None:
        assert envelope.payload == PAYLOAD


@given(key=keys, change=st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d"]), values, max_size=2))
@examples
def test_any_jwk(key: PrivateKey, change: dict[str, Any]) -> None:
    jwk = public_jwk(key) | change
    if (read := total(lambda: jose.jwk_from_json(jwk))) is not None:
        assert read.json == {name: jwk[name] for name in read.json}  # one text for one key


@given(
    kty=st.sampled_from(["EC", "RSA", "OKP"]),
    members=st.dictionaries(st.sampled_from(["crv", "x", "y", "n", "e"]), values),
)
@examples
def test_any_members_of_a_jwk(kty: str, members: dict[str, Any]) -> None:
    total(lambda: jose.jwk_from_json({"kty": kty} | members))


@given(value=values)
@examples
def test_any_value_as_jwk_or_binding(value: object) -> None:
    total(lambda: jose.jwk_from_json(value))
    total(lambda: jose.eab_kid(value))
    total(lambda: jose.verify_eab(value, KNOWN, URL, lambda _: SECRET))


@given(change=changes, payload=values)
@examples
def test_any_binding_under_a_good_mac(change: dict[str, Any], payload: object) -> None:
    binding: dict[str, Any] = dict(eab("kid-1", SECRET, SIGNER.key, URL))
    total(lambda: jose.verify_eab(binding | change, KNOWN, URL, lambda _: SECRET))
    header = {"alg": "HS256", "kid": "kid-1", "url": URL} | change
    total(lambda: jose.eab_kid(flattened(SIGNER.key, header, payload)))


@given(payload=st.binary(), change=changes)
@examples
def test_any_key_change(payload: bytes, change: dict[str, Any]) -> None:
    total(lambda: jose.parse_inner_key_change(payload, URL))
    total(lambda: jose.parse_inner_key_change(json.dumps(changed(SIGNER.key, change)).encode(), URL))


@given(text=st.text() | st.binary().map(b64))
@examples
def test_base64url_has_one_text_for_one_value(text: str) -> None:
    if (data := total(lambda: jose.b64url_decode(text))) is not None:
        assert jose.b64url_encode(data) == text
