"""Keys in AWS KMS."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped]  # botocore has no annotations
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from pydantic import ValidationError

from acme_ca import public_keys
from acme_ca.keys import AwsKmsKey, KeyAway, KeyBackend, KeyUnavailableError, PrivateKey
from acme_ca.vocabulary import KeyType
from tests.keys.contract import KeyContract, sign, verify
from tests.support import aws_kms, key_service
from tests.support.aws_kms import ARN, REGION, Kms

ALIAS = "alias/acme-ca/prod"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of moto's server."""
    with aws_kms.moto() as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment, and none of this machine's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def client(moto: str) -> Any:  # noqa: ANN401 - botocore has no annotations
    """What an administrator does to the keys of moto, which has none."""
    client = botocore.session.get_session().create_client("kms", region_name=REGION, endpoint_url=moto)
    for alias in client.list_aliases()["Aliases"]:
        if "TargetKeyId" in alias:
            client.delete_alias(AliasName=alias["AliasName"])
    return client


@pytest.fixture
def key(moto: str, client: Any) -> AwsKmsKey:  # noqa: ANN401, ARG001 - it is asked for to empty the service
    """A key that is not there yet."""
    return AwsKmsKey(key=ALIAS, region=REGION, endpoint_url=moto)


def served(kms: Kms, key: str = ARN) -> AwsKmsKey:
    return AwsKmsKey(key=key, region=REGION, endpoint_url=kms.api.url)


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Kms]:
    """A service with an EC key that fails when it is told to."""
    with aws_kms.serve(tmp_path, key_service.new_key("ec-p256")) as running:
        yield running


class TestAwsKmsKey(KeyContract):
    @pytest.fixture(params=["ec-p256", "ec-p384", "ec-p521", "rsa-2048"])
    def backend(self, key: AwsKmsKey, request: pytest.FixtureRequest) -> KeyBackend:
        key.create(request.param)
        return key


class TestEd25519InAws(KeyContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[KeyBackend]:
        with aws_kms.serve(tmp_path, key_service.new_key("ed25519")) as kms:
            yield served(kms)

    def test_a_later_generation_has_a_key_of_its_own_in_the_same_store(self, backend: KeyBackend) -> None:
        """AWS chooses ids and ARNs: what is named by one is followed by an alias."""
        assert isinstance(backend, AwsKmsKey)
        assert backend.beside(2).key == f"alias/{ARN.rpartition('/')[2]}-2"
        of_alias = backend.model_copy(update={"key": "arn:aws:kms:eu-west-1:111122223333:alias/acme-ca/prod-1"})
        assert of_alias.beside(2).key == "arn:aws:kms:eu-west-1:111122223333:alias/acme-ca/prod-2"


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "rsa-2048", "rsa-3072", "rsa-4096"])
def test_a_key_of_the_asked_kind_is_created(key: AwsKmsKey, client: Any, kind: KeyType) -> None:  # noqa: ANN401
    assert not key.exists()
    made = key.create(kind)
    assert public_keys.check(made.public_key()) == kind
    assert key.exists()
    verify(key.open().public_key(), sign(made))
    found = client.describe_key(KeyId=ALIAS)["KeyMetadata"]
    assert (found["KeyUsage"], found["Description"]) == ("SIGN_VERIFY", f"acme-ca: {ALIAS}")


def test_a_key_is_never_created_in_the_place_of_one(key: AwsKmsKey, client: Any) -> None:  # noqa: ANN401
    made = key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="exists already"):
        key.create("ec-p256")
    arn = client.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"]
    by_arn = key.model_copy(update={"key": arn})
    with pytest.raises(KeyUnavailableError, match="AWS chooses the id of a new key"):
        by_arn.create("ec-p256")
    assert by_arn.open().public_key() == key.open().public_key() == made.public_key()


def test_an_alias_that_cannot_be_made_leaves_a_key_that_is_named(kms: Kms) -> None:
    kms.instead = {
        "GetPublicKey": (400, "NotFoundException", "Alias is not found."),
        "CreateAlias": (400, "AccessDeniedException", "not authorized to perform: kms:CreateAlias"),
    }
    with pytest.raises(KeyUnavailableError, match=f"kms:CreateAlias; .* the new key {ARN} has no alias"):
        served(kms, ALIAS).create("ec-p256")


def test_an_alias_that_is_given_to_another_key_changes_nothing(key: AwsKmsKey, client: Any) -> None:  # noqa: ANN401
    old = key.create("ec-p256")
    new = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    client.update_alias(AliasName=ALIAS, TargetKeyId=new)
    verify(old.public_key(), sign(old))
    assert key.open().public_key() != old.public_key()


@pytest.mark.parametrize("size", [4096, 4097, 100_000])
def test_rsa_signs_messages_of_any_size(kms: Kms, size: int) -> None:
    kms.key = key_service.new_key("rsa-2048")
    key, message = served(kms).open(), bytes(size)
    verify(key.public_key(), sign(key, message), message)
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = PSS(MGF1(hashes.SHA384()), PSS.DIGEST_LENGTH)
    key.public_key().verify(key.sign(message, pss, hashes.SHA384()), message, pss, hashes.SHA384())


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521"])
def test_of_long_messages_the_digest_is_signed(kms: Kms, kind: str) -> None:
    kms.key = key_service.new_key(kind)
    key = served(kms).open()
    message = bytes(100_000)
    verify(key.public_key(), sign(key, message), message)
    assert kms.signed[0]["MessageType"] == "DIGEST"


def test_a_long_message_is_too_much_for_ed25519(kms: Kms) -> None:
    kms.key = key_service.new_key("ed25519")
    key = served(kms).open()
    verify(key.public_key(), sign(key, bytes(4096)), bytes(4096))
    with pytest.raises(KeyAway, match="no more than 4096 octets with it, here are 4097; an EC key"):
        sign(key, bytes(4097))


def test_a_curve_signs_with_its_own_hash_only(key: AwsKmsKey) -> None:
    made = key.create("ec-p384")
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    with pytest.raises(UnsupportedAlgorithm, match="signs with SHA-384 only, not SHA-256"):
        made.sign(b"message", ec.ECDSA(hashes.SHA256()))


def test_a_signature_of_another_key_is_not_taken(kms: Kms) -> None:
    key = served(kms).open()
    kms.signed_by = "arn:another"
    with pytest.raises(KeyAway, match="by another key, arn:another"):
        sign(key)


def test_a_missing_key_is_named(key: AwsKmsKey) -> None:
    with pytest.raises(KeyUnavailableError, match=f"AWS key {ALIAS} in {REGION}: .* NotFoundException: .* account"):
        key.open()


@pytest.mark.parametrize("usage", ["symmetric", "encryption"])
def test_keys_that_do_not_sign_are_refused(kms: Kms, usage: str) -> None:
    if usage == "symmetric":
        kms.instead["GetPublicKey"] = (400, "UnsupportedOperationException", "SYMMETRIC_DEFAULT")
    else:
        kms.described = {"KeyUsage": "ENCRYPT_DECRYPT"}
    with pytest.raises(KeyUnavailableError, match="make a key with usage SIGN_VERIFY, of one of the kinds ECC_NIST"):
        served(kms).open()


def test_curves_of_others_are_refused(kms: Kms) -> None:
    kms.key = key_service.new_key("ec-k256")
    with pytest.raises(KeyUnavailableError, match="secp256k1"):
        served(kms).open()


def test_a_public_key_that_cannot_be_read_is_refused(kms: Kms) -> None:
    kms.described = {"PublicKey": "AAAA"}
    with pytest.raises(KeyUnavailableError, match="public key cannot be read"):
        served(kms).open()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "the key policy and the IAM policy"),
        ("DisabledException", "`aws kms enable-key`"),
        ("KMSInvalidStateException", "`aws kms describe-key`"),
        ("UnrecognizedClientException", "of this partition"),
        ("ValidationException", "AWS KMS API Reference"),
    ],
)
def test_what_will_not_pass_is_refused(kms: Kms, code: str, message: str) -> None:
    key = served(kms).open()
    kms.instead = dict.fromkeys(("GetPublicKey", "Sign"), (400, code, "said AWS"))
    for ask in (served(kms).open, served(kms).exists):
        with pytest.raises(KeyUnavailableError, match=f"{code}: said AWS; .*{message}"):
            ask()
    with pytest.raises(KeyAway, match=f"{code}: said AWS; .*{message}"):  # it works again once somebody acted
        sign(key)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (400, "ExpiredTokenException"),
        (429, "TooManyRequests"),
        (500, "KMSInternalException"),
        (500, "KeyUnavailableException"),
        (503, "DependencyTimeoutException"),
    ],
)
def test_a_busy_service_is_away(kms: Kms, status: int, code: str) -> None:
    key = served(kms).open()
    kms.api.requests.clear()
    kms.instead = dict.fromkeys(("GetPublicKey", "Sign"), (status, code, "later"))
    for ask in (served(kms).open, lambda: sign(key)):
        with pytest.raises(KeyAway, match=f"{code}: later"):
            ask()
    assert len(kms.api.requests) <= 4
    kms.instead.clear()
    assert served(kms).open()


def test_a_service_that_cannot_be_reached_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(KeyAway, match="Could not connect"):
        AwsKmsKey(key=ALIAS, region=REGION, endpoint_url=url).open()


def test_a_service_that_says_nothing_is_away(kms: Kms) -> None:
    kms.api.fault = "silent"
    with pytest.raises(KeyAway, match=r"[Tt]imeout"):
        served(kms).open()
    assert len(kms.api.requests) <= 2


def test_without_credentials_it_is_said_what_is_missing(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(KeyUnavailableError, match=r"there are no credentials .* set AWS_ACCESS_KEY_ID and"):
        served(kms).open()


def test_a_profile_that_is_not_there_is_named(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(KeyUnavailableError, match=r"profile .*nobody"):
        served(kms).open()


def test_credentials_are_looked_for_again_when_they_have_ended(
    kms: Kms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = AKIAFIRST\naws_secret_access_key = a\n")
    key = served(kms).open()
    kms.instead["Sign"] = (400, "ExpiredTokenException", "The security token included in the request is expired")
    with pytest.raises(KeyAway, match="is expired"):
        sign(key)
    kms.instead.clear()
    file.write_text("[default]\naws_access_key_id = AKIASECOND\naws_secret_access_key = b\n")
    verify(key.public_key(), sign_when_back(key))
    assert "AKIASECOND" in kms.api.requests[-1].fields["authorization"]
    kms.instead["Sign"] = (400, "ExpiredTokenException", "The security token included in the request is expired")
    with pytest.raises(KeyAway, match="is expired"):
        sign(key)
    file.unlink()
    with pytest.raises(KeyAway, match="Unable to locate credentials"):
        sign_when_back(key)


def sign_when_back(key: PrivateKey) -> bytes:
    """Sign after the pause in which the store is not asked."""
    while True:
        try:
            return sign(key)
        except KeyAway as away:
            if "is expired" not in away.reason:
                raise
        time.sleep(0.05)


def test_names_are_for_people_and_files(key: AwsKmsKey) -> None:
    assert str(key) == f"AWS key {ALIAS} in {REGION}"
    assert key.stem == "prod"
    assert key.model_copy(update={"key": ARN}).stem == "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    "name",
    [ALIAS, ARN, ARN.rpartition("/")[2], f"mrk-{'0' * 32}", f"arn:aws-us-gov:kms:us-gov-west-1:123456789012:{ALIAS}"],
)
def test_keys_are_named_as_aws_does(name: str) -> None:
    assert AwsKmsKey(key=name, region=REGION).key == name


@pytest.mark.parametrize(
    ("setting", "value"), [("key", "acme-ca"), ("region", "Europe"), ("endpoint_url", "http://kms.example")]
)
def test_settings_are_checked(setting: str, value: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        AwsKmsKey.model_validate({"type": "aws-kms", "key": ALIAS, "region": REGION} | {setting: value})
