"""Keys in Google Cloud KMS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from pydantic import ValidationError

from acme_ca import public_keys
from acme_ca.keys import GoogleKmsKey, KeyAway, KeyBackend, KeyUnavailableError
from acme_ca.keys.google_kms import KINDS, crc32c
from acme_ca.vocabulary import KeyType
from tests.keys.contract import KeyContract, sign, verify
from tests.support import google_kms, key_service
from tests.support.google_kms import RING, Kms, error

NAME = f"{RING}/cryptoKeys/prod"


@pytest.fixture
def kms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kms]:
    """A service without keys, and this process with the credentials of a service account."""
    with google_kms.serve(tmp_path / "google") as running:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(running.credentials(tmp_path)))
        yield running


@pytest.fixture
def key(kms: Kms) -> GoogleKmsKey:
    """A key that is not there yet."""
    return GoogleKmsKey(key=NAME, endpoint_url=kms.api.url, ca_file=kms.api.ca_file)


class TestGoogleKmsKey(KeyContract):
    @pytest.fixture(params=["ec-p256", "ec-p384", "ed25519", "rsa-2048"])
    def backend(self, kms: Kms, key: GoogleKmsKey, request: pytest.FixtureRequest) -> KeyBackend:
        kms.rotate("prod", KINDS[request.param])
        return key


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_the_asked_kind_is_created(kms: Kms, key: GoogleKmsKey, kind: KeyType) -> None:
    assert not key.exists()
    kms.pending = 2  # looks until it is made
    made = key.create(kind)
    assert public_keys.check(made.public_key()) == kind
    assert key.exists()
    assert kms.created == [{"algorithm": KINDS[kind], "protectionLevel": "HSM"}]
    verify(key.open().public_key(), sign(made))


def test_where_a_key_is_made_is_configured(kms: Kms, key: GoogleKmsKey) -> None:
    key.model_copy(update={"protection": "software"}).create("ec-p256")
    assert kms.created[0]["protectionLevel"] == "SOFTWARE"


def test_a_key_is_never_created_in_the_place_of_one(kms: Kms, key: GoogleKmsKey) -> None:
    key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match=r"already exists.; Google never forgets the name"):
        key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="has version 1, not 2"):
        key.model_copy(update={"version": 2}).create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="no key of kind ec-p521 can be made there, expected one of ec-p256"):
        key.create("ec-p521")
    assert len(kms.created) == 1


def test_a_key_that_is_being_made_is_away(kms: Kms, key: GoogleKmsKey) -> None:
    kms.pending = 1
    kms.rotate("prod", "EC_SIGN_P256_SHA256")
    with pytest.raises(KeyAway, match="still being made"):
        key.open()
    assert key.open()


@pytest.mark.parametrize(("algorithm", "hash_"), [("3072_SHA256", hashes.SHA256()), ("4096_SHA512", hashes.SHA512())])
def test_keys_for_pss_sign_with_pss_alone(
    kms: Kms, key: GoogleKmsKey, algorithm: str, hash_: hashes.HashAlgorithm
) -> None:
    kms.rotate("prod", f"RSA_SIGN_PSS_{algorithm}")
    found = key.open()
    assert isinstance(found, rsa.RSAPrivateKey)
    pss = PSS(MGF1(hash_), PSS.DIGEST_LENGTH)
    found.public_key().verify(found.sign(b"message", pss, hash_), b"message", pss, hash_)
    message = f"signs as RSA_SIGN_PSS_{algorithm} only, and rsa-pkcs1 with sha256 .* EC_SIGN_P256_SHA256, "
    with pytest.raises(KeyAway, match=message):
        sign(found)


def test_a_rotated_key_signs_with_the_version_that_was_opened(kms: Kms, key: GoogleKmsKey) -> None:
    old = key.create("ec-p256")
    kms.page_size = 3
    for _ in range(10):
        kms.rotate("prod", "EC_SIGN_P256_SHA256")
    verify(old.public_key(), sign(old))
    kms.keys["prod"][10].enabled = False
    assert key.open().public_key() == kms.keys["prod"][9].key.public_key()
    pinned = key.model_copy(update={"version": 1})
    assert pinned.open().public_key() == old.public_key()
    assert str(pinned) == f"Google key {NAME}/cryptoKeyVersions/1"
    assert not key.model_copy(update={"version": 12}).exists()


def test_a_key_without_enabled_versions_is_refused(kms: Kms, key: GoogleKmsKey) -> None:
    made = key.create("ec-p256")
    kms.keys["prod"][0].enabled = False
    for ask in (key.open, key.exists):
        with pytest.raises(KeyUnavailableError, match="no version that is enabled"):
            ask()
    with pytest.raises(KeyAway, match=r"current state is: DISABLED.; see whether the version is enabled"):
        sign(made)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"signatureCrc32c": "1"}, "changed on the way"),
        ({"verifiedDigestCrc32c": False}, "changed on the way"),
        ({"name": f"{NAME}/cryptoKeyVersions/2"}, "by another key"),
        ({"signature": None}, "not as expected: signature"),
    ],
)
def test_a_signature_that_was_changed_is_not_taken(
    kms: Kms, key: GoogleKmsKey, changed: dict[str, object], message: str
) -> None:
    made = key.create("ec-p256")
    kms.changed = changed
    with pytest.raises(KeyAway, match=message):
        sign(made)


def test_a_public_key_that_was_changed_is_not_taken(kms: Kms, key: GoogleKmsKey) -> None:
    key.create("ec-p256")
    kms.changed = {"pemCrc32c": "1"}
    with pytest.raises(KeyAway, match="changed on the way"):
        key.open()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"algorithm": "RSA_DECRYPT_OAEP_2048_SHA256"}, "is for RSA_DECRYPT_OAEP_2048_SHA256, which cannot sign here"),
        ({"algorithm": "RSA_SIGN_RAW_PKCS1_2048"}, "cannot sign here; make one for EC_SIGN_P256_SHA256"),
        ({"pem": "junk", "pemCrc32c": None}, "public key cannot be read"),
    ],
)
def test_keys_that_cannot_sign_here_are_refused(
    kms: Kms, key: GoogleKmsKey, changed: dict[str, object], message: str
) -> None:
    key.create("ec-p256")
    kms.changed = changed
    with pytest.raises(KeyUnavailableError, match=message):
        key.open()


def test_curves_of_others_are_refused(kms: Kms, key: GoogleKmsKey) -> None:
    kms.keys["prod"] = [google_kms.Version("EC_SIGN_P256_SHA256", key_service.new_key("ec-k256"))]
    with pytest.raises(KeyUnavailableError, match="secp256k1"):
        key.open()


def test_one_token_is_enough_until_it_is_refused(kms: Kms, key: GoogleKmsKey) -> None:
    made = key.create("ec-p256")
    kms.tokens.clear()
    sign(made)
    sign(made)
    assert kms.tokens == ["token-0"]
    kms.tokens.append("revoked the one before")
    sign(made)
    assert len(kms.tokens) == 3


def test_a_token_that_is_always_refused_is_not_asked_for_for_ever(kms: Kms, key: GoogleKmsKey) -> None:
    kms.instead = error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
    with pytest.raises(KeyUnavailableError, match=r"invalid authentication .* the credentials are still good"):
        key.open()
    assert len(kms.tokens) == 2


def test_machines_of_google_have_a_metadata_server(
    kms: Kms, key: GoogleKmsKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = kms.oauth.url.removeprefix("http://")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nowhere")
    monkeypatch.setenv("GCE_METADATA_IP", host)
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)  # read when it was imported
    verify(key.create("ec-p256").public_key(), sign(key.open()))
    kms.no_token = (503, {})
    with pytest.raises(KeyUnavailableError, match="no credentials are found"):
        key.open()


@pytest.mark.parametrize("content", [None, "{}", "junk"])
def test_without_credentials_it_is_said_what_is_missing(key: GoogleKmsKey, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "service-account.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(KeyUnavailableError, match=r"GOOGLE_APPLICATION_CREDENTIALS name a file of credentials: .*json"):
        key.open()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_gives_tokens_can_be_away(kms: Kms, key: GoogleKmsKey, status: int) -> None:
    kms.no_token = (status, {"error": "unavailable"})
    with pytest.raises(KeyAway, match=f"no access token can be had: .* status {status}"):
        key.open()
    assert len(kms.oauth.requests) == 1


def test_credentials_that_google_does_not_know_are_refused(kms: Kms, key: GoogleKmsKey) -> None:
    made = key.create("ec-p256")
    kms.no_token = (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    with pytest.raises(KeyUnavailableError, match=r"no access token can be had: .*Invalid JWT Signature"):
        key.open()
    kms.tokens.append("revoked the one before")
    with pytest.raises(KeyAway, match="no access token can be had"):
        sign(made)


def test_a_missing_key_is_named(key: GoogleKmsKey) -> None:
    with pytest.raises(KeyUnavailableError, match=r"Google key projects/.* status 404: .* key ring, key and version"):
        key.open()


def test_what_will_not_pass_is_refused(kms: Kms, key: GoogleKmsKey) -> None:
    made = key.create("ec-p256")
    kms.instead = error(403, "PERMISSION_DENIED", "Permission 'cloudkms.cryptoKeyVersions.useToSign' denied.")
    reason = r"useToSign' denied.; see whether the service account has"
    for ask in (key.open, key.exists):
        with pytest.raises(KeyUnavailableError, match=reason):
            ask()
    with pytest.raises(KeyAway, match=reason):  # it works again once somebody acted
        sign(made)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_service_is_away(kms: Kms, key: GoogleKmsKey, status: int) -> None:
    made = key.create("ec-p256")
    kms.instead = error(status, "UNAVAILABLE", "later")
    for ask in (key.open, key.exists, lambda: sign(made)):
        with pytest.raises(KeyAway, match=f"status {status}: later"):
            ask()


def test_names_are_for_people_and_files(key: GoogleKmsKey) -> None:
    assert str(key) == f"Google key {NAME}"
    assert key.stem == "prod"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("key", f"{NAME}/cryptoKeyVersions/1"), ("version", 0), ("endpoint_url", "http://a.example")],
)
def test_settings_are_checked(key: GoogleKmsKey, setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        GoogleKmsKey.model_validate(dict(key) | {setting: value})


def test_checksums_are_those_of_the_standard() -> None:
    """RFC 3720 appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
