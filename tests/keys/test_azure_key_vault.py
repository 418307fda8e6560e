"""Keys in Azure Key Vault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from pydantic import ValidationError

from acme_ca import public_keys
from acme_ca.keys import AzureKeyVaultKey, KeyAway, KeyBackend, KeyUnavailableError
from acme_ca.keys.azure_key_vault import KINDS
from acme_ca.vocabulary import KeyType
from tests.keys.contract import KeyContract, sign, verify
from tests.support import azure_vault, key_service
from tests.support.azure_vault import RESOURCE, SECRET, Vault, error


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """A vault without keys, and this process with an identity that it knows."""
    with azure_vault.serve(tmp_path / "azure") as running:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{running.endpoint.url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", SECRET)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        yield running


@pytest.fixture
def key(vault: Vault) -> AzureKeyVaultKey:
    """A key that is not there yet."""
    return AzureKeyVaultKey(vault=vault.api.url, name="acme-ca-prod", resource=RESOURCE, ca_file=vault.api.ca_file)


class TestAzureKeyVaultKey(KeyContract):
    @pytest.fixture(params=["ec-p256", "ec-p384", "ec-p521", "rsa-2048"])
    def backend(self, vault: Vault, key: AzureKeyVaultKey, request: pytest.FixtureRequest) -> KeyBackend:
        vault.rotate(key.name, key_service.new_key(request.param))
        return key


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_the_asked_kind_is_created(vault: Vault, key: AzureKeyVaultKey, kind: KeyType) -> None:
    assert not key.exists()
    made = key.create(kind)
    assert public_keys.check(made.public_key()) == kind
    assert key.exists()
    (body,) = vault.created
    assert (body["key_ops"], body["kty"][-4:]) == (["sign", "verify"], "-HSM")
    verify(key.open().public_key(), sign(made))


def test_a_vault_without_an_hsm_makes_software_keys(vault: Vault, key: AzureKeyVaultKey) -> None:
    key.model_copy(update={"protection": "software"}).create("ec-p256")
    assert vault.created[0]["kty"] == "EC"


def test_a_key_is_never_created_in_the_place_of_one(vault: Vault, key: AzureKeyVaultKey) -> None:
    key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="exists already"):
        key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="Azure chooses the version"):
        key.model_copy(update={"version": "0" * 32}).create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="no key of kind ed25519 can be made there, expected one of ec-p256"):
        key.create("ed25519")
    assert len(vault.created) == 1


def test_rsa_signs_with_pss_too(key: AzureKeyVaultKey) -> None:
    made = key.create("rsa-2048")
    assert isinstance(made, rsa.RSAPrivateKey)
    pss = PSS(MGF1(hashes.SHA512()), PSS.DIGEST_LENGTH)
    made.public_key().verify(made.sign(b"message", pss, hashes.SHA512()), b"message", pss, hashes.SHA512())


def test_a_curve_signs_with_its_own_hash_only(key: AzureKeyVaultKey) -> None:
    made = key.create("ec-p384")
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    with pytest.raises(UnsupportedAlgorithm, match="signs with SHA-384 only, not SHA-256"):
        made.sign(b"message", ec.ECDSA(hashes.SHA256()))


def test_a_rotated_key_signs_with_the_version_that_was_opened(vault: Vault, key: AzureKeyVaultKey) -> None:
    old = key.create("ec-p256")
    vault.rotate(key.name, key_service.new_key("ec-p256"))
    verify(old.public_key(), sign(old))
    assert key.open().public_key() != old.public_key()
    pinned = key.model_copy(update={"version": f"{1:032x}"})
    assert pinned.open().public_key() == old.public_key()
    assert str(pinned).endswith(f"/keys/acme-ca-prod/{1:032x}")
    assert not key.model_copy(update={"version": f"{3:032x}"}).exists()


def test_a_signature_of_another_version_is_not_taken(vault: Vault, key: AzureKeyVaultKey) -> None:
    made = key.create("ec-p256")
    vault.signs_as = f"{2:032x}"
    with pytest.raises(KeyAway, match="by another key"):
        sign(made)
    with pytest.raises(KeyAway, match="about another key"):
        key.model_copy(update={"version": f"{1:032x}"}).open()


def test_one_token_is_enough_until_it_is_refused(vault: Vault, key: AzureKeyVaultKey) -> None:
    made = key.create("ec-p256")
    vault.tokens.clear()
    sign(made)
    sign(made)
    assert vault.tokens == ["token-0"]
    vault.tokens.append("revoked the one before")
    sign(made)
    assert len(vault.tokens) == 3


def test_a_token_that_is_always_refused_is_not_asked_for_for_ever(vault: Vault, key: AzureKeyVaultKey) -> None:
    vault.instead = error(401, "Unauthorized", "AKV10032: Invalid issuer.")
    with pytest.raises(KeyUnavailableError, match=r"AKV10032: Invalid issuer.; .* of the vault's tenant"):
        key.open()
    assert len(vault.tokens) == 2


def test_without_an_identity_it_is_said_what_is_missing(
    vault: Vault, key: AzureKeyVaultKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(KeyUnavailableError, match="no access token can be had; give this host an identity"):
        key.open()
    assert vault.api.requests == []


def test_an_identity_that_is_away_after_the_start_is_away(vault: Vault, key: AzureKeyVaultKey) -> None:
    made = key.create("ec-p256")
    vault.no_token = (500, {"error": "unavailable", "error_description": "later"})
    vault.tokens.append("revoked the one before")
    with pytest.raises(KeyAway, match="no access token can be had"):
        sign(made)


def test_a_missing_key_is_named(key: AzureKeyVaultKey) -> None:
    with pytest.raises(KeyUnavailableError, match=r"/keys/acme-ca-prod: .* status 404: A key .* name and version"):
        key.open()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error(403, "Forbidden", "Caller is not authorized to perform action"), "not authorized .* firewall"),
        (error(403, "Forbidden", "Operation sign is not allowed on a disabled key."), "a disabled key.; .* enabled"),
        (error(400, "BadParameter", "Key and signing algorithm are incompatible"), "are incompatible"),
    ],
)
def test_what_will_not_pass_is_refused(
    vault: Vault, key: AzureKeyVaultKey, answer: tuple[int, object], message: str
) -> None:
    made = key.create("ec-p256")
    vault.instead = answer
    for ask in (key.open, key.exists):
        with pytest.raises(KeyUnavailableError, match=message):
            ask()
    with pytest.raises(KeyAway, match=message):  # it works again once somebody acted, without a restart
        sign(made)


def test_a_deleted_name_is_not_taken_again(
    vault: Vault, key: AzureKeyVaultKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "_create", lambda *_: error(409, "Conflict", "Key is currently in a deleted state."))
    with pytest.raises(KeyUnavailableError, match=r"in a deleted state.; .* recover or purge it"):
        key.create("ec-p256")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_vault_is_away(vault: Vault, key: AzureKeyVaultKey, status: int) -> None:
    made = key.create("ec-p256")
    vault.instead = error(status, "Throttled", "Too many requests")
    for ask in (key.open, key.exists, lambda: sign(made)):
        with pytest.raises(KeyAway, match=f"status {status}: Too many requests"):
            ask()


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"key_ops": ["encrypt", "decrypt"]}, "is for encrypt, decrypt; expected a key with the operation `sign`"),
        ({"kty": "oct-HSM"}, "of kind oct-HSM P-256, which cannot sign here"),
        ({"crv": "P-256K"}, "of kind EC-HSM P-256K, which cannot sign here"),
        ({"x": "AAAA"}, "public key cannot be read"),
        ({"kty": "RSA", "n": "_____w", "e": "AQAB"}, "public key cannot be read|RSA key of 32 bits"),
    ],
)
def test_keys_that_cannot_sign_here_are_refused(
    vault: Vault, key: AzureKeyVaultKey, described: dict[str, object], message: str
) -> None:
    key.create("ec-p256")
    vault.described = described
    with pytest.raises(KeyUnavailableError, match=message):
        key.open()


def test_a_disabled_key_is_refused(vault: Vault, key: AzureKeyVaultKey) -> None:
    key.create("ec-p256")
    vault.attributes = {"enabled": False}
    with pytest.raises(KeyUnavailableError, match="is disabled; `az keyvault key set-attributes"):
        key.open()


@pytest.mark.parametrize("described", [{"x": 1}, {"x": "A"}, {"kid": None}])
def test_answers_that_are_not_azures_are_not_taken(
    vault: Vault, key: AzureKeyVaultKey, described: dict[str, object]
) -> None:
    key.create("ec-p256")
    vault.described = described
    with pytest.raises(KeyAway, match="is not as expected: key"):
        key.open()


@pytest.mark.parametrize(
    ("vault", "resource"),
    [
        ("https://corp.vault.azure.net", "https://vault.azure.net"),
        ("https://corp.managedhsm.azure.net/", "https://managedhsm.azure.net"),
        ("https://corp.vault.azure.cn", "https://vault.azure.cn"),
    ],
)
def test_tokens_are_for_the_vaults_domain(vault: str, resource: str) -> None:
    assert AzureKeyVaultKey(vault=vault, name="a").token_resource == resource


def test_names_are_for_people_and_files(key: AzureKeyVaultKey) -> None:
    assert str(key) == f"Azure key {key.vault}/keys/acme-ca-prod"
    assert key.stem == "acme-ca-prod"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("vault", "http://corp.vault.azure.net"), ("name", "a_b"), ("version", "1"), ("protection", "none")],
)
def test_settings_are_checked(key: AzureKeyVaultKey, setting: str, value: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        AzureKeyVaultKey.model_validate(dict(key) | {setting: value})
