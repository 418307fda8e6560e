"""A CA of ML-DSA below a root of its own: made by `acme-ca init`, served, asked by a client, verified by others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp, verification

from acme_ca import clock
from acme_ca.pki.signing import new_mldsa, signature_of
from acme_ca.public_keys import MldsaPublicKey
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.issue import authorize
from tests.support.jws import b64
from tests.support.server import Server, eventually, prepare, serving
from tests.support.tools import require_openssl
from tests.support.web import WebServer, serve

NAME = "a.test.localhost"
PROFILE = """
[profile.quantum-7d]
description = "ML-DSA throughout"
lifetime = 604800
extended_key_usages = ["serverAuth"]
key_types = ["ml-dsa-44", "ml-dsa-65"]
revocation = "crl"
"""


@pytest.fixture(scope="module")
def website() -> Iterator[WebServer]:
    """The host whose name is ordered."""
    with serve(WebServer()) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, website: WebServer) -> Iterator[Server]:
    """A CA whose environments sign with ML-DSA-65."""
    options = ("--environment", "test", "--root-key", "ml-dsa-65", "--issuer-key", "ml-dsa-65")
    prepared = prepare(tmp_path_factory.mktemp("ca"), *options)
    prepared.edit('"workload-1h", "server-8h"]', '"workload-1h", "server-8h", "quantum-7d"]')
    prepared.edit('zones = ["test.localhost"]\n', 'zones = ["test.localhost"]\nocsp = true\n')
    prepared.edit(f"http_port = {prepared.http_port}", f"http_port = {website.port}")
    prepared.config.write_text(prepared.config.read_text() + PROFILE)
    with serving(prepared.folder, prepared=prepared) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> AcmeClient:
    """An ACME client with an account; its key is on P-256, as account keys are."""
    return server.client().register()


@pytest.fixture(scope="module")
def chain(client: AcmeClient, website: WebServer) -> list[x509.Certificate]:
    """What it got for a key of ML-DSA-44."""
    _, order = client.order([NAME], profile="quantum-7d")
    authorize(client, website, order)
    finished = body_of(client.finalize(order, make_csr([NAME], new_mldsa("ml-dsa-44"))))
    return certificates(client.ok(finished["certificate"]).text)


def root_of(server: Server) -> x509.Certificate:
    """The root, as anybody can fetch it."""
    status, _, pem = server.get("/ca/test/root.pem")
    assert status == 200
    assert pem == (server.folder / "certificates" / "root-ml-dsa-65.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem)


def verify(server: Server, chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """Verify as a relying party does that trusts the root alone."""
    store = verification.Store([root_of(server)])
    verifier = verification.PolicyBuilder().store(store).time(clock.now()).build_server_verifier(x509.DNSName(NAME))
    return verifier.verify(chain[0], chain[1:])


def test_the_whole_chain_is_of_ml_dsa(server: Server, chain: list[x509.Certificate]) -> None:
    path = verify(server, chain)
    assert [signature_of(one) for one in path] == ["ml-dsa-65"] * 3
    assert isinstance(path[0].public_key(), MldsaPublicKey)


def test_the_listener_stays_with_what_every_client_can_read(server: Server) -> None:
    root = x509.load_pem_x509_certificate(server.root.read_bytes())
    assert signature_of(root) == "ecdsa-sha384"
    with server.connect() as connection:
        assert connection.version() == "TLSv1.3"


def test_openssl_verifies_it_too(server: Server, chain: list[x509.Certificate], tmp_path: Path) -> None:
    require_openssl(3, 5)
    root, above, leaf = (tmp_path / name for name in ("root.pem", "above.pem", "leaf.pem"))
    for path, one in ((root, root_of(server)), (above, chain[1]), (leaf, chain[0])):
        path.write_bytes(one.public_bytes(Encoding.PEM))
    command = ("openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", above, leaf)
    subprocess.run(command, check=True)


def test_an_unwanted_kind_of_key_is_refused(client: AcmeClient, website: WebServer) -> None:
    for profile, kind in (("quantum-7d", "ml-dsa-87"), ("server-1h", "ml-dsa-65")):
        _, order = client.order([NAME], profile=profile)
        authorize(client, website, order)
        answer = client.finalize(order, make_csr([NAME], new_mldsa(kind)))
        assert answer.status_code == 400
        assert f"the CSR has {kind}" in answer.text


def test_its_revocation_is_on_a_list_and_in_a_response_that_are_signed_so(
    server: Server, client: AcmeClient, chain: list[x509.Certificate]
) -> None:
    leaf, issuer = chain
    (point,) = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = point.full_name or []

    def listed() -> bool:
        status, _, der = server.get("/" + str(name.value).split("/", 3)[3])
        if status != 200:
            return False
        found = x509.load_der_x509_crl(der)
        assert found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # a CA's
        assert found.signature_algorithm_oid == leaf.signature_algorithm_oid
        return found.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None

    eventually(lambda: response_of(server, chain) is not None, "a responder")
    good = response_of(server, chain)
    assert good is not None
    assert good.certificate_status == ocsp.OCSPCertStatus.GOOD
    client.ok(client.url("revokeCert"), {"certificate": b64(leaf.public_bytes(Encoding.DER)), "reason": 4})
    eventually(listed, "the revocation on the list")
    revoked = response_of(server, chain)
    assert revoked is not None
    assert revoked.certificate_status == ocsp.OCSPCertStatus.REVOKED


def response_of(server: Server, chain: list[x509.Certificate]) -> ocsp.OCSPResponse | None:
    """The answer of the responder, whose signature is good; None while it has no key."""
    request = ocsp.OCSPRequestBuilder().add_certificate(chain[0], chain[1], SHA1()).build()
    path = f"/ocsp/test-1/{b64(request.public_bytes(Encoding.DER)).replace('-', '+').replace('_', '%2F')}"
    status, _, der = server.get(path)
    assert status == 200
    answer = ocsp.load_der_ocsp_response(der)
    if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
        return None
    (responder,) = answer.certificates
    responder.verify_directly_issued_by(chain[1])
    assert responder.not_valid_after_utc - clock.now() > timedelta(days=1)
    key = responder.public_key()
    assert isinstance(key, MldsaPublicKey)
    key.verify(answer.signature, answer.tbs_response_bytes)
    return answer


def test_the_keys_are_checked(server: Server) -> None:
    command = (sys.executable, "-m", "acme_ca", "key", "check", "--config", server.config)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ml-dsa-65" in done.stdout
