"""An Azure key vault on loopback, and the endpoint beside it that gives managed identities their tokens.

The vault asks for a token of the endpoint's in each request, signs digests only, and sets r and s side by side, as
Azure does. The endpoint is that of App Service: an address and a secret in the environment.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from acme_ca.keys import PrivateKey
from tests.support import https_api, key_service
from tests.support.https_api import HttpsApi, Request

RESOURCE = "https://vault.azure.net"
SECRET = "of the endpoint"
CURVES = {"ec-p256": "P-256", "ec-p384": "P-384", "ec-p521": "P-521", "ec-k256": "P-256K"}
DIGESTS = {"ES256": "ec-p256", "ES384": "ec-p384", "ES512": "ec-p521"}


@dataclass
class Vault:
    """The vault. `described` replaces members of keys, `instead` all answers of one of the two."""

    keys: dict[str, dict[str, PrivateKey]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    described: dict[str, object] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=lambda: {"enabled": True})
    instead: tuple[int, object] | None = None
    no_token: tuple[int, object] | None = None
    signs_as: str | None = None
    tokens: list[str] = field(default_factory=list)
    api: HttpsApi = field(init=False)
    endpoint: HttpsApi = field(init=False)

    def rotate(self, name: str, key: PrivateKey) -> str:
        """Give a key a new version, and return its name."""
        versions = self.keys.setdefault(name, {})
        version = f"{len(versions) + 1:032x}"
        versions[version] = key
        return version

    def _give_token(self, request: Request) -> tuple[int, object]:
        query = parse_qs(urlsplit(request.path).query)
        if self.no_token is not None:
            return self.no_token
        assert (query["resource"], query["api-version"]) == ([RESOURCE], ["2019-08-01"])
        assert request.fields["x-identity-header"] == SECRET
        self.tokens.append(f"token-{len(self.tokens)}")
        ends = int(time.time()) + 86_400
        token = {"access_token": self.tokens[-1], "expires_on": str(ends), "resource": RESOURCE, "token_type": "Bearer"}
        return 200, token

    def _answer(self, request: Request) -> tuple[int, object]:
        parts = urlsplit(request.path)
        assert parts.query == "api-version=7.4"
        if self.instead is not None:
            return self.instead
        if not self.tokens or request.fields.get("authorization") != f"Bearer {self.tokens[-1]}":
            return error(401, "Unauthorized", "[TokenExpired] Error validating token.")
        what, name, *rest = parts.path.removeprefix("/").split("/")
        assert what == "keys"
        if (request.method, rest) == ("POST", ["create"]):
            return self._create(name, request.json())
        versions = self.keys.get(name, {})
        version = rest[0] if rest else (list(versions) or [""])[-1]
        if version not in versions:
            return error(404, "KeyNotFound", f"A key with (name/id) {name}/{version} was not found in this key vault.")
        if rest[1:] == ["sign"] and request.method == "POST":
            return self._sign(name, version, request.json())
        assert (request.method, rest[1:]) == ("GET", [])
        return 200, self._describe(name, version)

    def _create(self, name: str, body: dict[str, Any]) -> tuple[int, object]:
        self.created.append(body)
        kind = body["kty"].removesuffix("-HSM")
        curves = {curve: ours for ours, curve in CURVES.items()}
        ours = f"rsa-{body['key_size']}" if kind == "RSA" else curves[body["crv"]]
        return 200, self._describe(name, self.rotate(name, key_service.new_key(ours)))

    def _describe(self, name: str, version: str) -> dict[str, object]:
        jwk = _jwk(self.keys[name][version]) | {"kid": self._kid(name, version), "key_ops": ["sign", "verify"]}
        return {"key": jwk | self.described, "attributes": self.attributes}

    def _kid(self, name: str, version: str) -> str:
        return f"https://corp.vault.azure.net/keys/{name}/{self.signs_as or version}"

    def _sign(self, name: str, version: str, body: dict[str, Any]) -> tuple[int, object]:
        key, algorithm = self.keys[name][version], body["alg"]
        digest, bits = _decoded(body["value"]), int(algorithm[2:])
        if isinstance(key, rsa.RSAPrivateKey):
            signature = key_service.sign_digest(key, digest, bits, "pss" if algorithm.startswith("PS") else "pkcs1")
        else:
            assert DIGESTS[algorithm] == key_service.kind_of(key), "Azure has one algorithm for each curve"
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            size = (key.key_size + 7) // 8
            halves = decode_dss_signature(key_service.sign_digest(key, digest, bits))
            signature = b"".join(half.to_bytes(size) for half in halves)
        return 200, {"kid": self._kid(name, version), "value": _encoded(signature)}


def error(status: int, code: str, message: str) -> tuple[int, object]:
    """A refusal in Azure's form."""
    return status, {"error": {"code": code, "message": message}}


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    assert "=" not in text
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _jwk(key: PrivateKey) -> dict[str, object]:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        n, e = public.public_numbers().n, public.public_numbers().e
        return {"kty": "RSA-HSM", "n": _encoded(n.to_bytes(public.key_size // 8)), "e": _encoded(e.to_bytes(3))}
    assert isinstance(public, ec.EllipticCurvePublicKey)
    size, numbers = (public.key_size + 7) // 8, public.public_numbers()
    x, y = _encoded(numbers.x.to_bytes(size)), _encoded(numbers.y.to_bytes(size))
    return {"kty": "EC-HSM", "crv": CURVES[key_service.kind_of(key)], "x": x, "y": y}


@contextmanager
def serve(folder: Path) -> Iterator[Vault]:
    """Run a vault without keys."""
    vault = Vault()
    folder.mkdir(exist_ok=True)
    with (
        https_api.serve(folder, vault._answer) as vault.api,
        https_api.serve(folder, vault._give_token, plain=True) as vault.endpoint,
    ):
        yield vault
