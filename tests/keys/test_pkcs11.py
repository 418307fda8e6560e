"""Keys in a token of SoftHSM: made, found, signed with; lost sessions, libraries and tokens; and each refusal."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pkcs11 import Attribute, MechanismFlag
from pydantic import TypeAdapter, ValidationError

from acme_ca import keys, public_keys
from acme_ca.keys import (
    AnyKey,
    KeyAway,
    KeyBackend,
    KeyUnavailableError,
    Pkcs11Key,
    PrivateKey,
    elsewhere,
    pkcs11_library,
)
from acme_ca.keys.pkcs11_library import Library
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.secret import Secret
from acme_ca.vocabulary import KeyType
from tests.keys.contract import KeyContract, sign, verify
from tests.support.softhsm import CONFIGURATION, PIN, SoftHsm, Token

KINDS: tuple[KeyType, ...] = ("ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048", "rsa-3072")


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(autouse=True)
def own(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> object:
    """Each test has SoftHSM, and a library that is not loaded yet."""
    monkeypatch.setenv(CONFIGURATION, str(softhsm.configuration))
    yield
    keys.let_go()


@pytest.fixture
def token(softhsm: SoftHsm) -> Token:
    return softhsm.token(f"token-{secrets.token_hex(4)}")


def library(token: Token) -> Library:
    return pkcs11_library.library(token.module)


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


def test_the_uri_may_have_library_and_pin_file(token: Token) -> None:
    token.key("ca").create("ec-p256")
    text = f"pkcs11:token={token.label};object=ca?module-path={token.module}&pin-source=file:{token.pin_file}"
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
    with pytest.raises(KeyUnavailableError, match=r"PKCS#11 library .*none\.so cannot be loaded"):
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


def test_a_key_that_can_be_taken_out_is_refused_unless_allowed(token: Token) -> None:
    def make(session: pkcs11.Session) -> None:
        template = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: True, Attribute.SIGN: True}
        session.generate_keypair(
            pkcs11.KeyType.RSA, 2048, id=b"1", label="ca", store=True, private_template=template,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        )  # fmt: skip

    in_token(token, make)
    with pytest.raises(KeyUnavailableError, match="CKA_EXTRACTABLE is not false"):
        token.key("ca").open()
    assert token.key("ca", extractable=True).open()


def test_a_key_for_something_else_is_refused(token: Token) -> None:
    def make(session: pkcs11.Session) -> None:
        template = {Attribute.SIGN: False, Attribute.DECRYPT: True, Attribute.SENSITIVE: False}
        session.generate_keypair(
            pkcs11.KeyType.RSA, 2048, id=b"1", label="ca", store=True, private_template=template,
            capabilities=MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT,
        )  # fmt: skip

    in_token(token, make)
    with pytest.raises(KeyUnavailableError, match="CKA_SIGN is not true, CKA_SENSITIVE is not true"):
        token.key("ca").open()


def test_a_weak_key_is_refused(token: Token) -> None:
    in_token(
        token,
        lambda session: session.generate_keypair(
            pkcs11.KeyType.RSA, 1024, id=b"1", label="ca", store=True, private_template={Attribute.EXTRACTABLE: False}
        ),
    )
    with pytest.raises(KeyUnavailableError, match="1024"):
        token.key("ca").open()


def test_a_new_key_needs_a_label(token: Token) -> None:
    with pytest.raises(KeyUnavailableError, match="needs a label"):
        token.key("ca", uri=Pkcs11Uri(token=token.label, id=b"1")).create("ec-p256")


# --- what goes away, and comes back ---


@pytest.fixture
def key(token: Token) -> PrivateKey:
    return token.key("ca").create("ec-p256")


def fails(key: PrivateKey, reason: str = ".") -> None:
    with pytest.raises(KeyAway, match=reason):
        sign(key)


def recover(key: PrivateKey) -> None:
    """Sign as soon as the breaker lets one."""
    for _ in range(200):
        try:
            verify(key.public_key(), sign(key))
        except KeyAway:
            threading.Event().wait(0.05)
        else:
            return
    pytest.fail("it did not come back")


def test_a_lost_session_is_opened_again(token: Token, key: PrivateKey) -> None:
    door, found = token.key("ca")._ways()
    found.with_session(door, lambda session: session.close())
    verify(key.public_key(), sign(key))


def test_a_finalized_library_is_initialized_again(token: Token, key: PrivateKey) -> None:
    loaded = library(token)._loaded
    assert loaded is not None
    loaded.finalize()
    verify(key.public_key(), sign(key))


def test_a_library_initialized_behind_its_back_works(token: Token, key: PrivateKey) -> None:
    loaded = library(token)._loaded
    assert loaded is not None
    loaded.reinitialize()
    verify(key.public_key(), sign(key))


def test_a_token_that_was_away_comes_back(token: Token, key: PrivateKey) -> None:
    for _ in range(3):
        token.take_out()
        fails(key)
        token.put_back()
        recover(key)


def test_the_pin_is_read_again_for_a_new_session(
    token: Token, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "LONGEST_PAUSE", 0.2)
    token.pin_file.write_text("nonsense")
    keys.let_go()
    fails(key, "refuses the PIN")
    token.pin_file.write_text(PIN)
    recover(key)


def test_one_that_hangs_keeps_others_waiting_for_a_while_only(
    token: Token, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11_library, "PATIENCE", 0.01)
    with library(token).turn("test"):
        fails(key, "has been busy")
    recover(key)


def test_idle_keys_are_tried(token: Token) -> None:
    token.key("ca").create("ec-p256")
    key = token.key("ca", keep_alive=0.05).open()
    library(token).let_go()
    for _ in range(200):
        if library(token)._sessions:
            break
        threading.Event().wait(0.05)
    assert library(token)._sessions
    sign(key)


class Load:
    """Threads that sign without a pause, and look at what they get."""

    def __init__(self, keys: list[PrivateKey]) -> None:
        self.end = threading.Event()
        self.signed = 0
        self.wrong: list[Exception] = []
        self._keys = keys

    def run(self, number: int) -> None:
        while not self.end.is_set():
            key, message = self._keys[number % len(self._keys)], secrets.token_bytes(20)
            try:
                verify(key.public_key(), sign(key, message), message)
                self.signed += 1
            except KeyAway:
                self.end.wait(0.01)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this looks for
                self.wrong.append(error)

    def go_on(self) -> bool:
        """Wait until something more is signed."""
        before = self.signed
        return any(self.signed > before or self.end.wait(0.05) for _ in range(600))


@pytest.mark.timeout(300)
def test_threads_sign_through_every_loss(token: Token) -> None:
    """No crash, no wrong signature: fifty times the library is finalized, or the token taken out and put back."""
    load = Load([token.key("ec").create("ec-p256"), token.key("rsa").create("rsa-2048")])
    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(load.run, number)
        try:
            for number in range(50):
                if number % 2:
                    token.take_out()
                    load.end.wait(0.02)
                    token.put_back()
                else:
                    _finalize(library(token))
                assert load.go_on(), f"nothing is signed after loss {number}"
        finally:
            load.end.set()
    assert load.wrong == []


def _finalize(found: Library) -> None:
    """As another part of the process would: without waiting for a turn. Libraries forbid it while one of them works."""
    with found.turn("test"):
        if found._loaded is not None:
            found._loaded.finalize()


def _of(kind: str) -> dict[Attribute, object]:
    return {Attribute.CLASS: pkcs11.ObjectClass[kind]}


# --- the configuration ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pkcs12:token=a;object=b", "expected a URI like pkcs11:"),
        ("pkcs11:", "object=LABEL or id="),
        ("pkcs11:token=a", "object=LABEL or id="),
        ("pkcs11:object=b", "token=LABEL, or serial or slot-id"),
        ("pkcs11:token=a;object=b;object=c", "attribute object is there twice"),
        ("pkcs11:token=a;object=", "object is empty"),
        ("pkcs11:token=a;object=b;colour=blue", "attribute 'colour' is not known; known are token"),
        ("pkcs11:token=a;object=b;type=public", "only a private key can sign"),
        ("pkcs11:token=a;object=%zz", "expected %XX"),
        ("pkcs11:token=a;object=%ff", "expected UTF-8"),
        ("pkcs11:token=a;object=%07", "expected printable"),
        ("pkcs11:slot-id=x;object=b", "slot-id: expected a decimal number"),
        ("pkcs11:token=a;object=b?pin-value=1234", "a PIN is never written here"),
        ("pkcs11:token=a;object=b?pin-value=1234&x", "a PIN is never written here"),
        ("pkcs11:token", "attribute 'token' is not known"),
    ],
)
def test_wrong_uris_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as raised:
        TypeAdapter[object](AnyKey).validate_python({"type": "pkcs11", "uri": text, "module": "/lib/p.so"})
    assert "1234" not in str(raised.value).replace(text, "")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a;object=b",
        "pkcs11:token=My%20token;manufacturer=Acme%2C%20Inc;model=M;serial=01;slot-id=7;object=k%C3%A9y;id=%01%FF",
        "pkcs11:serial=deadbeef;id=%00",
    ],
)
def test_uris_are_written_as_they_are_read(text: str) -> None:
    uri = Pkcs11Uri.parse(text)
    assert Pkcs11Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "expected the library once"),
        ({"module": "/lib/p.so", "uri": "pkcs11:token=a;object=b?module-path=/lib/p.so"}, "expected the library once"),
        (
            {"module": "/lib/p.so", "pin": "env:PIN", "uri": "pkcs11:token=a;object=b?pin-source=file:/pin"},
            "expected the PIN once",
        ),
        ({"module": "/lib/p.so", "pin": "1234"}, "a secret is written as"),
        ({"module": "/lib/p.so", "keep_alive": -1}, "greater than or equal to 0"),
    ],
)
def test_ambiguous_settings_are_refused(more: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Pkcs11Key.model_validate({"type": "pkcs11", "uri": "pkcs11:token=a;object=b", **more})


def test_a_forked_process_has_its_own_turn(token: Token, key: PrivateKey) -> None:
    """Another thread of the parent may be in the middle of something."""
    reader, writer = os.pipe()
    with library(token).turn("test"):
        child = os.fork()
        if child == 0:
            try:
                os.write(writer, sign(key))
            finally:
                os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        verify(key.public_key(), pipe.read())
    os.waitpid(child, 0)
