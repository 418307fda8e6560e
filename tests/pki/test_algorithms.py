"""Issuers of every algorithm: leafs, revocation lists and OCSP responses that others verify."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as pyca
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.pki import crl, ocsp, texts
from acme_ca.pki.crl import CrlRequest, Revoked
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.ocsp import Single
from acme_ca.pki.signing import SigningKey, new_mldsa, signature_of, signatures_of
from acme_ca.public_keys import MldsaPublicKey
from acme_ca.vocabulary import MLDSA_KEY_TYPES, RSA_SIGNATURES, MldsaKeyType, SignatureName
from tests.pki.conftest import NOW, authority
from tests.pki.test_issuer import dns, issuer_of, openssl_verify, request
from tests.support.tools import require_openssl

RSA_KEY = rsa.generate_private_key(65_537, 2048)
KEYS: dict[MldsaKeyType, SigningKey] = {kind: new_mldsa(kind) for kind in MLDSA_KEY_TYPES}
HASHES: dict[str, hashes.HashAlgorithm] = {one.name: one for one in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())}


def issuer(key: SigningKey, signature: SignatureName | None = None) -> Issuer:
    """An issuer; below a root of the same kind of key if that is ML-DSA."""
    kind = signatures_of(key.public_key())[0]
    root_key = new_mldsa(kind) if kind in MLDSA_KEY_TYPES else None
    return issuer_of(authority(key, root_key), signature=signature)


def revocation_list(by: Issuer) -> bytes:
    return crl.make(
        CrlRequest(7, NOW, NOW + timedelta(days=1), [Revoked(5, NOW, 1)]), by.certificate, by.key, by.signature
    )


def answer(by: Issuer) -> pyca.OCSPResponse:
    key = ocsp.new_responder_key(by.key)
    responder = ocsp.make_responder(key, "r", by.certificate, by.key, NOW, timedelta(days=2), by.signature)
    one = Single(ocsp.cert_id(by.certificate, 5), "good", NOW, NOW + timedelta(hours=8))
    return pyca.load_der_ocsp_response(ocsp.respond([one], responder, NOW, None))


@pytest.mark.parametrize("kind", MLDSA_KEY_TYPES)
def test_an_issuer_of_ml_dsa_signs_leafs_lists_and_responders(kind: MldsaKeyType) -> None:
    by = issuer(KEYS[kind])
    leaf = by.issue(request(*dns("a.corp.example")))  # which verifies the path up to the root
    assert [signature_of(one) for one in (leaf, by.certificate, by.root)] == [kind] * 3
    assert leaf.signature_algorithm_parameters is None  # absent, RFC 9881 §3
    found = x509.load_der_x509_crl(revocation_list(by))
    assert found.is_signature_valid(by.certificate.public_key())  # type: ignore[arg-type]  # a CA's
    assert (found.signature_algorithm_oid, found[0].serial_number) == (leaf.signature_algorithm_oid, 5)
    response = answer(by)
    (responder,) = response.certificates
    assert signature_of(responder) == kind
    responder.verify_directly_issued_by(by.certificate)
    assert response.signature_algorithm_oid == leaf.signature_algorithm_oid
    key = responder.public_key()
    assert isinstance(key, MldsaPublicKey)
    key.verify(response.signature, response.tbs_response_bytes)
    with pytest.raises(InvalidSignature):
        key.verify(response.signature, response.tbs_response_bytes + b"x")


@pytest.mark.parametrize("kind", MLDSA_KEY_TYPES)
def test_a_leaf_has_a_key_of_ml_dsa(kind: MldsaKeyType) -> None:
    leaf = issuer(ec.generate_private_key(ec.SECP256R1())).issue(
        request(*dns("a.corp.example"), public_key=KEYS[kind].public_key())
    )
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_encipherment  # RFC 9881 §5


def test_openssl_verifies_a_chain_of_ml_dsa(tmp_path: Path) -> None:
    require_openssl(3, 5)
    by = issuer(KEYS["ml-dsa-65"])
    assert openssl_verify(tmp_path, by, by.issue(request(*dns("a.corp.example"))), "sslserver") == "leaf.pem: OK"


@pytest.mark.parametrize("signature", RSA_SIGNATURES)
def test_openssl_verifies_what_an_rsa_issuer_signs_as_it_is_told(signature: SignatureName, tmp_path: Path) -> None:
    verified_by_openssl(issuer(RSA_KEY, signature), tmp_path)


def verified_by_openssl(by: Issuer, folder: Path) -> None:
    """Have a leaf, a list and a responder's certificate verified."""
    leaf = by.issue(request(*dns("a.corp.example")))
    assert openssl_verify(folder, by, leaf, "sslserver") == "leaf.pem: OK"
    (folder / "list.crl").write_bytes(revocation_list(by))
    (folder / "issuer.pem").write_bytes(by.certificate.public_bytes(Encoding.PEM))
    checked = openssl(folder, "crl", "-inform", "DER", "-in", "list.crl", "-CAfile", "issuer.pem", "-noout")
    assert "verify OK" in checked
    (responder,) = answer(by).certificates
    responder.verify_directly_issued_by(by.certificate)
    assert [signature_of(one) for one in (leaf, responder)] == [by.signs_with] * 2


@pytest.mark.parametrize("name", HASHES)
def test_the_parameters_of_rsassa_pss_are_those_of_the_rfc(name: str, tmp_path: Path) -> None:
    """RFC 4055 §3.1: the same hash for MGF1, a salt of its length, the trailer left out; absent is not allowed."""
    by = issuer(RSA_KEY, next(one for one in RSA_SIGNATURES if one == f"rsa-pss-{name}"))
    leaf = by.issue(request(*dns("a.corp.example")))
    parameters = leaf.signature_algorithm_parameters
    assert isinstance(parameters, PSS)
    assert isinstance(leaf.signature_hash_algorithm, type(HASHES[name]))
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (tmp_path / "list.crl").write_bytes(revocation_list(by))
    for arguments in (("x509", "-in", "leaf.pem"), ("crl", "-inform", "DER", "-in", "list.crl")):
        text = openssl(tmp_path, *arguments, "-noout", "-text")
        length = HASHES[name].digest_size
        wanted = f"Hash Algorithm: {name}\\n.*Mask Algorithm: mgf1 with {name}\\n.*Salt Length: 0x{length:X}\\n"
        assert re.search(wanted, text, re.DOTALL)
        assert "Trailer Field: 0x01" in text  # openssl shows the default


@pytest.mark.parametrize(
    ("key", "signature", "expected"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "rsa-pss-sha256", "expected ecdsa-sha256"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa-sha256", "expected ecdsa-sha384"),
        (RSA_KEY, "ml-dsa-65", "expected rsa-sha256 or "),
        (KEYS["ml-dsa-65"], "ml-dsa-44", "expected ml-dsa-65"),
    ],
)
def test_a_signature_that_the_key_does_not_make_is_refused(
    key: SigningKey, signature: SignatureName, expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        issuer(key, signature)
    with pytest.raises(ValueError, match=expected):
        crl.make(CrlRequest(7, NOW, NOW, []), authority(key).certificate, key, signature)


@given(text=st.binary(min_size=1).filter(lambda text: text[0] != texts.SEQUENCE), other=st.binary(min_size=1))
def test_texts_are_signed_by_ml_dsa(text: bytes, other: bytes) -> None:
    key = KEYS["ml-dsa-44"]
    signature = texts.sign(key, text)
    assert texts.is_signed(text, signature, key.public_key())
    if other != text and other[0] != texts.SEQUENCE:
        assert not texts.is_signed(other, signature, key.public_key())


def test_a_signature_that_is_not_known_here_is_named_by_its_oid() -> None:
    begins = NOW.replace(tzinfo=None)
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), RSA_KEY.public_key(), 1, begins, begins)
    weak = builder.sign(RSA_KEY, hashes.SHA224())
    assert signature_of(weak) == "1.2.840.113549.1.1.14"
    salted = builder.sign(RSA_KEY, hashes.SHA224(), rsa_padding=PSS(MGF1(hashes.SHA224()), 28))
    assert signature_of(salted) == "1.2.840.113549.1.1.10"


def openssl(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
