"""Keys in Azure Key Vault or Managed HSM. Azure Key Vault REST API 7.4, keys."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pydantic import BeforeValidator, StringConstraints

from acme_ca.keys import cloud
from acme_ca.keys.base import KeyAway, KeyUnavailableError, PrivateKey, numbered
from acme_ca.keys.cloud import CloudKey, PerProcess, Service, ServiceUrl, WireModel
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.paths import ExistingFile
from acme_ca.public_keys import PublicKey
from acme_ca.vocabulary import KeyType

API = "api-version=7.4"
KINDS: dict[KeyType, dict[str, object]] = {
    "ec-p256": {"kty": "EC", "crv": "P-256"},
    "ec-p384": {"kty": "EC", "crv": "P-384"},
    "ec-p521": {"kty": "EC", "crv": "P-521"},
    "rsa-2048": {"kty": "RSA", "key_size": 2048},
    "rsa-3072": {"kty": "RSA", "key_size": 3072},
    "rsa-4096": {"kty": "RSA", "key_size": 4096},
}
CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "see whether the identity is of the vault's tenant",
    HTTPStatus.FORBIDDEN: "see whether the key is enabled, the vault's firewall lets this host in, and the identity "
    "may get the key and sign with it: docs/how-to/cloud-keys.md",
    HTTPStatus.NOT_FOUND: "see whether vault, name and version are right",
    HTTPStatus.CONFLICT: "a key of this name was deleted and can still be recovered: recover or purge it, or take "
    "another name",
}
_ALGORITHMS = {"ecdsa": "ES", "rsa-pkcs1": "RS", "rsa-pss": "PS"}
_VERSION = re.compile(r"[0-9a-f]{32}")


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("expected a string")  # noqa: TRY004 - pydantic wants a ValueError
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


Base64Url = Annotated[bytes, BeforeValidator(_decoded)]


class _Jwk(WireModel):
    kid: str
    kty: str
    key_ops: tuple[str, ...] = ()
    crv: str = ""
    x: Base64Url = b""
    y: Base64Url = b""
    n: Base64Url = b""
    e: Base64Url = b""


class _Attributes(WireModel):
    enabled: bool = True


class _Bundle(WireModel):
    key: _Jwk
    attributes: _Attributes = _Attributes()


class _Signed(WireModel):
    kid: str
    value: Base64Url


class AzureKeyVaultKey(CloudKey):
    """A key in an Azure key vault or managed HSM."""

    kinds: ClassVar[Collection[KeyType]] = KINDS
    type: Literal["azure-key-vault"] = "azure-key-vault"
    vault: ServiceUrl
    """The vault: `https://NAME.vault.azure.net`, or of a managed HSM `https://NAME.managedhsm.azure.net`."""
    name: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,127}$")]
    """The name of the key."""
    version: Annotated[str, StringConstraints(pattern=f"^{_VERSION.pattern}$")] | None = None
    """Its version, 32 hexadecimal digits; without it, the current one when the key is opened."""
    protection: Literal["hsm", "software"] = "hsm"
    """Where `acme-ca init` makes a new key; vaults of the standard tier have `"software"` only."""
    resource: ServiceUrl | None = None
    """What tokens are asked for; by default the vault's domain, as `https://vault.azure.net`."""
    ca_file: ExistingFile | None = None
    """A PEM file of roots in place of the system's."""

    @property
    def stem(self) -> str:
        """The name of the key."""
        return cloud.file_stem(self.name)

    def __str__(self) -> str:
        """Name the key by its URL."""
        version = "" if self.version is None else f"/{self.version}"
        return f"Azure key {self.vault}/keys/{self.name}{version}"

    @property
    def token_resource(self) -> str:
        """What access tokens are asked for."""
        host = urlsplit(self.vault).hostname or ""
        return self.resource or f"https://{host.partition('.')[2]}"

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a key that cannot be exported, as none can without a release policy."""
        self.require_kind(kind)
        if self.version is not None:
            raise KeyUnavailableError(f"{self}: Azure chooses the version of a new key; leave `version` out")
        self._refuse_to_replace()
        wanted = KINDS[kind] | {"key_ops": ["sign", "verify"]}
        if self.protection == "hsm":
            wanted["kty"] = f"{wanted['kty']}-HSM"
        service = self._service()
        return cloud.opened(self._found(service, service.post(f"/keys/{self.name}/create?{API}", wanted, _Bundle)))

    def beside(self, number: int) -> Self:
        """Return the key of another name in the same vault."""
        return self.model_copy(update={"name": numbered(self.name, number), "version": None})

    def _service(self) -> Service:
        tokens = _Tokens(str(self), self.token_resource)
        return Service(str(self), self.vault, tokens.headers, _ADVICE, self.ca_file, tokens.forget)

    def _find(self) -> _AzureStore:
        return self._read(self._service())

    def _read(self, service: Service) -> _AzureStore:
        version = "" if self.version is None else f"/{self.version}"
        return self._found(service, service.get(f"/keys/{self.name}{version}?{API}", _Bundle))

    def _found(self, service: Service, bundle: _Bundle) -> _AzureStore:
        version = bundle.key.kid.rpartition("/")[2]
        if not _VERSION.fullmatch(version) or version != (self.version or version):
            raise KeyAway(str(self), f"the answer is about another key, {bundle.key.kid!r}")
        if not bundle.attributes.enabled:
            raise KeyUnavailableError(f"{self} is disabled; `az keyvault key set-attributes --enabled true` enables it")
        if "sign" not in bundle.key.key_ops:
            allowed = ", ".join(bundle.key.key_ops) or "nothing"
            raise KeyUnavailableError(f"{self} is for {allowed}; expected a key with the operation `sign`")
        return _AzureStore(self, service, version, self._public_key(bundle.key))

    def _public_key(self, key: _Jwk) -> PublicKey:
        kind = key.kty.removesuffix("-HSM")
        try:
            if kind == "EC" and key.crv in CURVES:
                x, y = int.from_bytes(key.x), int.from_bytes(key.y)
                return ec.EllipticCurvePublicNumbers(x, y, CURVES[key.crv]).public_key()
            if kind == "RSA":
                return rsa.RSAPublicNumbers(int.from_bytes(key.e), int.from_bytes(key.n)).public_key()
        except ValueError as error:
            raise KeyUnavailableError(f"{self}: its public key cannot be read: {error}") from error
        seen = f"{key.kty} {key.crv}".strip()
        raise KeyUnavailableError(f"{self} is of kind {seen}, which cannot sign here; make one of {', '.join(KINDS)}")


class _Tokens:
    """Access tokens by what azure-identity finds on this host; it keeps one and renews it before it ends."""

    def __init__(self, where: str, resource: str) -> None:
        self._where = where
        self._scope = f"{resource}/.default"
        self._credential: PerProcess[Any] = PerProcess(self._new)
        self.forget = self._credential.forget

    def headers(self) -> Mapping[str, str]:
        credential = self._credential()
        errors = cloud.imported("azure.core.exceptions", "azure", self._where)
        try:
            return {"Authorization": f"Bearer {credential.get_token(self._scope).token}"}
        except (errors.ServiceRequestError, errors.ServiceResponseError) as error:
            raise KeyAway(self._where, f"no access token can be had: {error}") from error
        except errors.AzureError as error:
            raise KeyUnavailableError(
                f"{self._where}: no access token can be had; give this host an identity, or set AZURE_CLIENT_ID, "
                f"AZURE_TENANT_ID and a credential: {' '.join(str(error).split())}"
            ) from error

    def _new(self) -> Any:  # noqa: ANN401 - of a package that may not be there
        return cloud.imported("azure.identity", "azure", self._where).DefaultAzureCredential(
            connection_timeout=2, read_timeout=3, retry_total=0, process_timeout=5
        )


class _AzureStore(Store):
    def __init__(self, key: AzureKeyVaultKey, service: Service, version: str, public_key: PublicKey) -> None:
        self.where = str(key)
        self.public_key = public_key
        self._path = f"/keys/{key.name}/{version}/sign?{API}"
        self._service = service
        self._version = version

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        bits = cloud.hash_bits(self.where, self.public_key, scheme)
        value = urlsafe_b64encode(scheme.digest(message)).rstrip(b"=").decode()
        signed = self._service.post(self._path, {"alg": f"{_ALGORITHMS[scheme.name]}{bits}", "value": value}, _Signed)
        if signed.kid.rpartition("/")[2] != self._version:
            raise KeyAway(self.where, f"the signature is by another key, {signed.kid!r}")
        return _der(signed.value) if scheme.name == "ecdsa" else signed.value


def _der(signature: bytes) -> bytes:
    """Return r and s, which Azure sets side by side (RFC 7518 §3.4), as X.509 has them."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
