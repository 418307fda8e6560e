"""Keys in the Transit engine of Vault or OpenBao."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from pydantic import ValidationError

from acme_ca import public_keys
from acme_ca.keys import KeyAway, KeyBackend, KeyUnavailableError, TransitKey
from acme_ca.secret import Secret
from acme_ca.vocabulary import KeyType
from tests.keys.contract import KeyContract, sign, verify
from tests.support import key_service, transit
from tests.support.transit import TOKEN, Transit


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Transit]:
    """An engine without keys."""
    with transit.serve(tmp_path / "vault") as running:
        yield running


@pytest.fixture
def key(engine: Transit, tmp_path: Path) -> TransitKey:
    """A key that is not there yet."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    return TransitKey(
        address=engine.api.url, name="acme-ca-prod", token=Secret("file", str(token)), ca_file=engine.api.ca_file
    )


class TestTransitKey(KeyContract):
    @pytest.fixture(params=["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048"])
    def backend(self, engine: Transit, key: TransitKey, request: pytest.FixtureRequest) -> KeyBackend:
        engine.rotate(key.name, key_service.new_key(request.param))
        return key


@pytest.mark.parametrize("kind", TransitKey.kinds)
def test_a_key_of_the_asked_kind_is_created(engine: Transit, key: TransitKey, kind: KeyType) -> None:
    assert not key.exists()
    made = key.create(kind)
    assert public_keys.check(made.public_key()) == kind
    assert key.exists()
    (body,) = engine.created
    assert (body["exportable"], body["allow_plaintext_backup"]) == (False, False)
    verify(key.open().public_key(), sign(made))


def test_a_key_is_never_created_in_the_place_of_one(engine: Transit, key: TransitKey) -> None:
    key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="exists already"):
        key.create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="has version 1, not 2"):
        key.model_copy(update={"version": 2}).create("ec-p256")
    assert len(engine.created) == 1


def test_rsa_signs_with_pss_too(key: TransitKey) -> None:
    made = key.create("rsa-2048")
    assert isinstance(made, rsa.RSAPrivateKey)
    pss = PSS(MGF1(hashes.SHA384()), PSS.DIGEST_LENGTH)
    made.public_key().verify(made.sign(b"message", pss, hashes.SHA384()), b"message", pss, hashes.SHA384())


def test_a_rotated_key_signs_with_the_version_that_was_opened(engine: Transit, key: TransitKey) -> None:
    old = key.create("ec-p256")
    engine.rotate(key.name, key_service.new_key("ec-p256"))
    verify(old.public_key(), sign(old))
    assert engine.signed[-1]["key_version"] == 1
    assert key.open().public_key() != old.public_key()
    assert key.model_copy(update={"version": 1}).open().public_key() == old.public_key()
    missing = key.model_copy(update={"version": 3})
    assert not missing.exists()
    with pytest.raises(KeyUnavailableError, match="has no version 3; there are 1, 2"):
        missing.open()


def test_a_signature_of_another_version_is_not_taken(engine: Transit, key: TransitKey) -> None:
    made = key.create("ec-p256")
    engine.prefix = "vault:v2:"
    with pytest.raises(KeyAway, match="not by version 1"):
        sign(made)


def test_the_namespace_and_the_mount_are_asked(engine: Transit, key: TransitKey) -> None:
    engine.namespace, engine.mount = "corp/pki", "keys/transit"
    made = key.model_copy(update={"namespace": "corp/pki", "mount": "keys/transit"}).create("ec-p256")
    verify(made.public_key(), sign(made))


def test_an_agent_on_the_way_adds_the_token(engine: Transit, key: TransitKey) -> None:
    engine.token = None
    without = key.model_copy(update={"token": None})
    without.create("ec-p256")
    assert without.exists()


def test_a_missing_key_is_named(key: TransitKey) -> None:
    with pytest.raises(KeyUnavailableError, match=r"transit/acme-ca-prod at https.* status 404; .* mount and name"):
        key.open()


def test_a_wrong_token_is_refused(engine: Transit, key: TransitKey) -> None:
    engine.token = "another"
    for ask in (key.open, key.exists):
        with pytest.raises(KeyUnavailableError, match=r"permission denied .* the token is still good"):
            ask()


def test_a_missing_token_is_named(key: TransitKey) -> None:
    with pytest.raises(KeyUnavailableError, match=r"the token of transit key .* no such environment variable"):
        key.model_copy(update={"token": Secret("env", "NO_SUCH_VARIABLE")}).open()


def test_a_token_that_ends_can_be_renewed(engine: Transit, key: TransitKey, tmp_path: Path) -> None:
    made = key.create("ec-p256")
    engine.token = "hvs.next"
    with pytest.raises(KeyAway, match="invalid token"):
        sign(made)
    (tmp_path / "token").write_text("hvs.next")
    made = key.open()
    (tmp_path / "token").unlink()
    with pytest.raises(KeyAway, match="No such file"):
        sign(made)


@pytest.mark.parametrize("status", [429, 500, 503, 412, 307])
def test_a_sealed_or_busy_server_is_away(engine: Transit, key: TransitKey, status: int) -> None:
    made = key.create("ec-p256")
    engine.instead = (status, {"errors": ["Vault is sealed"]})
    for ask in (key.open, key.exists, lambda: sign(made)):
        with pytest.raises(KeyAway, match=f"status {status}: Vault is sealed"):
            ask()


def test_what_is_refused_at_a_signature_is_said(engine: Transit, key: TransitKey) -> None:
    made = key.create("ec-p256")
    engine.instead = (400, {"errors": ["requested version for signing is less than the minimum signing key version"]})
    with pytest.raises(KeyAway, match=r"less than the minimum .* min_encryption_version"):
        sign(made)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"derived": True}, "is derived"),
        ({"supports_signing": False}, "does not sign; make one of ecdsa-p256"),
        ({"type": "aes256-gcm96", "keys": {"1": 1_700_000_000}}, "of type aes256-gcm96, which does not sign"),
        ({"keys": {"1": {"public_key": "junk"}}}, "public key cannot be read"),
        ({"type": "ed25519", "keys": {"1": {"public_key": "AAAA"}}}, "public key cannot be read"),
        ({"keys": {"1": {"public_key": key_service.pem_of(key_service.new_key("ec-k256"))}}}, "secp256k1"),
    ],
)
def test_keys_that_cannot_sign_here_are_refused(
    engine: Transit, key: TransitKey, described: dict[str, object], message: str
) -> None:
    key.create("ec-p256")
    engine.described = described
    with pytest.raises(KeyUnavailableError, match=message):
        key.open()


def test_names_are_for_people_and_files(key: TransitKey) -> None:
    assert str(key) == f"transit key transit/acme-ca-prod at {key.address}"
    assert key.stem == "acme-ca-prod"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("address", "http://vault.corp.example:8200"), ("name", "../a"), ("mount", "/transit"), ("namespace", "a b")],
)
def test_settings_are_checked(key: TransitKey, setting: str, value: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        TransitKey.model_validate(dict(key) | {setting: value})
