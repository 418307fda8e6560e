"""Those who ask whether a certificate is revoked: OpenSSL, GnuTLS and nginx, against the running CA."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support import ari
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.issue import authorize
from tests.support.jws import b64
from tests.support.root_crls import replace_list
from tests.support.server import Server, eventually, free_ports, prepare, serving
from tests.support.tools import require_tool
from tests.support.web import WebServer, serve

NAME = "a.test.localhost"


class Site:
    """A certificate that an ACME client got, in files, and who vouches for it."""

    def __init__(self, server: Server, folder: Path, client: AcmeClient, website: WebServer, profile: str) -> None:
        self.client = client
        key = ec.generate_private_key(ec.SECP256R1())
        _, order = client.order([NAME], profile=profile)
        authorize(client, website, order)
        finished = body_of(client.finalize(order, make_csr([NAME], key)))
        pem = client.ok(finished["certificate"]).text
        leaf, issuer = certificates(pem)
        self.leaf = leaf
        self.certificate, self.issuer, self.root = folder / "leaf.pem", folder / "issuer.pem", server.root
        self.chain, self.key = folder / "chain.pem", folder / "leaf.key"
        self.certificate.write_bytes(leaf.public_bytes(Encoding.PEM))
        self.issuer.write_bytes(issuer.public_bytes(Encoding.PEM))
        self.chain.write_text(pem)
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def revoke(self, reason: int = 1) -> None:
        """Revoke it by its account."""
        der = self.leaf.public_bytes(Encoding.DER)
        self.client.ok(self.client.url("revokeCert"), {"certificate": b64(der), "reason": reason})


@pytest.fixture(params=[1, 4])
def shards(request: pytest.FixtureRequest) -> int:
    """The number of shards of an issuer's list."""
    found: int = request.param
    return found


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose name is ordered."""
    with serve(WebServer()) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, shards: int, website: WebServer) -> Iterator[Server]:
    """A CA that offers revocable certificates with OCSP."""
    prepared = prepare(tmp_path)
    for name in ("dev", "test", "prod"):
        prepared.edit(
            f'zones = ["{name}.localhost"]\n', f'zones = ["{name}.localhost"]\nocsp = true\ncrl_shards = {shards}\n'
        )
    prepared.edit('"workload-1h", "server-8h"]', '"workload-1h", "server-8h", "server-7d"]')
    prepared.edit(f"http_port = {prepared.http_port}", f"http_port = {website.port}")
    with serving(tmp_path, prepared=prepared) as running:
        yield running


@pytest.fixture
def site(server: Server, website: WebServer, tmp_path: Path) -> Site:
    """A revocable certificate."""
    return Site(server, tmp_path, server.client().register(), website, "server-7d")


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=60)


def url_of(site: Site) -> str:
    """Where the certificate says that its list is."""
    (point,) = site.leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return "".join(str(name.value) for name in point.full_name or ())


def responder_of(site: Site) -> str:
    """Where the certificate says that its responder is."""
    access = site.leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    return str(next(one.access_location.value for one in access))


def fetch(server: Server, url: str, path: Path) -> bool:
    """Fetch a list into a file; whether there is one yet."""
    status, _, body = server.get("/" + url.split("/", 3)[3])
    path.write_bytes(body)
    return status == 200


def test_openssl_verifies_with_the_list_that_a_certificate_names(
    server: Server, site: Site, shards: int, tmp_path: Path
) -> None:
    openssl, crl, pem, root_crl = require_tool("openssl"), tmp_path / "1.crl", tmp_path / "crl.pem", url_of(site)
    eventually(lambda: fetch(server, root_crl, crl), "a first list")
    assert (f"/{int(site.leaf.serial_number) % shards}.crl" in root_crl) == (shards > 1)

    def verify() -> str:
        fetch(server, root_crl, crl)
        assert run(openssl, "crl", "-inform", "DER", "-in", crl, "-out", pem).returncode == 0
        checked = run(openssl, "crl", "-in", pem, "-noout", "-CAfile", site.issuer)
        assert "verify OK" in checked.stderr + checked.stdout
        strict = ("-x509_strict", "-purpose", "sslserver", "-extended_crl")
        trust = ("-CAfile", site.root, "-untrusted", site.issuer, "-CRLfile", pem, "-crl_check")
        found = run(openssl, "verify", *strict, *trust, site.certificate)
        return found.stdout + found.stderr

    assert f"{site.certificate}: OK" in verify()
    site.revoke()
    eventually(lambda: "certificate revoked" in verify(), "the revocation on the list")
    text = run(openssl, "crl", "-in", pem, "-noout", "-text").stdout
    assert "Key Compromise" in text
    assert ("X509v3 Issuing Distribution Point: critical" in text) == (shards > 1)


@pytest.mark.parametrize("shards", [1], indirect=True)
def test_openssl_verifies_every_certificate_up_to_the_root(server: Server, site: Site, tmp_path: Path) -> None:
    """With the lists that the leaf and the intermediate name."""
    intermediate = x509.load_pem_x509_certificate(site.issuer.read_bytes())
    (point,) = intermediate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    lists = [tmp_path / "leaf.crl", tmp_path / "root.crl"]
    for url, path in zip((url_of(site), (point.full_name or [])[0].value), lists, strict=True):
        eventually(lambda url=url, path=path: fetch(server, url, path), "a list")  # type: ignore[misc]
        pem = run(require_tool("openssl"), "crl", "-inform", "DER", "-in", path).stdout
        path.write_text(pem)

    def verify() -> str:
        crls = [word for path in lists for word in ("-CRLfile", path)]
        trust = ("-CAfile", site.root, "-untrusted", site.issuer, "-crl_check_all", "-x509_strict")
        found = run(require_tool("openssl"), "verify", *trust, *crls, site.certificate)
        return found.stdout + found.stderr

    assert f"{site.certificate}: OK" in verify()
    replace_list(tmp_path, revoked=[intermediate.serial_number])
    lists[1] = tmp_path / "certificates" / "root-1.crl"
    assert "error 23 at 1 depth lookup: certificate revoked" in verify()


def ask_openssl(site: Site, *options: str) -> str:
    command = ("ocsp", "-CAfile", site.root, "-issuer", site.issuer, *options, "-cert", site.certificate)
    found = run(require_tool("openssl"), *command, "-url", responder_of(site))
    return found.stdout + found.stderr


@pytest.mark.parametrize("shards", [1], indirect=True)
def test_openssl_and_gnutls_ask_the_responder(server: Server, site: Site, tmp_path: Path) -> None:
    del server  # it runs
    ways = ((), ("-no_nonce",), ("-sha256",), ("-no_nonce", "-sha256"))
    eventually(lambda: "good" in ask_openssl(site), "a responder")
    for way in ways:
        found = ask_openssl(site, *way)
        assert "Response verify OK" in found, found
        assert f"{site.certificate}: good" in found
        assert "WARNING" not in found
    unknown = ask_openssl(site, "-serial", "0x1234567890")
    assert "0x1234567890: unknown" in unknown
    assert f"{site.certificate}: good" in unknown
    gnutls = ask_gnutls(site, tmp_path)
    assert "Verifying OCSP Response: Success" in gnutls, gnutls
    assert "Certificate Status: good" in gnutls
    site.revoke()
    for way in ways:
        found = ask_openssl(site, *way)
        assert f"{site.certificate}: revoked" in found
        assert "Reason: keyCompromise" in found
    assert "Certificate Status: revoked" in ask_gnutls(site, tmp_path)


def ask_gnutls(site: Site, folder: Path) -> str:
    command = (f"--ask={responder_of(site)}", "--load-cert", site.certificate, "--load-issuer", site.issuer)
    answer = folder / "answer.der"
    found = run(require_tool("ocsptool"), *command, "--load-trust", site.issuer, "--nonce", "--outfile", answer)
    shown = run(require_tool("ocsptool"), "--response-info", "--infile", answer)
    return found.stdout + found.stderr + shown.stdout


@contextlib.contextmanager
def nginx(site: Site, folder: Path) -> Iterator[int]:
    """A web server that staples; the port it listens on."""
    (port,) = free_ports(1)
    trusted = folder / "trusted.pem"
    trusted.write_text(site.issuer.read_text() + site.root.read_text())
    config = folder / "nginx.conf"
    places = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log info;
        events {{}}
        http {{
            access_log off; {places}
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {site.chain}; ssl_certificate_key {site.key}; ssl_trusted_certificate {trusted};
                ssl_stapling on; ssl_stapling_verify on;
            }}
        }}"""
    )
    process = subprocess.Popen(
        [require_tool("nginx"), "-e", folder / "nginx.log", "-c", config],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: process.poll() is not None or _listens(port), "nginx")
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.parametrize("shards", [1], indirect=True)
def test_nginx_staples_what_the_responder_says(server: Server, site: Site, tmp_path: Path) -> None:
    del server  # it runs
    openssl = require_tool("openssl")
    eventually(lambda: "good" in ask_openssl(site), "a responder")

    def staple(port: int) -> str:
        found = subprocess.run(
            [
                openssl,
                "s_client",
                "-connect",
                f"127.0.0.1:{port}",
                "-servername",
                NAME,
                "-status",
                "-CAfile",
                site.root,
            ],
            input="",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return found.stdout

    with nginx(site, tmp_path) as port:  # its first answer has none: it asks then
        eventually(lambda: "Cert Status: good" in staple(port), "a staple")
        assert "Verify return code: 0 (ok)" in staple(port)
    site.revoke()
    log = tmp_path / "nginx.log"
    with nginx(site, tmp_path) as port:  # which staples no bad news, and says in its log what it was told
        eventually(lambda: staple(port) and 'certificate status "revoked"' in log.read_text(), "the revocation")


@pytest.mark.parametrize("shards", [1], indirect=True)
def test_a_short_lived_certificate_that_is_revoked_is_to_be_replaced_now(
    server: Server, website: WebServer, tmp_path: Path
) -> None:
    """It names no list. Its client learns it from the renewal information; who looks at the list finds it as well."""
    site = Site(server, tmp_path, server.client().register(), website, "server-1h")
    der = site.leaf.public_bytes(Encoding.DER)
    extensions = {extension.oid for extension in site.leaf.extensions}
    assert x509.CRLDistributionPoints.oid not in extensions
    before = body_of(ari.ask(site.client, ari.identifier(der)))["suggestedWindow"]
    site.revoke(4)
    after = body_of(ari.ask(site.client, ari.identifier(der)))["suggestedWindow"]
    assert after["end"] < before["start"]

    def listed() -> bool:
        _, _, body = server.get("/crl/test-1.crl")
        return (
            x509.load_der_x509_crl(body).get_revoked_certificate_by_serial_number(site.leaf.serial_number) is not None
        )

    eventually(listed, "the revocation on the list")
