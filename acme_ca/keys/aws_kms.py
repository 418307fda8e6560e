"""Keys in AWS Key Management Service. AWS KMS API Reference: GetPublicKey, Sign, CreateKey, CreateAlias."""

from __future__ import annotations

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, Self

from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import AfterValidator, StringConstraints

from acme_ca.keys import cloud
from acme_ca.keys.base import KeyAway, KeyUnavailableError, PrivateKey, numbered
from acme_ca.keys.cloud import CloudKey, PerProcess, RefusedError, ServiceUrl
from acme_ca.keys.elsewhere import Scheme, Store
from acme_ca.public_keys import PublicKey
from acme_ca.vocabulary import KeyType

KINDS: dict[KeyType, str] = {
    "ec-p256": "ECC_NIST_P256",
    "ec-p384": "ECC_NIST_P384",
    "ec-p521": "ECC_NIST_P521",
    "ed25519": "ECC_NIST_EDWARDS25519",
    "rsa-2048": "RSA_2048",
    "rsa-3072": "RSA_3072",
    "rsa-4096": "RSA_4096",
}
LONGEST_MESSAGE = 4096  # octets that Sign takes; of longer ones it takes the digest
_FAMILIES = {"ecdsa": "ECDSA_SHA_", "rsa-pkcs1": "RSASSA_PKCS1_V1_5_SHA_", "rsa-pss": "RSASSA_PSS_SHA_"}
_KEY = re.compile(r"alias/[\w/-]{1,250}|(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(alias/[\w/-]{1,250}|key/[0-9a-f-]+)", re.ASCII)
_PASSING = {"ThrottlingException", "RequestLimitExceeded", "ExpiredTokenException", "ExpiredToken", "RequestExpired"}
_NOT_FOUND = "NotFoundException"
_MAKE_ONE = f"make a key with usage SIGN_VERIFY, of one of the kinds {', '.join(KINDS.values())}"
_ADVICE = {
    _NOT_FOUND: "see whether key, region and account are right",
    "AccessDeniedException": "see whether the key policy and the IAM policy allow it: docs/how-to/cloud-keys.md",
    "DisabledException": "`aws kms enable-key` enables it",
    "KMSInvalidStateException": "`aws kms describe-key` shows its state; a deletion that is scheduled can be cancelled",
    "UnrecognizedClientException": "see whether the credentials are of this partition and still there",
    "InvalidKeyUsageException": _MAKE_ONE,
    "UnsupportedOperationException": _MAKE_ONE,
}


def _key(text: str) -> str:
    if not _KEY.fullmatch(text) and not _ARN.fullmatch(text):
        raise ValueError("expected alias/NAME, the id of a key, or the ARN of either")
    return text


class AwsKmsKey(CloudKey):
    """A key in AWS KMS."""

    kinds: ClassVar[Collection[KeyType]] = KINDS
    type: Literal["aws-kms"] = "aws-kms"
    key: Annotated[str, AfterValidator(_key)]
    """Its alias (`alias/NAME`), its id, or the ARN of either."""
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$")]
    """The region, as `eu-west-1`."""
    endpoint_url: ServiceUrl | None = None
    """The service, where it is not that of the region."""

    @property
    def stem(self) -> str:
        """The alias or id without what stands before it."""
        return cloud.file_stem(self.key)

    def __str__(self) -> str:
        """Name the key and its region."""
        return f"AWS key {self.key} in {self.region}"

    def create(self, kind: KeyType) -> PrivateKey:
        """Make a key, and its alias."""
        self.require_kind(kind)
        if not self.key.startswith("alias/"):
            raise KeyUnavailableError(f"{self}: AWS chooses the id of a new key; name the key by an alias, alias/NAME")
        self._refuse_to_replace()
        kms = self._kms()
        spec = {"KeySpec": KINDS[kind], "KeyUsage": "SIGN_VERIFY", "Description": f"acme-ca: {self.key}"}
        made = kms.ask("create_key", **spec)["KeyMetadata"]
        try:
            kms.ask("create_alias", AliasName=self.key, TargetKeyId=made["KeyId"])
        except (KeyAway, KeyUnavailableError) as error:
            raise KeyUnavailableError(
                f"{error}; the new key {made['Arn']} has no alias: give it one with `aws kms create-alias`, or remove "
                "it with `aws kms schedule-key-deletion`"
            ) from error
        return cloud.opened(self._read(kms, made["Arn"]))  # an alias is known everywhere only after some seconds

    def beside(self, number: int) -> Self:
        """Return the key of another alias; of a key that is named by its id or ARN, that is `alias/ID-NUMBER`."""
        before, alias, name = self.key.rpartition("alias/")
        if not alias:  # AWS chooses the ids
            before, alias, name = "", "alias/", self.key.rpartition("/")[2]
        return self.model_copy(update={"key": f"{before}{alias}{numbered(name, number)}"})

    def _kms(self) -> _Kms:
        return _Kms(str(self), self.region, self.endpoint_url)

    def _find(self) -> _AwsStore:
        return self._read(self._kms())

    def _read(self, kms: _Kms, key: str | None = None) -> _AwsStore:
        found = kms.ask("get_public_key", KeyId=key or self.key)
        if found["KeyUsage"] != "SIGN_VERIFY":
            raise KeyUnavailableError(f"{self} is for {found['KeyUsage']}; {_MAKE_ONE}")
        try:
            public_key = load_der_public_key(found["PublicKey"])
        except ValueError as error:
            raise KeyUnavailableError(f"{self}: its public key cannot be read: {error}") from error
        if not isinstance(public_key, PublicKey):
            raise KeyUnavailableError(f"{self} is a {found['KeySpec']}, which cannot sign here")
        return _AwsStore(kms, found["KeyId"], public_key)


class _AwsStore(Store):
    def __init__(self, kms: _Kms, arn: str, public_key: PublicKey) -> None:
        self.where = kms.where
        self.public_key = public_key
        self._kms = kms
        self._arn = arn

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        bits = cloud.hash_bits(self.where, self.public_key, scheme)
        algorithm = f"{_FAMILIES[scheme.name]}{bits}" if bits else "ED25519_SHA_512"
        kind = "RAW"
        if len(message) > LONGEST_MESSAGE:
            if not bits:
                raise KeyUnavailableError(
                    f"{self.where} is an Ed25519 key: AWS signs no more than {LONGEST_MESSAGE} octets with it, here "
                    f"are {len(message)}; an EC key signs any number"
                )
            kind, message = "DIGEST", scheme.digest(message)
        found = self._kms.ask("sign", KeyId=self._arn, Message=message, MessageType=kind, SigningAlgorithm=algorithm)
        if _id(found["KeyId"]) != _id(self._arn):
            raise KeyAway(self.where, f"the signature is by another key, {found['KeyId']}")
        return bytes(found["Signature"])


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]


class _Kms:
    """The service, by a client of botocore's for each process. One repetition is for connections that had ended."""

    def __init__(self, where: str, region: str, endpoint_url: str | None) -> None:
        self.where = where
        self._region = region
        self._endpoint_url = endpoint_url
        self._client: PerProcess[Any] = PerProcess(self._new)
        self._has_answered = False

    def ask(self, operation: str, **parameters: object) -> dict[str, Any]:
        """Return the answer; raises KeyAway and RefusedError, or KeyUnavailableError without credentials."""
        client, errors = self._client(), cloud.imported("botocore.exceptions", "aws", self.where)
        missing = (errors.NoCredentialsError, errors.PartialCredentialsError)
        passing = (
            errors.ConnectionError,
            errors.HTTPClientError,
            errors.CredentialRetrievalError,
            errors.MetadataRetrievalError,
            RuntimeError,  # botocore has renewed credentials, and the new ones have ended, too
        )
        try:
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except errors.ClientError as error:
            raise self._failure(error) from error
        except missing as error:
            if self._has_answered:
                raise KeyAway(self.where, str(error)) from error
            raise KeyUnavailableError(
                f"{self.where}: there are no credentials ({error}); run with a role, or set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            ) from error
        except passing as error:
            raise KeyAway(self.where, str(error)) from error
        except errors.BotoCoreError as error:
            raise KeyUnavailableError(f"{self.where}: {error}") from error
        self._has_answered = True
        return answer

    def _failure(self, error: Any) -> KeyAway | RefusedError:  # noqa: ANN401 - of a package that may not be there
        """Return what to raise for an answer that is an error."""
        code, said = error.response["Error"]["Code"], error.response["Error"].get("Message") or "without a reason"
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        text = f"{error.operation_name} was refused with {code}: {said}"
        if code in _PASSING or status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._client.forget()  # so that credentials are looked for again
            return KeyAway(self.where, text)
        advice = _ADVICE.get(code, "see the AWS KMS API Reference")
        return RefusedError(f"{self.where}: {text}; {advice}", HTTPStatus.NOT_FOUND if code == _NOT_FOUND else status)

    def _new(self) -> Any:  # noqa: ANN401 - of a package that may not be there
        config = cloud.imported("botocore.config", "aws", self.where).Config(
            connect_timeout=1.5,
            read_timeout=2.5,
            retries={"mode": "standard", "total_max_attempts": 2},
            tcp_keepalive=True,
            max_pool_connections=16,
        )
        session = cloud.imported("botocore.session", "aws", self.where).get_session()
        session.set_default_client_config(config)  # for the services, too, that give credentials
        try:
            return session.create_client("kms", region_name=self._region, endpoint_url=self._endpoint_url)
        except cloud.imported("botocore.exceptions", "aws", self.where).BotoCoreError as error:
            raise KeyUnavailableError(f"{self.where}: {error}") from error
