"""JWS inside of requests: key change and external account binding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acme_ca import jose
from acme_ca.problems import BadPublicKey, BadSignatureAlgorithm, Malformed, Problem, Unauthorized
from tests.support.jws import ACCOUNT_KINDS, Kind, Signer, b64, eab, flattened, integer, shared_key

KEY_CHANGE = "https://ca.corp.example/acme/prod/key-change"
NEW_ACCOUNT = "https://ca.corp.example/acme/prod/new-account"
OLD = Signer(shared_key("ec-p256"), "https://ca.corp.example/acme/prod/account/1")
SECRET = b"0123456789abcdef0123456789abcdef"


def secret_for(kid: str) -> bytes:
    assert kid == "kid-1"
    return SECRET


# --- key change, §7.3.5 ---


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_key_change_gives_the_new_key(kind: Kind) -> None:
    new = Signer(shared_key(kind, 1))
    envelope, jwk = jose.parse_inner_key_change(json.dumps(OLD.key_change(new, KEY_CHANGE)).encode(), KEY_CHANGE)
    assert jwk.thumbprint == new.thumbprint
    assert json.loads(envelope.payload) == {"account": OLD.kid, "oldKey": OLD.jwk}


@pytest.mark.parametrize(
    ("header", "problem", "reason"),
    [
        ({"nonce": "abc"}, Malformed, "has a nonce"),
        ({"url": NEW_ACCOUNT}, Malformed, "url of the inner JWS of keyChange is not that of the request"),
        ({"kid": OLD.kid}, Malformed, "needs jwk, the new key, and no kid"),
        ({"jwk": {"kty": "EC"}}, Malformed, "no crv"),
        ({"jwk": OLD.jwk}, Malformed, "signature of the JWS is not valid"),
        ({"jwk": {"kty": "RSA", "n": integer(2**1023 + 1), "e": "AQAB"}}, BadPublicKey, "1024 bits"),
        ({"alg": "ES384"}, BadSignatureAlgorithm, "does not fit the key"),
        ({"alg": "none"}, BadSignatureAlgorithm, "is not accepted"),
        ({"crit": []}, Malformed, "crit"),
    ],
)
def test_a_wrong_key_change_is_refused(header: dict[str, Any], problem: type[Problem], reason: str) -> None:
    inner = Signer(shared_key("ec-p256", 1)).message(KEY_CHANGE, {}, **header)
    with pytest.raises(problem, match=reason):
        jose.parse_inner_key_change(json.dumps(inner).encode(), KEY_CHANGE)


def test_a_key_change_without_jwk_is_refused() -> None:
    inner = flattened(OLD.key, {"alg": "ES256", "url": KEY_CHANGE}, {})
    with pytest.raises(Malformed, match="needs jwk"):
        jose.parse_inner_key_change(json.dumps(inner).encode(), KEY_CHANGE)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff"])
def test_a_key_change_that_is_no_jws_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        jose.parse_inner_key_change(payload, KEY_CHANGE)


# --- external account binding, §7.3.4 ---


def verified(binding: object, **options: Any) -> str:  # noqa: ANN401 - passes them on
    return jose.verify_eab(binding, jose.jwk_from_json(OLD.jwk), NEW_ACCOUNT, secret_for, **options)


@pytest.mark.parametrize("alg", jose.EAB_ALGORITHMS)
def test_a_binding_gives_its_kid(alg: str) -> None:
    binding = eab("kid-1", SECRET, OLD.key, NEW_ACCOUNT, alg)
    assert jose.eab_kid(binding) == "kid-1"
    assert verified(binding) == "kid-1"


@pytest.mark.parametrize("kind", ACCOUNT_KINDS)
def test_a_binding_is_made_for_each_kind_of_key(kind: Kind) -> None:
    key = shared_key(kind)
    binding = eab("kid-1", SECRET, key, NEW_ACCOUNT)
    jwk = jose.jwk_from_public_key(key.public_key())
    assert jose.verify_eab(binding, jwk, NEW_ACCOUNT, secret_for) == "kid-1"


def test_a_binding_with_a_wrong_mac_is_unauthorized() -> None:
    with pytest.raises(Unauthorized, match="MAC of the externalAccountBinding is wrong"):
        verified(eab("kid-1", b"another secret", OLD.key, NEW_ACCOUNT))


@pytest.mark.parametrize("signature", [b"", b"\x00", bytes(32), bytes(1000)])
def test_a_mac_of_any_length_is_unauthorized(signature: bytes) -> None:
    with pytest.raises(Unauthorized):
        verified(eab("kid-1", SECRET, OLD.key, NEW_ACCOUNT) | {"signature": b64(signature)})


def test_a_binding_for_another_key_is_malformed() -> None:
    with pytest.raises(Malformed, match="is not the jwk of the newAccount request"):
        verified(eab("kid-1", SECRET, shared_key("ec-p256", 1), NEW_ACCOUNT))


@pytest.mark.parametrize(
    ("header", "problem", "reason"),
    [
        ({"url": KEY_CHANGE}, Malformed, "expected " + NEW_ACCOUNT),
        ({"nonce": "abc"}, Malformed, "has a nonce"),
        ({"jwk": OLD.jwk}, Malformed, "needs kid and no jwk"),
        ({"kid": None}, Malformed, "kid in the protected header"),
        ({"crit": []}, Malformed, "crit"),
    ],
)
def test_a_wrong_binding_is_refused(header: dict[str, Any], problem: type[Problem], reason: str) -> None:
    with pytest.raises(problem, match=reason):
        verified(eab("kid-1", SECRET, OLD.key, NEW_ACCOUNT, **header))


@pytest.mark.parametrize("alg", ["none", "ES256", "HS1", "hs256"])
def test_a_binding_by_another_algorithm_is_refused(alg: str) -> None:
    header = {"alg": alg, "kid": "kid-1", "url": NEW_ACCOUNT}
    with pytest.raises(BadSignatureAlgorithm, match="expected one of HS256, HS384, HS512"):
        verified(flattened(OLD.key, header, OLD.jwk))


def test_the_algorithms_of_bindings_can_be_narrowed() -> None:
    with pytest.raises(BadSignatureAlgorithm, match="expected one of HS512") as refused:
        verified(eab("kid-1", SECRET, OLD.key, NEW_ACCOUNT), algorithms=("HS512",))
    assert refused.value.document()["algorithms"] == ["HS512"]


def test_the_public_key_as_secret_is_refused() -> None:
    """Seen elsewhere: HS256 in the envelope of a request, keyed with what everybody knows."""
    with pytest.raises(BadSignatureAlgorithm):
        jose.parse(json.dumps(eab(str(OLD.kid), json.dumps(OLD.jwk).encode(), OLD.key, NEW_ACCOUNT)).encode())


def test_a_binding_without_kid_is_refused() -> None:
    with pytest.raises(Malformed, match="needs kid and no jwk"):
        jose.eab_kid(flattened(OLD.key, {"alg": "HS256", "url": NEW_ACCOUNT}, OLD.jwk))


@pytest.mark.parametrize("binding", [None, 1, "a", [], {}, {"protected": 1, "payload": 1, "signature": 1}])
def test_a_binding_that_is_no_jws_is_refused(binding: object) -> None:
    with pytest.raises(Malformed):
        jose.eab_kid(binding)
    with pytest.raises(Malformed):
        verified(binding)
