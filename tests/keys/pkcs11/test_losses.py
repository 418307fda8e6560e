"""Sessions, libraries and tokens that are lost, and come back."""

from __future__ import annotations

import contextlib
import secrets
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from acme_ca import keys
from acme_ca.keys import (
    KeyAway,
    PrivateKey,
    breaker,
    pkcs11_library,
)
from acme_ca.keys.pkcs11_library import Library
from tests.keys.contract import Child, sign, verify
from tests.support.softhsm import PIN, Token


def library(token: Token) -> Library:
    return pkcs11_library.library(token.module)


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
    monkeypatch.setattr(breaker, "LONGEST_PAUSE", 0.2)
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


def test_a_forked_process_has_its_own_turn(token: Token, key: PrivateKey) -> None:
    """Another thread of the parent may be in the middle of something."""
    with library(token).turn("test"):
        child = Child(key)
    verify(key.public_key(), child.signature())


def connected() -> ssl.SSLObject:
    """The server's end of a TLS connection in memory, without certificates."""
    ends = []
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    for side, incoming, outgoing in ((ssl.PROTOCOL_TLS_SERVER, one, other), (ssl.PROTOCOL_TLS_CLIENT, other, one)):
        context = ssl.SSLContext(side)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH:@SECLEVEL=0")
        ends.append(context.wrap_bio(incoming, outgoing, server_side=side is ssl.PROTOCOL_TLS_SERVER))
    for end in (*ends, *ends, *ends):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[0]


def test_what_a_library_leaves_behind_of_openssl_ends_no_connection(key: PrivateKey) -> None:
    """SoftHSM's errors stay in the thread's queue of OpenSSL, where Python takes them for those of its next read."""
    server = connected()
    with pytest.raises(ssl.SSLWantReadError):
        server.read()
    keys.let_go()
    sign(key)
    with pytest.raises(ssl.SSLWantReadError):
        server.read()
