"""The signer's socket: who may ask, what is no request, and what comes of a signer that goes and comes back."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from acme_ca import issuer_keys
from acme_ca.config import Config, Issuer, Signer
from acme_ca.keys import KeyAway, KeyRefused, KeyUnavailableError, PrivateKey, frames
from acme_ca.keys.elsewhere import GREETING
from acme_ca.keys.frames import LENGTHS, LONGEST_BODY, LONGEST_HEADER, Answer, Request
from acme_ca.server.sockets import listen
from acme_ca.signer import process
from tests.support.signer import RunningSigner, signing

HELLO = Request(issuer="test-1", scheme="ecdsa", hash="sha256")
NOBODY = 65534
ASKS = """
import os, sys
from pathlib import Path
os.setuid(int(sys.argv[1]))
from acme_ca.keys import signer, KeyAway, KeyRefused
from cryptography.hazmat.primitives.asymmetric import ec
try:
    signer.opened(Path(sys.argv[2]), "test-1", ec.generate_private_key(ec.SECP256R1()).public_key(), 5)
except Exception as error:
    print(type(error).__name__, error)
"""


def open_key(settings: Config, issuer: Issuer) -> PrivateKey:
    certificate = x509.load_pem_x509_certificate(issuer.certificate.read_bytes())
    return issuer_keys.open_key(settings, issuer.key, issuer.name, certificate)


@pytest.fixture
def key(running: RunningSigner) -> PrivateKey:
    """The key of an issuer, as a process of the CA has it."""
    return open_key(running.settings, running.settings.environment["test"].issuer[0])


@pytest.fixture
def line(running: RunningSigner) -> Iterator[socket.socket]:
    """A connection of somebody who speaks by hand."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(running.settings.signer_socket))
        yield connection


def answer(line: socket.socket) -> Answer:
    sizes = frames.lengths(line)
    assert sizes is not None
    return frames.rest(line, Answer, sizes, 10)[0]


def test_a_key_signs_from_several_threads_and_after_a_fork(key: PrivateKey) -> None:
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: sign_greeting(key), range(64)):
            verify_greeting(key, found)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, sign_greeting(key))
        finally:
            os._exit(0)
    os.close(writer)
    verify_greeting(key, sign_greeting(key))
    with os.fdopen(reader, "rb") as pipe:
        verify_greeting(key, pipe.read())
    os.waitpid(child, 0)


def sign_greeting(key: PrivateKey) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(GREETING, ec.ECDSA(SHA256()))


def verify_greeting(key: PrivateKey, signature: bytes) -> None:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    key.public_key().verify(signature, GREETING, ec.ECDSA(SHA256()))


def test_nothing_else_can_be_had_of_a_key(key: PrivateKey) -> None:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with pytest.raises(UnsupportedAlgorithm, match="signer:test-1 stays where it is: it can sign, and nothing else"):
        key.private_numbers()


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (LENGTHS.pack(LONGEST_HEADER + 1, 0), "a header of 2049 octets, expected at most 2048"),
        (LENGTHS.pack(10, LONGEST_BODY + 1), "a body of 67108865 octets, expected at most 67108864"),
        (b"GET / HTTP/1.1\r\nHost: signer\r\n\r\n", "a header of 18245 octets"),
        (LENGTHS.pack(2, 0) + b"{}", "a header that is none: issuer: Field required"),
        (LENGTHS.pack(4, 0) + b"\xff\xfe\x00{", "a header that is none: Invalid JSON"),
        (LENGTHS.pack(50, 0) + b'{"issuer": "test-1", "scheme": "ecdsa", "more": 1}', "more: Extra inputs"),
        (LENGTHS.pack(53, 0) + b'{"version": 2, "issuer": "test-1", "scheme": "ecdsa"}', "version: Input should be 1"),
    ],
)
def test_what_is_no_request_is_told_and_ends_the_connection(line: socket.socket, octets: bytes, reason: str) -> None:
    line.sendall(octets)
    told = answer(line)
    assert told.outcome == "refused"
    assert reason in told.detail
    with contextlib.suppress(ConnectionResetError):  # where more had been sent
        assert line.recv(1) == b""


def test_half_a_request_is_none(line: socket.socket) -> None:
    line.sendall(LENGTHS.pack(50, 0) + b'{"issuer"')
    line.shutdown(socket.SHUT_WR)
    assert "an end after 9 of 50 octets" in answer(line).detail


def test_an_issuer_that_is_unknown_and_an_algorithm_of_another_key_are_refused(line: socket.socket) -> None:
    for header, reason in (
        (HELLO.model_copy(update={"issuer": "other"}), "there is no key of issuer other; there are "),
        (HELLO.model_copy(update={"scheme": "ed25519", "hash": None}), "no way of signing"),
        (HELLO.model_copy(update={"scheme": "rsa-pss"}), "no way of signing"),
        (HELLO.model_copy(update={"hash": "md5"}), "no way of signing"),
    ):
        frames.send(line, header, GREETING)
        told = answer(line)
        assert told.outcome == "refused"
        assert reason in told.detail
    frames.send(line, HELLO, GREETING)
    assert answer(line).outcome == "signed", "one connection, whatever was refused before"


def test_there_are_not_more_connections_than_configured(settings: Config, tmp_path: Path) -> None:
    with signing(settings, tmp_path, connections=8) as running:
        path = str(running.settings.signer_socket)
        lines = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(9)]
        for line in lines:
            line.settimeout(10)
            line.connect(path)
        told = answer(lines[8])
        assert (told.outcome, told.retry_after) == ("away", 1)
        assert "there are 8 connections already" in told.detail
        for line in lines:
            line.close()


def test_whoever_asks_for_much_at_once_keeps_nobody_else_from_signing(line: socket.socket, key: PrivateKey) -> None:
    """Large messages are read a few at a time: one that never ends is given up."""
    line.sendall(LENGTHS.pack(10, LONGEST_BODY) + bytes(1000))
    verify_greeting(key, sign_greeting(key))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_turned_away_unless_the_configuration_names_them(settings: Config) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)

        def asked() -> str:
            path = folder / "signer.sock"
            words = [sys.executable, "-c", ASKS, str(NOBODY), str(path)]
            return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

        with signing(settings, folder):
            assert "KeyAway" in (told := asked())
            assert "this user may not connect; see `users` and `mode` of [signer]" in told
        with signing(settings, folder, mode="0666"):
            assert f"user {NOBODY} may not ask; see `users` of [signer]" in asked()
        with signing(settings, folder, mode="0666", users=(str(NOBODY),)):
            assert "its signatures are not by the public key beside it" in asked(), "it was answered"


def test_a_user_that_there_is_not_is_said(settings: Config, tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailableError, match=r"signer.users: there is no user 'no-such-user'"):
        signing(settings, tmp_path, users=("no-such-user",)).__enter__()


def test_a_signer_that_is_not_there_is_away_and_found_again(settings: Config, tmp_path: Path) -> None:
    first = signing(settings, tmp_path)
    running = first.__enter__()
    issuer = running.settings.environment["test"].issuer[0]
    key = open_key(running.settings, issuer)
    first.__exit__(None, None, None)
    assert running.settings.signer_socket.is_socket(), "it stays behind, and nobody listens"
    with pytest.raises(KeyAway, match="nobody listens there; start `acme-ca signer`") as caught:
        sign_greeting(key)
    assert int(caught.value.headers["Retry-After"]) >= 1
    with signing(settings, tmp_path):
        recover(key)
    running.settings.signer_socket.unlink()
    with pytest.raises(KeyAway, match="nobody listens there"):
        open_key(running.settings, issuer)


def recover(key: PrivateKey) -> None:
    """Sign as soon as the breaker lets one."""
    for _ in range(200):
        try:
            verify_greeting(key, sign_greeting(key))
        except KeyAway:
            threading.Event().wait(0.05)
        else:
            return
    pytest.fail("it did not come back")


def test_where_a_signer_listens_there_is_no_second_one(running: RunningSigner) -> None:
    with pytest.raises(OSError, match=r"cannot listen on unix:.*signer.sock \(signer\): Address already in use"):
        listen(running.settings, ("signer",), None)


def test_a_signer_that_does_not_answer_is_away(settings: Config, tmp_path: Path) -> None:
    own = settings.model_copy(update={"signer": config_of(tmp_path)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(tmp_path / "signer.sock"))
        silent.listen()
        with pytest.raises(KeyAway, match="no answer in time"):
            open_key(own, own.environment["test"].issuer[0])


def config_of(folder: Path) -> Signer:
    return Signer(socket=folder / "signer.sock", timeout=1, start=False)


def test_the_key_of_another_issuer_is_not_this_ones(running: RunningSigner) -> None:
    environments = running.settings.environment
    issuer = environments["test"].issuer[0]
    swapped = issuer.model_copy(update={"certificate": environments["prod"].issuer[0].certificate})
    with pytest.raises(KeyUnavailableError, match="its signatures are not by the public key beside it"):
        open_key(running.settings, swapped)
    with pytest.raises(KeyRefused, match=r"there is no key of issuer new-1; there are .*: reload the signer"):
        open_key(running.settings, issuer.model_copy(update={"name": "new-1"}))


def test_a_reload_changes_keys_and_users_or_nothing(running: RunningSigner, key: PrivateKey) -> None:
    settings = running.settings
    named = settings.environment["test"].issuer[0].model_copy(update={"name": "renamed-1"})
    environment = settings.environment["test"].model_copy(update={"issuer": (named,)})
    other = settings.model_copy(update={"environment": {"test": environment}})
    process.renew(running.server, other)
    with pytest.raises(KeyRefused, match=r"there is no key of issuer test-1; there are .*renamed-1"):
        sign_greeting(key)
    own = settings.signer
    assert own is not None
    broken = settings.model_copy(update={"signer": own.model_copy(update={"users": ("no-such-user",)})})
    with pytest.raises(KeyUnavailableError):
        process.renew(running.server, broken)
    verify_greeting(open_key(other, named), sign_greeting(open_key(other, named)))
    process.renew(running.server, settings)
    verify_greeting(key, sign_greeting(key))
