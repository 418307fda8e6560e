"""AWS KMS on loopback: moto's server, and for what moto does not do a service of our own.

moto has no Ed25519, salts of PSS that are too long, takes digests for messages, and never fails. `Kms` signs as AWS
does (AWS KMS API Reference, Sign) and fails when it is told to.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from acme_ca.keys import PrivateKey
from tests.support import https_api, key_service
from tests.support.https_api import HttpsApi, Request

REGION = "eu-west-1"
ARN = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@contextmanager
def moto() -> Iterator[str]:
    """Run moto's server, and return its URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@dataclass
class Kms:
    """A service with one key. `instead` replaces answers of operations: status, code and message."""

    key: PrivateKey
    arn: str = ARN
    signed_by: str = ARN
    described: dict[str, object] = field(default_factory=dict)
    instead: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    api: HttpsApi = field(init=False)

    @property
    def signed(self) -> list[dict[str, Any]]:
        """The bodies of the requests that were to be signed."""
        return [one.json() for one in self.api.requests if one.fields["x-amz-target"] == "TrentService.Sign"]

    def _answer(self, request: Request) -> tuple[int, object]:
        operation = request.fields["x-amz-target"].removeprefix("TrentService.")
        assert request.fields["authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
        if operation in self.instead:
            status, code, message = self.instead[operation]
            return status, {"__type": code, "message": message}
        return 200, {"KeyId": self.arn} | getattr(self, f"_{operation}")(request.json())

    def _GetPublicKey(self, _body: dict[str, Any]) -> dict[str, object]:  # noqa: N802 - the operation's name
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {"KeyUsage": "SIGN_VERIFY", "KeySpec": "?", "PublicKey": b64encode(der).decode()} | self.described

    def _CreateKey(self, body: dict[str, Any]) -> dict[str, object]:  # noqa: N802 - as above
        return {"KeyMetadata": {"KeyId": self.arn.rpartition("/")[2], "Arn": self.arn, **body}}

    def _Sign(self, body: dict[str, Any]) -> dict[str, object]:  # noqa: N802 - as above
        assert body["KeyId"] == self.arn
        message, algorithm = b64decode(body["Message"], validate=True), body["SigningAlgorithm"]
        assert len(message) <= 4096
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            assert (algorithm, body["MessageType"]) == ("ED25519_SHA_512", "RAW")
            return {"Signature": b64encode(self.key.sign(message)).decode(), "KeyId": self.signed_by}
        bits = int(algorithm[-3:])
        if body["MessageType"] == "RAW":
            message = hashlib.new(f"sha{bits}", message).digest()
        padding: key_service.Padding | None = None
        if algorithm.startswith("RSASSA_"):
            padding = "pss" if "PSS" in algorithm else "pkcs1"
        signature = key_service.sign_digest(self.key, message, bits, padding)
        return {"Signature": b64encode(signature).decode(), "KeyId": self.signed_by}


@contextmanager
def serve(folder: Path, key: PrivateKey) -> Iterator[Kms]:
    """Run a service with a key."""
    kms = Kms(key)
    with https_api.serve(folder, kms._answer, plain=True) as kms.api:
        yield kms
