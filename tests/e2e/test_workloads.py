"""Unmodified clients get certificates by what they are: a pod's token opens the account, and no name is proved."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from josepy.jwk import JWK, JWKRSA
from spiffe import SpiffeId, X509Svid

from tests.e2e import checks
from tests.e2e.drivers.acme_tiny import AcmeTiny
from tests.e2e.drivers.certbot import Certbot, DebianCertbot
from tests.e2e.drivers.library import Library
from tests.e2e.registry import CLIENTS
from tests.e2e.scenario import Client, Issued, Wish
from tests.e2e.workloads import PROFILE, Cluster, Service
from tests.support.clients import FETCH

pytestmark = pytest.mark.timeout(FETCH + 120)  # the first test of a client may have to fetch and compile it

CHALLENGE = re.compile(r"authorization/[^/]+/[^/]+")
PURPOSES = ("sslserver", "sslclient")


def clients(kinds: Sequence[type[Client]]) -> pytest.MarkDecorator:
    """Run the test with each of the clients."""
    return pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.slug()) for kind in kinds])


def wish_for(kind: type[Client], service: Service) -> Wish:
    """Wish for the service's name; who knows of profiles says which, all others get the one that the rule grants."""
    return Wish((service.name,), kind.ordinary, None if "profile" in kind.cannot else PROFILE)


def thumbprint(key: JWK) -> str:
    """The thumbprint of an account key, in base64url without padding. RFC 7638."""
    return base64.urlsafe_b64encode(key.thumbprint()).rstrip(b"=").decode()


@contextmanager
def no_challenge_posted(cluster: Cluster) -> Iterator[None]:
    """Read in the CA's log that in this block orders were finalized, and nobody answered a challenge."""
    before = cluster.log_size
    yield
    posted = cluster.posted(before)
    assert [path for path in posted if path.endswith("/finalize")], posted
    assert not [path for path in posted if CHALLENGE.fullmatch(path)], posted


def check(service: Service, issued: Issued, folder: Path) -> None:
    """The leaf has the identity and the name, nothing more; it serves and it calls."""
    san = issued.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.UniformResourceIdentifier) == [service.spiffe_id]
    assert san.get_values_for_type(x509.DNSName) == [service.name]
    assert len(list(san)) == 2
    usages = issued.leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    for purpose in PURPOSES:
        checks.chain_verifies(issued, service.cluster.ca.root, (service.name,), folder, purpose)


@clients([kind for kind in CLIENTS if "eab" not in kind.cannot])
def test_an_account_key_of_a_pod_is_all_that_a_client_needs(
    cluster: Cluster, new_home: Path, kind: type[Client], tmp_path: Path
) -> None:
    kind.version()
    service = cluster.service(kind.slug(), bound=True)
    client = kind(cluster.ca, new_home, service.new_eab())
    with no_challenge_posted(cluster):
        issued = client.issue(wish_for(kind, service))
    check(service, issued, tmp_path)


@clients([kind for kind in CLIENTS if not {"eab", "renew"} & set(kind.cannot)])
def test_a_renewal_needs_no_new_proof(cluster: Cluster, new_home: Path, kind: type[Client], tmp_path: Path) -> None:
    kind.version()
    service = cluster.service(f"{kind.slug()}-renews", bound=True)
    client, wish = kind(cluster.ca, new_home, service.new_eab()), wish_for(kind, service)
    before = client.issue(wish).serial
    with no_challenge_posted(cluster):
        renewed = client.renew(wish)
    assert renewed.serial != before
    check(service, renewed, tmp_path)


def test_a_key_is_bound_before_its_account_is_there(cluster: Cluster, new_home: Path, tmp_path: Path) -> None:
    """acme-tiny knows no external account binding: its key is made, bound, and only then registered."""
    AcmeTiny.version()
    service = cluster.service(AcmeTiny.slug())
    key = rsa.generate_private_key(65537, 2048)
    new_home.mkdir()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (new_home / "account.pem").write_bytes(pem)
    service.bind(thumbprint(JWKRSA(key=key)))
    with no_challenge_posted(cluster):
        issued = AcmeTiny(cluster.ca, new_home).issue(wish_for(AcmeTiny, service))
    check(service, issued, tmp_path)


def test_a_binding_is_refreshed_by_naming_the_account_key(cluster: Cluster, new_home: Path, tmp_path: Path) -> None:
    service = cluster.service("library-refreshes", bound=True)
    client, wish = Library(cluster.ca, new_home, service.new_eab()), wish_for(Library, service)
    before = client.issue(wish).serial
    service.bind(thumbprint(client.key))
    with no_challenge_posted(cluster):
        renewed = client.renew(wish)
    assert renewed.serial != before
    check(service, renewed, tmp_path)


def issue_by_library(service: Service, home: Path) -> Issued:
    """Get a certificate by the library, whose account key is bound before its account is there."""
    client = Library(service.cluster.ca, home)
    service.bind(thumbprint(client.key))
    return client.issue(wish_for(Library, service))


@clients([Certbot, DebianCertbot])
def test_a_rehearsal_does_not_spoil_the_binding(
    cluster: Cluster, new_home: Path, kind: type[Certbot], tmp_path: Path
) -> None:
    """`--dry-run` gives up the valid authorization of its order; the next order is born with another one."""
    kind.version()
    service = cluster.service(f"{kind.slug()}-rehearses", bound=True)
    client, wish = kind(cluster.ca, new_home, service.new_eab()), wish_for(kind, service)
    before = checks.audited(cluster.ca.database, "authorization.deactivated")
    with no_challenge_posted(cluster):
        client.rehearse(wish)
    assert checks.audited(cluster.ca.database, "authorization.deactivated") == before + 1
    with no_challenge_posted(cluster):
        issued = client.issue(wish)
    check(service, issued, tmp_path)


def test_who_is_no_workload_proves_the_name_and_gets_no_identity(cluster: Cluster, new_home: Path) -> None:
    """The other way round; and a challenge that is posted can be seen."""
    service, before = cluster.service("stranger"), cluster.log_size
    issued = Library(cluster.ca, new_home).issue(Wish((service.name,), "http-01"))
    assert [path for path in cluster.posted(before) if CHALLENGE.fullmatch(path)]
    checks.names_are(issued, (service.name,))


def root_alone(cluster: Cluster, context: ssl.SSLContext) -> None:
    """Trust what all clients of the CA trust."""
    context.load_verify_locations(cluster.ca.root)


def bundle_alone(cluster: Cluster, context: ssl.SSLContext) -> None:
    """Trust the authorities of the SPIFFE bundle, which need not be roots."""
    keys = json.loads(cluster.fetch(f"{cluster.ca.url}/acme/open/bundle"))["keys"]
    authorities = [base64.b64decode(key["x5c"][0]) for key in keys if key["use"] == "x509-svid"]
    context.load_verify_locations(cadata=b"".join(authorities))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def mutual(context: ssl.SSLContext, issued: Issued) -> ssl.SSLContext:
    """Show a certificate, and want one that is good by the strict rules."""
    context.load_cert_chain(issued.chain, issued.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("trust", [root_alone, bundle_alone])
def test_two_workloads_know_each_other(
    cluster: Cluster, tmp_path: Path, trust: Callable[[Cluster, ssl.SSLContext], None]
) -> None:
    called = cluster.service(f"called-{trust.__name__.replace('_', '-')}")
    caller = cluster.service(f"caller-{trust.__name__.replace('_', '-')}")
    server = mutual(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), issue_by_library(called, tmp_path / "called"))
    client = mutual(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), issue_by_library(caller, tmp_path / "caller"))
    for context in (server, client):
        trust(cluster, context)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        seen: list[str] = []
        thread = threading.Thread(target=answer_once, args=(server, listening, seen))
        thread.start()
        with (
            socket.create_connection(listening.getsockname(), timeout=60) as connection,
            client.wrap_socket(connection, server_hostname=called.name) as tls,
        ):
            assert tls.recv(16) == b"hello"
            assert identity_of(tls) == called.spiffe_id
        thread.join()

    assert seen == [caller.spiffe_id]


def answer_once(context: ssl.SSLContext, listening: socket.socket, seen: list[str]) -> None:
    """Take one connection, note who called, and greet."""
    listening.settimeout(60)
    connection, _ = listening.accept()
    with connection, context.wrap_socket(connection, server_side=True) as tls:
        seen.append(identity_of(tls))
        tls.sendall(b"hello")


def identity_of(tls: ssl.SSLSocket) -> str:
    """Read who is at the other end."""
    leaf = tls.getpeercert(binary_form=True)
    assert leaf is not None
    san = x509.load_der_x509_certificate(leaf).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (found,) = san.get_values_for_type(x509.UniformResourceIdentifier)
    return found


def test_the_chain_and_its_key_are_an_x509_svid(cluster: Cluster, new_home: Path) -> None:
    service = cluster.service("svid")
    issued = issue_by_library(service, new_home)
    svid = X509Svid.parse(issued.chain.read_bytes(), issued.key.read_bytes())
    assert svid.spiffe_id == SpiffeId(service.spiffe_id)
    assert [svid.leaf, *svid.cert_chain[1:]] == issued.certificates()
