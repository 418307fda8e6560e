"""tls-alpn-01 against a real TLS server, with each kind of wrong certificate. RFC 8737 §3, RFC 8738 §6."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.challenges.base import Attempt, Unanswered
from acme_ca.challenges.tlsalpn01 import TlsAlpn01, _mistake
from acme_ca.identifiers import parse
from acme_ca.problems import IncorrectResponse, TlsFailed
from tests.challenges.contract import THUMBPRINT, TOKEN, ChallengeContract, Site
from tests.support import alpn
from tests.support.alpn import Recipe

NAME = "app.corp.example"
DIGEST = hashlib.sha256(f"{TOKEN}.{THUMBPRINT}".encode()).digest()
RIGHT = Recipe((NAME,), DIGEST)


class TestContract(ChallengeContract):
    type = "tls-alpn-01"
    wildcards = False
    addresses = True

    def answer_rightly(self, site: Site, attempt: Attempt) -> None:
        site.alpn.show(replace(RIGHT, digest=attempt.digest_bytes))

    def answer_wrongly(self, site: Site, attempt: Attempt) -> None:
        site.alpn.show(replace(RIGHT, digest=attempt.digest.encode()))

    def stay_silent(self, site: Site, attempt: Attempt) -> None:
        """A responder without a context accepts and stays silent."""


def test_the_handshake_asks_for_the_name(site: Site) -> None:
    site.alpn.show(RIGHT)

    (record,) = TlsAlpn01().validate(site.attempt()).records

    assert site.alpn.server_names == [NAME]
    assert record["port"] == site.alpn.port
    assert record["addressUsed"] == "127.0.0.1"


def test_the_name_of_the_certificate_may_be_in_upper_case(site: Site) -> None:
    site.alpn.show(replace(RIGHT, names=("APP.corp.example",)))

    assert TlsAlpn01().validate(site.attempt())


def test_an_address_is_asked_for_by_its_reverse_name(site: Site) -> None:
    site.alpn.show(replace(RIGHT, names=("127.0.0.1",)))

    assert TlsAlpn01().validate(site.attempt("127.0.0.1", "ip"))
    assert site.alpn.server_names == ["1.0.0.127.in-addr.arpa"]


@pytest.mark.parametrize(
    ("recipe", "seen"),
    [
        (replace(RIGHT, names=()), "no names"),
        (replace(RIGHT, names=("other.example",)), "is for 'other.example'"),
        (replace(RIGHT, names=("*.corp.example",)), "is for"),
        (replace(RIGHT, names=(NAME, "other.example")), "alone"),
        (replace(RIGHT, names=(NAME, NAME)), "alone"),
        (replace(RIGHT, names=(NAME, "10.0.0.1")), "alone"),
        (replace(RIGHT, more_names=(x509.RFC822Name("a@corp.example"),)), "alone"),
        (replace(RIGHT, names=(), more_names=(x509.RFC822Name(NAME),)), "alone"),
        (replace(RIGHT, digest=b""), "no acmeIdentifier"),
        (replace(RIGHT, extension=x509.ObjectIdentifier("1.3.6.1.5.5.7.1.30.1")), "no acmeIdentifier"),
        (replace(RIGHT, critical=False), "not critical"),
        (replace(RIGHT, digest=bytes(32)), "another acmeIdentifier"),
        (replace(RIGHT, digest=DIGEST[:31]), "another acmeIdentifier"),
        (replace(RIGHT, digest=DIGEST + b"\0"), "another acmeIdentifier"),
        (replace(RIGHT, der=DIGEST), "another acmeIdentifier"),
        (replace(RIGHT, der=b"\x04\x20" + DIGEST + b"\0"), "another acmeIdentifier"),
        (replace(RIGHT, der=b"\x24\x22\x04\x20" + DIGEST), "another acmeIdentifier"),
        (replace(RIGHT, self_signed=False), "not self-signed"),
        (replace(RIGHT, forged_signature=True), "not self-signed"),
    ],
)
def test_a_wrong_certificate_is_definite(site: Site, recipe: Recipe, seen: str) -> None:
    site.alpn.show(recipe)

    with pytest.raises(IncorrectResponse, match=seen) as refusal:
        TlsAlpn01().validate(site.attempt())

    assert NAME in refusal.value.detail
    assert "(127.0.0.1)" in refusal.value.detail


def test_an_address_is_no_name(site: Site) -> None:
    """The octets of the address as text in a dNSName prove nothing. RFC 8738 §6."""
    site.alpn.show(replace(RIGHT, names=(), more_names=(x509.DNSName("127.0.0.1"),)))

    with pytest.raises(IncorrectResponse, match="alone"):
        TlsAlpn01().validate(site.attempt("127.0.0.1", "ip"))


def test_the_protocol_must_be_agreed_on(site: Site) -> None:
    site.alpn.show(RIGHT, protocols=())

    with pytest.raises(IncorrectResponse, match="did not agree to acme-tls/1"):
        TlsAlpn01().validate(site.attempt())


def test_old_versions_of_tls_are_definite(site: Site) -> None:
    site.alpn.show(RIGHT)
    assert site.alpn.context is not None
    with pytest.warns(DeprecationWarning, match=r"TLSv1_1"):
        site.alpn.context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(TlsFailed, match="acme-tls/1"):
        TlsAlpn01().validate(site.attempt())


def test_a_server_that_does_not_speak_tls_is_definite(site: Site) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with listener, pytest.raises(TlsFailed):
        TlsAlpn01().validate(site.attempt(network=site.network(tls_port=listener.getsockname()[1])))
    thread.join()


def test_a_connection_that_breaks_is_silence(site: Site) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        sock, _ = listener.accept()
        sock.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    with listener, pytest.raises(Unanswered, match="broke the connection off"):
        TlsAlpn01().validate(site.attempt(network=site.network(tls_port=listener.getsockname()[1])))
    thread.join()


@settings(max_examples=50)
@given(octets=st.binary(max_size=400), cut=st.integers(0, 400), at=st.integers(0, 400))
def test_no_certificate_crashes(octets: bytes, cut: int, at: int) -> None:
    right = alpn.certificate(RIGHT)[0].public_bytes(Encoding.DER)

    for damaged in (octets, right[:cut], right[:at] + octets[:3] + right[at + 3 :]):
        assert damaged == right or _mistake(damaged, parse("dns", NAME), DIGEST) is not None
