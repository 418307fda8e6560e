"""The Transit engine of Vault or OpenBao on loopback: keys with versions, tokens, and signatures with its prefix.

It refuses what the real one refuses, with its statuses: 403 for tokens, 404 without errors for missing keys.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from acme_ca.keys import PrivateKey
from tests.support import https_api, key_service
from tests.support.https_api import HttpsApi, Request

TOKEN = "hvs.good"
KINDS = {"ecdsa-p256": "ec-p256", "ecdsa-p384": "ec-p384", "ecdsa-p521": "ec-p521", "ed25519": "ed25519"}
KINDS |= {f"rsa-{bits}": f"rsa-{bits}" for bits in (2048, 3072, 4096)}


@dataclass
class Transit:
    """The engine. `described` replaces members of keys, `instead` all answers, `prefix` that of signatures."""

    token: str | None = TOKEN
    namespace: str | None = None
    mount: str = "transit"
    keys: dict[str, dict[int, PrivateKey]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    described: dict[str, object] = field(default_factory=dict)
    instead: tuple[int, object] | None = None
    prefix: str | None = None
    api: HttpsApi = field(init=False)

    def rotate(self, name: str, key: PrivateKey) -> None:
        """Give a key a new version."""
        versions = self.keys.setdefault(name, {})
        versions[len(versions) + 1] = key

    @property
    def signed(self) -> list[dict[str, Any]]:
        """The bodies of the requests that were to be signed."""
        return [request.json() for request in self.api.requests if "/sign/" in request.path]

    def _answer(self, request: Request) -> tuple[int, object]:
        if self.instead is not None:
            return self.instead
        assert request.fields["x-vault-request"] == "true"
        if (request.fields.get("x-vault-token"), request.fields.get("x-vault-namespace")) != (
            self.token,
            self.namespace,
        ):
            return 403, {"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}
        start = f"/v1/{self.mount}/"
        if not request.path.startswith(start):
            return 404, {"errors": [f'no handler for route "{request.path}"']}
        what, _, name = request.path.removeprefix(start).partition("/")
        if (request.method, what) == ("POST", "keys"):
            return self._create(name, request.json())
        if name not in self.keys:
            return (404, {"errors": []}) if what == "keys" else (400, {"errors": ["signing key not found"]})
        return (200, {"data": self._describe(name)}) if what == "keys" else self._sign(name, request.json())

    def _create(self, name: str, body: dict[str, Any]) -> tuple[int, object]:
        assert name not in self.keys, "Vault would leave it as it is, and say so in a warning"
        self.created.append(body)
        self.rotate(name, key_service.new_key(KINDS[body["type"]]))
        return 200, {"data": self._describe(name)}

    def _describe(self, name: str) -> dict[str, object]:
        versions = self.keys[name]
        kind = next(kind for kind, ours in KINDS.items() if ours == key_service.kind_of(versions[1]))
        return {
            "type": kind,
            "latest_version": max(versions),
            "derived": False,
            "exportable": False,
            "supports_signing": True,
            "keys": {str(number): {"public_key": _public(key)} for number, key in versions.items()},
        } | self.described

    def _sign(self, name: str, body: dict[str, Any]) -> tuple[int, object]:
        key, content = self.keys[name][body["key_version"]], b64decode(body["input"], validate=True)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            assert set(body) == {"input", "key_version"}
            signature = key.sign(content)
        else:
            assert body["prehashed"] is True
            bits = int(body["hash_algorithm"].removeprefix("sha2-"))
            padding: key_service.Padding | None = None
            if "rsa" in key_service.kind_of(key):
                padding = {"pkcs1v15": "pkcs1", "pss": "pss"}[body["signature_algorithm"]]  # type: ignore[assignment]  # as written there
                assert body["salt_length"] == "hash"  # or Vault would take the longest
            else:
                assert body["marshaling_algorithm"] == "asn1"
            signature = key_service.sign_digest(key, content, bits, padding)
        prefix = self.prefix or f"vault:v{body['key_version']}:"
        return 200, {"data": {"signature": prefix + b64encode(signature).decode(), "key_version": body["key_version"]}}


def _public(key: PrivateKey) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b64encode(key.public_key().public_bytes_raw()).decode()
    return key_service.pem_of(key)


@contextmanager
def serve(folder: Path) -> Iterator[Transit]:
    """Run an engine without keys."""
    transit = Transit()
    folder.mkdir(exist_ok=True)
    with https_api.serve(folder, transit._answer) as transit.api:
        yield transit
