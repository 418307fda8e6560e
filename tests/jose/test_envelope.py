"""The signed message: what is read, and how each deviation from RFC 8555 §6.2 is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from acme_ca import jose
from acme_ca.problems import BadSignatureAlgorithm, Malformed, Problem
from tests.support.jws import ACCOUNT_KINDS, Kind, Signer, b64, flattened, integer, shared_key

URL = "https://ca.corp.example/acme/prod/new-order"
KID = "https://ca.corp.example/acme/prod/account/1"


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer(shared_key("ec-p256"), KID)


def with_header(signer: Signer, **changes: Any) -> bytes:  # noqa: ANN401 - members of any kind
    """A body whose header has these members changed, even to null."""
    header = {"alg": "ES256", "url": URL, "kid": KID, "nonce": "abc"} | changes
    return json.dumps(flattened(signer.key, header, None)).encode()


def refusal(body: bytes) -> Problem:
    with pytest.raises(Problem) as refused:
        jose.parse(body)
    assert type(refused.value) in {Malformed, BadSignatureAlgorithm}
    return refused.value


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_request_by_kid_is_read_and_verified(kind: Kind) -> None:
    signer = Signer(shared_key(kind), KID)
    envelope = jose.parse(signer.sign(URL, {"a": 1}, nonce="abc-_09"))
    jose.verify(envelope, signer.key.public_key())
    assert envelope.header.kid == KID
    assert envelope.header.jwk is None
    assert envelope.header.url == URL
    assert envelope.header.nonce == "abc-_09"
    assert json.loads(envelope.payload) == {"a": 1}


def test_a_request_by_jwk_carries_its_key() -> None:
    signer = Signer(shared_key("ec-p256"))
    envelope = jose.parse(signer.sign(URL, {}))
    assert envelope.header.kid is None
    assert envelope.header.jwk == signer.jwk
    jose.verify(envelope, jose.jwk_from_json(envelope.header.jwk).key)


def test_post_as_get_has_an_empty_payload(signer: Signer) -> None:
    assert jose.parse(signer.sign(URL)).payload == b""


def test_a_missing_nonce_is_left_to_the_caller(signer: Signer) -> None:
    assert jose.parse(signer.sign(URL)).header.nonce is None


def test_other_header_members_are_ignored_and_nothing_is_fetched(signer: Signer) -> None:
    body = signer.sign(URL, typ="JWT", jku="https://127.0.0.1:1/", x5u="https://127.0.0.1:1/", x5c=["x"], zip="DEF")
    jose.verify(jose.parse(body), signer.key.public_key())


def test_the_example_of_rfc_7515_appendix_a3_verifies() -> None:
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    signing_input = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ"
    )
    signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    jose.verify(published("ES256", signing_input, signature), jose.jwk_from_json(jwk).key)


def test_the_example_of_rfc_8037_appendix_a4_verifies() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    signing_input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    jose.verify(published("EdDSA", signing_input, signature), jose.jwk_from_json(jwk).key)


def published(alg: str, signing_input: str, signature: str) -> jose.Envelope:
    header = jose.Header(alg=alg, url="", nonce=None, kid=None, jwk=None)
    return jose.Envelope(header, b"", signing_input.encode(), jose.b64url_decode(signature))


# --- serialization ---


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"{}", "no member payload"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        ('{"payload":""}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":NaN}', "NaN is not a JSON value"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON value"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[" * 100_000, "more than 256 objects and arrays"),
        (b'{"a":' * 100_000, "more than 256 objects and arrays"),
        (b"a.b.c", "not JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes, reason: str) -> None:
    assert reason in refusal(body).detail


@pytest.mark.parametrize("missing", ["protected", "payload", "signature"])
def test_a_missing_member_is_named(signer: Signer, missing: str) -> None:
    message = signer.message(URL)
    del message[missing]
    assert f"no member {missing}" in refusal(json.dumps(message).encode()).detail


@pytest.mark.parametrize("extra", ["header", "signatures", "x"])
def test_another_member_is_named(signer: Signer, extra: str) -> None:
    message: dict[str, Any] = signer.message(URL) | {extra: {}}
    assert f"has the member '{extra}'" in refusal(json.dumps(message).encode()).detail


def test_the_general_serialization_is_refused(signer: Signer) -> None:
    message = signer.message(URL)
    general = {
        "payload": message["payload"],
        "signatures": [{"protected": message["protected"], "signature": message["signature"]}],
    }
    assert "flattened JSON serialization" in refusal(json.dumps(general).encode()).detail


def test_the_compact_serialization_is_refused(signer: Signer) -> None:
    message = signer.message(URL)
    compact = f"{message['protected']}.{message['payload']}.{message['signature']}"
    assert "not JSON" in refusal(compact.encode()).detail


@pytest.mark.parametrize("name", ["payload", r"p\u0061yload"])
def test_a_duplicate_member_is_refused_however_it_is_written(signer: Signer, name: str) -> None:
    body = signer.sign(URL)[:-1] + f', "{name}": ""}}'.encode()
    assert "'payload' is there twice" in refusal(body).detail


def test_a_duplicate_header_member_is_refused(signer: Signer) -> None:
    header = f'{{"alg":"ES256","url":"{URL}","kid":"a","kid":"{KID}"}}'.encode()
    assert "'kid' is there twice" in refusal(json.dumps(flattened(signer.key, header, None)).encode()).detail


def test_a_duplicate_member_of_the_jwk_is_refused(signer: Signer) -> None:
    header = f'{{"alg":"ES256","url":"{URL}","jwk":{{"kty":"EC","kty":"RSA"}}}}'.encode()
    assert "'kty' is there twice" in refusal(json.dumps(flattened(signer.key, header, None)).encode()).detail


@pytest.mark.parametrize("member", ["protected", "payload", "signature"])
@pytest.mark.parametrize(
    "value", [None, 1, True, [], {}, "e30=", "e3 0", "e+30", "e/30", "é", "e", "eyJ9é", "e30\n", "e31"]
)
def test_a_member_that_is_not_canonical_base64url_is_refused(signer: Signer, member: str, value: object) -> None:
    message: dict[str, Any] = dict(signer.message(URL))
    message[member] = value
    assert refusal(json.dumps(message).encode()).detail.startswith(member)


# --- the protected header ---


@pytest.mark.parametrize("header", [b"", b"null", b"[]", b'"a"', b"{", b"\xff", b'{"a":NaN}'])
def test_a_header_that_is_no_json_object_is_refused(signer: Signer, header: bytes) -> None:
    problem = refusal(json.dumps(flattened(signer.key, header, None)).encode())
    assert problem.detail.startswith("the protected header is not")


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "ES256K", "RS1", "RS384", "PS256", "Ed448", "es256", ""])
def test_another_algorithm_is_refused_with_the_list_of_accepted_ones(signer: Signer, alg: str) -> None:
    problem = refusal(signer.sign(URL, alg=alg))
    assert isinstance(problem, BadSignatureAlgorithm)
    assert problem.document()["algorithms"] == ["ES256", "ES384", "ES512", "RS256", "EdDSA"]


@pytest.mark.parametrize(
    ("name", "value"), [("crit", ["b64"]), ("crit", []), ("crit", None), ("b64", False), ("b64", True)]
)
def test_extensions_are_refused(signer: Signer, name: str, value: object) -> None:
    assert f"has the member {name}" in refusal(with_header(signer, **{name: value})).detail


@pytest.mark.parametrize("name", ["alg", "url"])
def test_a_header_without_algorithm_or_url_is_malformed(signer: Signer, name: str) -> None:
    header = {"alg": "ES256", "url": URL, "kid": KID}
    del header[name]
    assert "needs alg and url" in refusal(json.dumps(flattened(signer.key, header, None)).encode()).detail


@pytest.mark.parametrize("name", ["alg", "url", "kid", "nonce"])
@pytest.mark.parametrize("value", [None, 1, [], {}, "\x00", "\ud800", "é", "a\nb"])
def test_a_header_member_that_is_not_printable_ascii_is_refused(signer: Signer, name: str, value: object) -> None:
    assert refusal(with_header(signer, **{name: value})).detail.startswith(f"{name} in the protected header")


@pytest.mark.parametrize("nonce", ["", "a=", "a b", "a+b", "a.b"])
def test_a_nonce_that_is_not_base64url_is_malformed(signer: Signer, nonce: str) -> None:
    assert "nonce is not base64url" in refusal(signer.sign(URL, nonce=nonce)).detail


@pytest.mark.parametrize("jwk", [None, 1, "a", []])
def test_a_jwk_that_is_no_object_is_malformed(jwk: object) -> None:
    assert "jwk in the protected header is not a JSON object" in refusal(Signer.new().sign(URL, jwk=jwk)).detail


def test_kid_and_jwk_together_are_refused(signer: Signer) -> None:
    assert "both kid and jwk" in refusal(signer.sign(URL, jwk=signer.jwk)).detail


def test_neither_kid_nor_jwk_is_refused(signer: Signer) -> None:
    header = {"alg": "ES256", "url": URL}
    assert "neither kid nor jwk" in refusal(json.dumps(flattened(signer.key, header, None)).encode()).detail


# --- the signature ---


@pytest.mark.parametrize("member", ["protected", "payload"])
@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_changed_message_does_not_verify(kind: Kind, member: str) -> None:
    signer = Signer(shared_key(kind), KID)
    message = signer.message(URL, {"a": 1}, nonce="n")
    message[member] = signer.message(URL, {"a": 2}, nonce="m")[member]
    envelope = jose.parse(json.dumps(message).encode())
    with pytest.raises(Malformed, match="signature of the JWS is not valid"):
        jose.verify(envelope, signer.key.public_key())


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
@pytest.mark.parametrize("signature", [b"", b"\x00", bytes(64), b"\xff" * 64, bytes(96), b"\xff" * 132, b"\x01" * 256])
def test_a_signature_of_any_length_does_not_verify(kind: Kind, signature: bytes) -> None:
    signer = Signer(shared_key(kind), KID)
    message = signer.message(URL) | {"signature": b64(signature)}
    envelope = jose.parse(json.dumps(message).encode())
    with pytest.raises(Malformed, match="signature of the JWS is not valid"):
        jose.verify(envelope, signer.key.public_key())


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_the_signature_of_another_key_does_not_verify(kind: Kind) -> None:
    envelope = jose.parse(Signer(shared_key(kind), KID).sign(URL))
    with pytest.raises(Malformed, match="signature of the JWS is not valid"):
        jose.verify(envelope, shared_key(kind, 1).public_key())


def test_an_ecdsa_signature_in_der_does_not_verify(signer: Signer) -> None:
    """RFC 7518 §3.4: r and s side by side, each of full length."""
    key = signer.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    message = signer.message(URL)
    envelope = jose.parse(json.dumps(message).encode())
    der = key.sign(envelope.signing_input, ec.ECDSA(SHA256()))
    with pytest.raises(Malformed, match="signature of the JWS is not valid"):
        jose.verify(jose.Envelope(envelope.header, b"", envelope.signing_input, der), key.public_key())


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_each_key_has_one_algorithm(kind: Kind, alg: str) -> None:
    """Seen elsewhere: ES256 by a P-384 key verifies in josepy."""
    signer = Signer(shared_key(kind), KID)
    envelope = jose.parse(signer.sign(URL, alg=alg))
    if jose.algorithm_for(signer.key.public_key()) == alg:
        jose.verify(envelope, signer.key.public_key())
        return
    with pytest.raises(BadSignatureAlgorithm, match=f"alg {alg} does not fit the key") as refused:
        jose.verify(envelope, signer.key.public_key())
    assert refused.value.document()["algorithms"] == list(jose.ALGORITHMS)


def test_base64url_round_trips_at_every_length() -> None:
    for length in range(10):
        data = bytes(range(250, 250 + min(length, 6))) + bytes(max(0, length - 6))
        assert jose.b64url_decode(jose.b64url_encode(data)) == data
    assert jose.b64url_encode(b"\xfb\xff") == "-_8"
    assert integer(65537) == "AQAB"
