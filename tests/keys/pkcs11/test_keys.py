"""Keys in a token of SoftHSM: made, found, signed with; and what is refused when one is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pkcs11 import Attribute, MechanismFlag
from pydantic import TypeAdapter

from acme_ca import keys, public_keys
from acme_ca.keys import (
    AnyKey,
    KeyBackend,
    KeyUnavailableError,
    pkcs11_library,
)
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.secret import Secret
from acme_ca.vocabulary import KeyType
from tests.keys.contract import KeyContract, sign, verify
from tests.support.softhsm import PIN, SoftHsm, Token

SIGNING = MechanismFlag.SIGN | MechanismFlag.VERIFY
KINDS: tuple[KeyType, ...] = ("ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048", "rsa-3072")


def in_token(token: Token, work: Callable[[pkcs11.Session], object]) -> None:
    """Change a token by other means than the CA's."""
    door, found = token.key("any")._ways()
    with found.turn("test"):
        found.write(door, lambda session: (work(session), None)[1])


def destroy(token: Token, kind: str) -> None:
    def work(session: pkcs11.Session) -> None:
        for found in list(session.get_objects(_of(kind))):
            found.destroy()

    in_token(token, work)


def _of(kind: str) -> dict[Attribute, object]:
    return {Attribute.CLASS: pkcs11.ObjectClass[kind]}


class TestPkcs11Key(KeyContract):
    @pytest.fixture(params=KINDS)
    def backend(self, token: Token, request: pytest.FixtureRequest) -> KeyBackend:
        backend = token.key("ca")
        backend.create(request.param)
        return backend


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_the_asked_kind_is_made_and_stays(token: Token, kind: KeyType) -> None:
    backend = token.key("ca")
    assert not backend.exists()
    assert public_keys.check(backend.create(kind).public_key()) == kind
    assert backend.exists()
    with pytest.raises(KeyUnavailableError, match="exists already"):
        backend.create(kind)

    def look(session: pkcs11.Session) -> None:
        (found,) = session.get_objects({Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
        assert found[Attribute.SENSITIVE]
        assert found[Attribute.ALWAYS_SENSITIVE]
        assert found[Attribute.NEVER_EXTRACTABLE]
        assert not found[Attribute.EXTRACTABLE]
        assert not found[Attribute.DECRYPT]
        assert found[Attribute.PRIVATE]

    in_token(token, look)


@pytest.mark.parametrize("hash_", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_rsa_signs_with_both_paddings(token: Token, hash_: hashes.HashAlgorithm) -> None:
    key = token.key("ca").create("rsa-2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    for how in (padding.PKCS1v15(), padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)):
        key.public_key().verify(key.sign(b"message", how, hash_), b"message", how, hash_)


@pytest.mark.parametrize("scheme", ["", "file:", "file://"])
def test_the_uri_may_have_library_and_pin_file(token: Token, scheme: str) -> None:
    token.key("ca").create("ec-p256")
    keys.let_go()  # the user is logged in no more
    text = f"pkcs11:token={token.label};object=ca?module-path={token.module}&pin-source={scheme}{token.pin_file}"
    backend = TypeAdapter[KeyBackend](AnyKey).validate_python({"type": "pkcs11", "uri": text})
    key = backend.open()
    verify(key.public_key(), sign(key))
    assert str(backend) == f"pkcs11:token={token.label};object=ca"
    assert backend.stem == "ca"
    assert PIN not in repr(backend)


# --- what is refused when a key is opened ---


def test_a_wrong_pin_is_tried_once(token: Token) -> None:
    token.key("ca").create("ec-p256")
    keys.let_go()
    token.pin_file.write_text("1111111")
    with pytest.raises(KeyUnavailableError, match="refuses the PIN of file:"):
        token.key("ca").open()
    for _ in range(3):
        with pytest.raises(KeyUnavailableError, match="refused this PIN before"):
            token.key("ca").open()
    token.pin_file.write_text(PIN)
    assert token.key("ca").open()


def test_the_last_try_is_left_to_people(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkcs11_library, "LAST_TRY", pkcs11.TokenFlag.TOKEN_INITIALIZED)
    with pytest.raises(KeyUnavailableError, match="one more wrong PIN would lock the token"):
        token.key("ca").exists()


@pytest.mark.parametrize(
    ("pin", "reason"),
    [
        (None, "no private one that this PIN shows"),
        ("missing", "the PIN: file:.*No such file"),
        (b"\xff\xff\xff\xff", "is not UTF-8"),
    ],
)
def test_without_a_pin_nothing_is_seen(token: Token, tmp_path: Path, pin: object, reason: str) -> None:
    token.key("ca").create("ec-p256")
    keys.let_go()
    file = tmp_path / "pin"
    if isinstance(pin, bytes):
        file.write_bytes(pin)
    with pytest.raises(KeyUnavailableError, match=reason):
        token.key("ca", pin=None if pin is None else Secret("file", str(file))).open()


def test_a_missing_library_is_named(token: Token, tmp_path: Path) -> None:
    with pytest.raises(
        KeyUnavailableError, match=r"PKCS#11 library \S+/none\.so cannot be loaded: cannot open shared object file"
    ):
        token.key("ca", module=tmp_path / "none.so").open()


def test_a_missing_token_is_named_and_what_there_is(token: Token) -> None:
    other = token.key("ca", uri=Pkcs11Uri(token="nowhere", label="ca"))
    with pytest.raises(KeyUnavailableError, match=f"there is no such token; there are .*{token.label}"):
        other.open()


def test_two_tokens_of_one_label_are_told_apart_by_serial(softhsm: SoftHsm, token: Token) -> None:
    softhsm.token(token.label)
    with pytest.raises(KeyUnavailableError, match="2 tokens are so; name one by serial or slot-id"):
        token.key("ca").open()


def test_a_missing_key_is_named_and_what_there_is(token: Token) -> None:
    token.key("one").create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="there is no such key, but one; `acme-ca key generate`"):
        token.key("ca").open()


def test_two_keys_of_one_label_are_told_apart_by_id(token: Token) -> None:
    for id_ in (b"\x01", b"\xab"):
        token.key("ca", uri=Pkcs11Uri(token=token.label, label="ca", id=id_)).create("ec-p256")
    with pytest.raises(KeyUnavailableError, match="2 private keys are so, with id=%01, id=%AB"):
        token.key("ca").open()
    backend = token.key("ca", uri=Pkcs11Uri.parse(f"pkcs11:token={token.label};id=%ab"))
    key = backend.open()
    verify(key.public_key(), sign(key))
    assert backend.stem == "ab"


def test_a_public_key_alone_is_not_enough(token: Token) -> None:
    token.key("ca").create("ec-p256")
    destroy(token, "PRIVATE_KEY")
    with pytest.raises(KeyUnavailableError, match="there is a public key only"):
        token.key("ca").open()


def test_a_private_key_alone_is_not_enough(token: Token) -> None:
    token.key("ca").create("ec-p256")
    destroy(token, "PUBLIC_KEY")
    with pytest.raises(KeyUnavailableError, match="no public key of the same CKA_ID"):
        token.key("ca").open()


def test_the_public_key_of_another_is_found_out(token: Token) -> None:
    """Its certificate would be for a key that nobody has."""
    token.key("ca").create("ec-p256")
    token.key("other").create("ec-p256")

    def swap(session: pkcs11.Session) -> None:
        ids = {key[Attribute.LABEL]: key[Attribute.ID] for key in session.get_objects(_of("PUBLIC_KEY"))}
        for key in list(session.get_objects(_of("PUBLIC_KEY"))):
            key[Attribute.ID] = ids["other" if key[Attribute.LABEL] == "ca" else "ca"]

    in_token(token, swap)
    with pytest.raises(KeyUnavailableError, match="not by the public key beside it"):
        token.key("ca").open()


def make_rsa(token: Token, bits: int, use: MechanismFlag, **attributes: bool) -> None:
    """Make a key `ca` with attributes of the test's own: EXTRACTABLE and the like."""
    template = {Attribute[name]: value for name, value in attributes.items()}
    in_token(
        token,
        lambda session: session.generate_keypair(
            pkcs11.KeyType.RSA, bits, id=b"1", label="ca", store=True, private_template=template, capabilities=use
        ),
    )


def test_a_key_that_can_be_taken_out_is_refused_unless_allowed(token: Token) -> None:
    make_rsa(token, 2048, SIGNING, EXTRACTABLE=True, SENSITIVE=True, SIGN=True)
    with pytest.raises(KeyUnavailableError, match="CKA_EXTRACTABLE is not false"):
        token.key("ca").open()
    assert token.key("ca", extractable=True).open()


def test_a_key_for_something_else_is_refused(token: Token) -> None:
    use = MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT
    make_rsa(token, 2048, use, SIGN=False, DECRYPT=True, SENSITIVE=False)
    with pytest.raises(KeyUnavailableError, match="CKA_SIGN is not true, CKA_SENSITIVE is not true"):
        token.key("ca").open()


def test_a_weak_key_is_refused(token: Token) -> None:
    make_rsa(token, 1024, SIGNING, EXTRACTABLE=False)
    with pytest.raises(KeyUnavailableError, match="1024"):
        token.key("ca").open()


def test_a_new_key_needs_a_label(token: Token) -> None:
    with pytest.raises(KeyUnavailableError, match="needs a label"):
        token.key("ca", uri=Pkcs11Uri(token=token.label, id=b"1")).create("ec-p256")
