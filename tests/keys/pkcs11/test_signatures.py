"""What an RSA key in a token signs as its issuer is told to, for openssl to verify."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from acme_ca.vocabulary import RSA_SIGNATURES, SignatureName
from tests.pki.test_algorithms import issuer, verified_by_openssl
from tests.support.softhsm import Token


@pytest.mark.parametrize("signature", [None, *RSA_SIGNATURES])
def test_openssl_verifies_it(token: Token, signature: SignatureName | None, tmp_path: Path) -> None:
    key = token.key("ca").create("rsa-2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    verified_by_openssl(issuer(key, signature), tmp_path)
