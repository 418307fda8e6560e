"""Keys in Google Cloud KMS, by its REST API. Cloud KMS API v1, projects.locations.keyRings.cryptoKeys.

What is sent and received has CRC-32C checksums, as Google asks for. "Verifying end-to-end data integrity", Cloud KMS.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from pydantic import Base64Bytes, PositiveInt, StringConstraints

from acme_ca import https
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.keys import cloud
from acme_ca.keys.base import KeyAway, KeyUnavailableError, PrivateKey, numbered
from acme_ca.keys.cloud import CloudKey, PerProcess, RefusedError, Service, ServiceUrl, WireModel
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.paths import ExistingFile
from acme_ca.public_keys import PublicKey
from acme_ca.vocabulary import KeyType

SCOPE = "https://www.googleapis.com/auth/cloudkms"
KINDS: dict[KeyType, str] = {
    "ec-p256": "EC_SIGN_P256_SHA256",
    "ec-p384": "EC_SIGN_P384_SHA384",
    "ed25519": "EC_SIGN_ED25519",
    "rsa-2048": "RSA_SIGN_PKCS1_2048_SHA256",
    "rsa-3072": "RSA_SIGN_PKCS1_3072_SHA256",
    "rsa-4096": "RSA_SIGN_PKCS1_4096_SHA256",
}
_ALGORITHM = re.compile(r"(EC_SIGN_P|RSA_SIGN_PKCS1_|RSA_SIGN_PSS_)\d+_SHA(256|384|512)")
_FAMILIES: dict[str, Literal["ecdsa", "rsa-pkcs1", "rsa-pss"]] = {
    "EC_SIGN_P": "ecdsa",
    "RSA_SIGN_PKCS1_": "rsa-pkcs1",
    "RSA_SIGN_PSS_": "rsa-pss",
}
_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_MAKING, _LOOK_AGAIN = 15.0, 0.5  # seconds that a new key may take, and between looks
_ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "see whether the version is enabled and of a kind that signs",
    HTTPStatus.UNAUTHORIZED: "see whether the credentials are still good",
    HTTPStatus.FORBIDDEN: "see whether the service account has the roles, and the API is enabled: "
    "docs/how-to/cloud-keys.md",
    HTTPStatus.NOT_FOUND: "see whether project, location, key ring, key and version are right",
    HTTPStatus.CONFLICT: "Google never forgets the name of a key: take another one",
}


class _PublicKey(WireModel):
    pem: str
    algorithm: str
    pemCrc32c: int | None = None  # noqa: N815 - as it is on the wire


class _Version(WireModel):
    name: str


class _Versions(WireModel):
    cryptoKeyVersions: tuple[_Version, ...] = ()  # noqa: N815 - as above
    nextPageToken: str = ""  # noqa: N815 - as above


class _Signed(WireModel):
    name: str
    signature: Base64Bytes
    signatureCrc32c: int  # noqa: N815 - as above
    verifiedDigestCrc32c: bool = False  # noqa: N815 - as above
    verifiedDataCrc32c: bool = False  # noqa: N815 - as above


class GoogleKmsKey(CloudKey):
    """A key in Google Cloud KMS."""

    kinds: ClassVar[Collection[KeyType]] = KINDS
    type: Literal["google-kms"] = "google-kms"
    key: Annotated[
        str,
        StringConstraints(
            pattern=r"^projects/[^/?#\s]+/locations/[a-z0-9-]+/keyRings/[a-zA-Z0-9_-]{1,63}/cryptoKeys/[a-zA-Z0-9_-]{1,63}$"
        ),
    ]
    """The key: `projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY`."""
    version: PositiveInt | None = None
    """Its version; without it, the newest one that is enabled when the key is opened."""
    protection: Literal["hsm", "software"] = "hsm"
    """Where `acme-ca init` makes a new key."""
    endpoint_url: ServiceUrl = "https://cloudkms.googleapis.com"
    """The API, where it is not the global one."""
    ca_file: ExistingFile | None = None
    """A PEM file of roots for it in place of the system's."""

    @property
    def stem(self) -> str:
        """The name of the key without its ring."""
        return cloud.file_stem(self.key)

    def __str__(self) -> str:
        """Name the key as Google does."""
        version = "" if self.version is None else f"/cryptoKeyVersions/{self.version}"
        return f"Google key {self.key}{version}"

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a key, and wait until Google has it: one in an HSM takes some seconds."""
        self.require_kind(kind)
        if self.version not in {None, 1}:
            raise KeyUnavailableError(f"{self}: a new key has version 1, not {self.version}; leave `version` out")
        ring, _, name = self.key.partition("/cryptoKeys/")
        wanted = {
            "purpose": "ASYMMETRIC_SIGN",
            "versionTemplate": {"algorithm": KINDS[kind], "protectionLevel": self.protection.upper()},
        }
        self._service().post(f"/v1/{ring}/cryptoKeys?{urlencode({'cryptoKeyId': name})}", wanted, cloud.Nothing)
        return self.model_copy(update={"version": 1})._made()  # noqa: SLF001 - of the same class

    def beside(self, number: int) -> Self:
        """Return the key of another name in the same key ring."""
        ring, middle, name = self.key.rpartition("/cryptoKeys/")
        return self.model_copy(update={"key": f"{ring}{middle}{numbered(name, number)}", "version": None})

    def _made(self) -> PrivateKey:
        until = time.monotonic() + _MAKING
        while True:
            try:
                return self.open()
            except KeyAway:
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_AGAIN)

    def _service(self) -> Service:
        tokens = _Tokens(str(self))
        return Service(str(self), self.endpoint_url, tokens.headers, _ADVICE, self.ca_file, tokens.forget)

    def _find(self) -> _GoogleStore:
        return self._read(self._service())

    def _read(self, service: Service) -> _GoogleStore:
        name = f"{self.key}/cryptoKeyVersions/{self.version or self._newest(service)}"
        try:
            found = service.get(f"/v1/{name}/publicKey", _PublicKey)
        except RefusedError as error:
            if "PENDING_GENERATION" in error.detail:
                raise KeyAway(str(self), "it is still being made") from error
            raise
        if found.pemCrc32c not in {None, crc32c(found.pem.encode())}:
            raise KeyAway(str(self), "its public key was changed on the way: the checksum is of another")
        if _scheme(found.algorithm) is None:
            raise KeyUnavailableError(
                f"{self} is for {found.algorithm}, which cannot sign here; make one for {', '.join(KINDS.values())}"
            )
        return _GoogleStore(service, name, found.algorithm, cloud.public_key_of(str(self), found.pem))

    def _newest(self, service: Service) -> int:
        numbers: list[int] = []
        token = ""
        while token or not numbers:
            query = urlencode({"filter": "state=ENABLED", "pageSize": 100} | ({"pageToken": token} if token else {}))
            page = service.get(f"/v1/{self.key}/cryptoKeyVersions?{query}", _Versions)
            numbers += [int(version.name.rpartition("/")[2]) for version in page.cryptoKeyVersions]
            token = page.nextPageToken
            if not token and not numbers:
                raise KeyUnavailableError(f"{self} has no version that is enabled; enable one or make a new one")
        return max(numbers)


def _scheme(algorithm: str) -> Scheme | None:
    """Return how keys for an algorithm of Google's sign, None for those that do not or not as certificates need it."""
    if algorithm == KINDS["ed25519"]:
        return Scheme("ed25519")
    match = _ALGORITHM.fullmatch(algorithm)
    return None if match is None else Scheme(_FAMILIES[match[1]], _HASHES[match[2]])


class _GoogleStore(Store):
    def __init__(self, service: Service, name: str, algorithm: str, public_key: PublicKey) -> None:
        self.where = service.where
        self.public_key = public_key
        self._service = service
        self._name = name
        self._algorithm = algorithm

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        if not _is(scheme, self._algorithm):
            asked = scheme.name if scheme.hash is None else f"{scheme.name} with {scheme.hash.name}"
            raise KeyUnavailableError(
                f"{self.where} signs as {self._algorithm} only, and {asked} was asked for; make a key for one of "
                f"{', '.join(KINDS.values())}"
            )
        path, content = f"/v1/{self._name}:asymmetricSign", scheme.digest(message)
        encoded, checksum = b64encode(content).decode(), str(crc32c(content))
        if scheme.hash is None:
            signed = self._service.post(path, {"data": encoded, "dataCrc32c": checksum}, _Signed)
            arrived_whole = signed.verifiedDataCrc32c
        else:
            digest = {scheme.hash.name: encoded}
            signed = self._service.post(path, {"digest": digest, "digestCrc32c": checksum}, _Signed)
            arrived_whole = signed.verifiedDigestCrc32c
        if not arrived_whole or signed.signatureCrc32c != crc32c(signed.signature):
            raise KeyAway(self.where, "the request or the signature was changed on the way: a checksum is of another")
        if signed.name != self._name:
            raise KeyAway(self.where, f"the signature is by another key, {signed.name!r}")
        return signed.signature


def _is(scheme: Scheme, algorithm: str) -> bool:
    found = _scheme(algorithm)
    return found is not None and (found.name, found.hash and found.hash.name) == (
        scheme.name,
        scheme.hash and scheme.hash.name,
    )


# --- Access tokens ---


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer as google-auth takes it."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


class _Tokens:
    """Access tokens by Application Default Credentials; google-auth keeps one until shortly before it ends."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._credentials: PerProcess[Any] = PerProcess(self._new)
        self.forget = self._credentials.forget

    def headers(self) -> Mapping[str, str]:
        credentials, errors = self._credentials(), self._module("google.auth.exceptions")
        headers: dict[str, str] = {}
        try:
            if not credentials.valid:
                credentials.refresh(self._fetch_once)
            credentials.apply(headers)
        except errors.GoogleAuthError as error:
            if error.retryable or isinstance(error, errors.TransportError):
                raise KeyAway(self._where, f"no access token can be had: {error}") from error
            raise KeyUnavailableError(f"{self._where}: no access token can be had: {error}") from error
        return headers

    def _new(self) -> Any:  # noqa: ANN401 - of a package that may not be there
        auth, errors = self._module("google.auth"), self._module("google.auth.exceptions")
        self._module("requests")  # google-auth would go on without it, and find no metadata server
        try:
            return auth.default(scopes=[SCOPE], request=self._fetch)[0]
        except errors.GoogleAuthError as error:
            raise KeyUnavailableError(
                f"{self._where}: no credentials are found; run with a service account, or let "
                f"GOOGLE_APPLICATION_CREDENTIALS name a file of credentials: {' '.join(str(error).split())}"
            ) from error

    def _module(self, name: str) -> ModuleType:
        return cloud.imported(name, "gcp", self._where)

    def _fetch(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_others: object,
    ) -> _Answer:
        """Ask what gives tokens; the metadata server of a machine has no TLS. Called by google-auth."""
        endpoint = Endpoint(url, timeout=min(timeout or cloud.TIMEOUT, cloud.TIMEOUT), plain=True)
        try:
            response = https.request(endpoint, method, body.encode() if isinstance(body, str) else body, headers)
        except FetchFailedError as error:
            raise self._module("google.auth.exceptions").TransportError(str(error)) from error
        return _Answer(response.status, response.headers, response.body)

    def _fetch_once(self, url: str, *arguments: Any, **others: Any) -> _Answer:  # noqa: ANN401 - as above
        """Ask, and end google-auth's own repetitions, which take half a minute, at the first failure that may pass."""
        try:
            answer = self._fetch(url, *arguments, **others)
        except self._module("google.auth.exceptions").TransportError as error:
            raise KeyAway(self._where, f"no access token can be had: {error}") from error
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise KeyAway(self._where, f"no access token can be had: {url} answered with status {answer.status}")
        return answer


# --- CRC-32C: RFC 3720 §12.1, appendix B.4 ---


def _table() -> tuple[int, ...]:
    polynomial = 0x82F63B78
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
