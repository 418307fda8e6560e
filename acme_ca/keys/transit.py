"""Keys in the Transit engine of HashiCorp Vault or OpenBao, by its HTTP API. Vault API, secret/transit."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Annotated, ClassVar, Literal, Self

from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import PositiveInt, StringConstraints

from acme_ca.keys import cloud
from acme_ca.keys.base import KeyAway, KeyUnavailableError, PrivateKey, numbered
from acme_ca.keys.cloud import CloudKey, RefusedError, Service, ServiceUrl, WireModel
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.paths import ExistingFile
from acme_ca.public_keys import PublicKey
from acme_ca.secret import Secret, SecretUnavailableError
from acme_ca.vocabulary import KeyType

KINDS: dict[KeyType, str] = {
    "ec-p256": "ecdsa-p256",
    "ec-p384": "ecdsa-p384",
    "ec-p521": "ecdsa-p521",
    "ed25519": "ed25519",
    "rsa-2048": "rsa-2048",
    "rsa-3072": "rsa-3072",
    "rsa-4096": "rsa-4096",
}
_ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "see whether the key is of a kind that signs, and the version not below its "
    "min_encryption_version",
    HTTPStatus.FORBIDDEN: "see whether the token is still good, and its policy allows this path: "
    "docs/how-to/cloud-keys.md",
    HTTPStatus.NOT_FOUND: "see whether address, namespace, mount and name are right",
}
_SIGNATURE = re.compile(r"vault:v([0-9]{1,9}):([A-Za-z0-9+/]+={0,2})")
_PADDINGS = {"rsa-pkcs1": "pkcs1v15", "rsa-pss": "pss"}


class _Version(WireModel):
    public_key: str


class _Key(WireModel):
    type: str
    latest_version: int
    derived: bool = False
    supports_signing: bool = True
    keys: Mapping[int, _Version | int]


class _Described(WireModel):
    data: _Key


class _Signature(WireModel):
    signature: str


class _Signed(WireModel):
    data: _Signature


class TransitKey(CloudKey):
    """A key in the Transit engine of Vault or OpenBao."""

    kinds: ClassVar[Collection[KeyType]] = KINDS
    type: Literal["transit"] = "transit"
    address: ServiceUrl
    """Where it is: `https://host:8200`; http only for an agent on this machine."""
    mount: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")] = "transit"
    """Where the engine is mounted."""
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The name of the key."""
    version: PositiveInt | None = None
    """Its version; without it, the latest one when the key is opened."""
    token: Secret | None = None
    """The token, read for each request, so that an agent can renew it; none where an agent on the way adds its own."""
    namespace: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?$")] | None = None
    """The namespace, where there are any."""
    ca_file: ExistingFile | None = None
    """A PEM file of roots in place of the system's."""

    @property
    def stem(self) -> str:
        """The name of the key."""
        return cloud.file_stem(self.name)

    def __str__(self) -> str:
        """Name the key, its mount and its server."""
        return f"transit key {self.mount}/{self.name} at {self.address}"

    @property
    def _path(self) -> str:
        return f"/v1/{self.mount}/keys/{self.name}"

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a key that cannot be exported."""
        self.require_kind(kind)
        if self.version not in {None, 1}:
            raise KeyUnavailableError(f"{self}: a new key has version 1, not {self.version}; leave `version` out")
        self._refuse_to_replace()
        service = self._service()
        body = {"type": KINDS[kind], "exportable": False, "allow_plaintext_backup": False}
        service.post(self._path, body, cloud.Nothing)
        return cloud.opened(self._read(service))

    def beside(self, number: int) -> Self:
        """Return the key of another name at the same mount."""
        return self.model_copy(update={"name": numbered(self.name, number), "version": None})

    def _service(self) -> Service:
        return Service(str(self), self.address, self._headers, _ADVICE, self.ca_file)

    def _headers(self) -> Mapping[str, str]:
        headers = {"X-Vault-Request": "true"}
        if self.namespace is not None:
            headers["X-Vault-Namespace"] = self.namespace
        if self.token is not None:
            try:
                headers["X-Vault-Token"] = self.token.reveal().decode("ascii").strip()
            except (SecretUnavailableError, UnicodeDecodeError) as error:
                raise KeyUnavailableError(f"the token of {self}: {error}") from error
        return headers

    def _find(self) -> _Transit:
        return self._read(self._service())

    def _read(self, service: Service) -> _Transit:
        key = service.get(self._path, _Described).data
        if key.derived:
            raise KeyUnavailableError(f"{self} is derived: each context has another key; make one that is not")
        version = self.version or key.latest_version
        found = key.keys.get(version)
        if found is None:
            known = ", ".join(map(str, key.keys))
            raise RefusedError(f"{self} has no version {version}; there are {known}", HTTPStatus.NOT_FOUND)
        if isinstance(found, int) or not key.supports_signing:
            raise KeyUnavailableError(f"{self} is of type {key.type}, which does not sign; make one of {_kinds()}")
        return _Transit(self, service, version, self._public_key(key.type, found.public_key))

    def _public_key(self, kind: str, text: str) -> PublicKey:
        """Return a public key, which Transit writes as PEM, or for Ed25519 as its 32 octets in base64."""
        if kind != "ed25519":
            return cloud.public_key_of(str(self), text)
        try:
            return ed25519.Ed25519PublicKey.from_public_bytes(b64decode(text, validate=True))
        except ValueError as error:
            raise KeyUnavailableError(f"{self}: its public key cannot be read: {error}") from error


def _kinds() -> str:
    return ", ".join(KINDS.values())


class _Transit(Store):
    def __init__(self, key: TransitKey, service: Service, version: int, public_key: PublicKey) -> None:
        self.where = str(key)
        self.public_key = public_key
        self._path = f"/v1/{key.mount}/sign/{key.name}"
        self._service = service
        self._version = version

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        body: dict[str, object] = {"input": b64encode(scheme.digest(message)).decode(), "key_version": self._version}
        if scheme.hash is not None:
            body |= {"prehashed": True, "hash_algorithm": f"sha2-{scheme.hash.digest_size * 8}"}
        if scheme.name == "ecdsa":
            body["marshaling_algorithm"] = "asn1"
        if scheme.name in _PADDINGS:
            body |= {"signature_algorithm": _PADDINGS[scheme.name], "salt_length": "hash"}
        try:
            signature = self._service.post(self._path, body, _Signed).data.signature
        except RefusedError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            # Vault says the same of a token that has ended and of a policy. It was good when the key was opened.
            raise KeyAway(self.where, str(error)) from error
        match = _SIGNATURE.fullmatch(signature)
        if match is None or int(match[1]) != self._version:
            raise KeyAway(
                self.where, f"the signature is not by version {self._version}: it begins with {signature[:12]!r}"
            )
        return b64decode(match[2])
