"""Google Cloud KMS on loopback, and beside it what gives service accounts their tokens: OAuth, and a metadata server.

It checks the checksums that arrive and adds its own, computed bit by bit. Keys have one algorithm each, as Google's do.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import RSAKey

from acme_ca.keys import PrivateKey
from tests.support import https_api, key_service
from tests.support.https_api import HttpsApi, Request

RING = "projects/corp-pki/locations/europe-west1/keyRings/acme-ca"
SCOPE = "https://www.googleapis.com/auth/cloudkms"
ACCOUNT = "acme-ca@corp-pki.iam.gserviceaccount.com"
_KEY = re.compile(rf"/v1/({RING})/cryptoKeys/([^/:]+)")
_VERSION = re.compile(rf"{_KEY.pattern}/cryptoKeyVersions/(\d+)")


@dataclass
class Version:
    """A version of a key. One that is pending becomes enabled after it was looked at that often."""

    algorithm: str
    key: PrivateKey
    enabled: bool = True
    pending: int = 0


@dataclass
class Kms:
    """The service. `instead` replaces all its answers, `no_token` those of the token endpoint, `changed` members."""

    keys: dict[str, list[Version]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    changed: dict[str, object] = field(default_factory=dict)
    instead: tuple[int, object] | None = None
    no_token: tuple[int, object] | None = None
    page_size: int = 100
    pending: int = 0
    tokens: list[str] = field(default_factory=list)
    api: HttpsApi = field(init=False)
    oauth: HttpsApi = field(init=False)

    def rotate(self, name: str, algorithm: str) -> Version:
        """Give a key a new version."""
        version = Version(algorithm, key_service.new_key(_kind(algorithm)), pending=self.pending)
        self.keys.setdefault(name, []).append(version)
        return version

    def credentials(self, folder: Path) -> Path:
        """Write the file of credentials of a service account."""
        pem = key_service.rsa_key(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        account = {
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key_id": "1",
            "private_key": pem.decode(),
            "token_uri": f"{self.oauth.url}/token",
        }
        path = folder / "service-account.json"
        path.write_text(json.dumps(account))
        return path

    def _give_token(self, request: Request) -> tuple[int, object]:
        if self.no_token is not None:
            return self.no_token
        if request.path == "/":
            return 200, b"computeMetadata/"
        if request.path.startswith("/computeMetadata/"):
            return self._metadata(request.path)
        assertion = parse_qs(request.body.decode())["assertion"][0]
        claims = jwt.decode(assertion, RSAKey.import_key(key_service.rsa_key(2048).public_key())).claims
        assert (claims["iss"], claims["scope"]) == (ACCOUNT, SCOPE)
        return 200, self._token()

    def _metadata(self, path: str) -> tuple[int, object]:
        what = urlsplit(path).path.removeprefix("/computeMetadata/v1/")
        if what.endswith("/token"):
            return 200, self._token()
        return 200, {"email": ACCOUNT, "scopes": [SCOPE]} if what.startswith("instance/") else "corp-pki"

    def _token(self) -> dict[str, object]:
        self.tokens.append(f"token-{len(self.tokens)}")
        return {"access_token": self.tokens[-1], "expires_in": 3600, "token_type": "Bearer"}

    def _answer(self, request: Request) -> tuple[int, object]:
        if self.instead is not None:
            return self.instead
        if not self.tokens or request.fields.get("authorization") != f"Bearer {self.tokens[-1]}":
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if (request.method, parts.path) == ("POST", f"/v1/{RING}/cryptoKeys"):
            return self._create(query["cryptoKeyId"][0], request.json())
        match = _VERSION.match(parts.path)
        if match is not None:
            return self._of_version(match, parts.path[match.end() :], request)
        match = _KEY.match(parts.path)
        assert match is not None
        assert (request.method, parts.path[match.end() :]) == ("GET", "/cryptoKeyVersions")
        return self._versions(match[2], query)

    def _create(self, name: str, body: dict[str, Any]) -> tuple[int, object]:
        if name in self.keys:
            return error(409, "ALREADY_EXISTS", f"CryptoKey {RING}/cryptoKeys/{name} already exists.")
        assert body["purpose"] == "ASYMMETRIC_SIGN"
        self.created.append(body["versionTemplate"])
        self.rotate(name, body["versionTemplate"]["algorithm"])
        return 200, {"name": f"{RING}/cryptoKeys/{name}", **body}

    def _versions(self, name: str, query: dict[str, list[str]]) -> tuple[int, object]:
        if name not in self.keys:
            return error(404, "NOT_FOUND", f"CryptoKey {RING}/cryptoKeys/{name} not found.")
        assert query["filter"] == ["state=ENABLED"]
        names = [
            {"name": f"{RING}/cryptoKeys/{name}/cryptoKeyVersions/{number}"}
            for number, version in enumerate(self.keys[name], 1)
            if version.enabled
        ]
        start = int(query.get("pageToken", ["0"])[0])
        end = start + self.page_size
        page: dict[str, object] = {"cryptoKeyVersions": names[start:end]} if names else {}
        return 200, page | ({"nextPageToken": str(end)} if end < len(names) else {})

    def _of_version(self, match: re.Match[str], rest: str, request: Request) -> tuple[int, object]:
        name, number = match[2], int(match[3])
        full = match[0].removeprefix("/v1/")
        if number > len(self.keys.get(name, [])):
            return error(404, "NOT_FOUND", f"CryptoKeyVersion {full} not found.")
        version = self.keys[name][number - 1]
        if version.pending or not version.enabled:
            state = "PENDING_GENERATION" if version.pending else "DISABLED"
            version.pending -= bool(version.pending)
            return error(400, "FAILED_PRECONDITION", f"{full} is not enabled, current state is: {state}.")
        if rest == "/publicKey":
            pem = key_service.pem_of(version.key)
            found = {"pem": pem, "algorithm": version.algorithm, "pemCrc32c": str(checksum(pem.encode())), "name": full}
            return 200, found | self.changed
        assert (request.method, rest) == ("POST", ":asymmetricSign")
        return self._sign(full, version, request.json())

    def _sign(self, full: str, version: Version, body: dict[str, Any]) -> tuple[int, object]:
        if isinstance(version.key, ed25519.Ed25519PrivateKey):
            content, verified = b64decode(body["data"], validate=True), "verifiedDataCrc32c"
            assert int(body["dataCrc32c"]) == checksum(content)
            signature = version.key.sign(content)
        else:
            bits = int(version.algorithm[-3:])
            ((kind, text),) = body["digest"].items()
            assert kind == f"sha{bits}", "Google has one hash for each algorithm"
            content, verified = b64decode(text, validate=True), "verifiedDigestCrc32c"
            assert int(body["digestCrc32c"]) == checksum(content)
            padding: key_service.Padding | None = None
            if isinstance(version.key, rsa.RSAPrivateKey):
                padding = "pss" if "PSS" in version.algorithm else "pkcs1"
            signature = key_service.sign_digest(version.key, content, bits, padding)
        signed = {"name": full, "signature": b64encode(signature).decode(), verified: True}
        return 200, signed | {"signatureCrc32c": str(checksum(signature))} | self.changed


def _kind(algorithm: str) -> str:
    if algorithm == "EC_SIGN_ED25519":
        return "ed25519"
    words = algorithm.split("_")
    return f"ec-{words[2].lower()}" if words[0] == "EC" else f"rsa-{next(word for word in words if word.isdecimal())}"


def error(status: int, code: str, message: str) -> tuple[int, object]:
    """A refusal in Google's form."""
    return status, {"error": {"code": status, "message": message, "status": code}}


def checksum(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    register = 0xFFFFFFFF
    for bit in (byte >> place & 1 for byte in data for place in range(8)):
        register = register >> 1 ^ (0x82F63B78 if (register ^ bit) & 1 else 0)
    return register ^ 0xFFFFFFFF


@contextmanager
def serve(folder: Path) -> Iterator[Kms]:
    """Run a service without keys."""
    kms = Kms()
    folder.mkdir(exist_ok=True)
    with (
        https_api.serve(folder, kms._answer) as kms.api,
        https_api.serve(folder, kms._give_token, plain=True) as kms.oauth,
    ):
        kms.oauth.fields["Metadata-Flavor"] = "Google"
        yield kms
