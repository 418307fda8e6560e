"""docs/how-to/operate.md, done as it says against a served CA: policy, rollback, revocation, a fleet, the audit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.server import Server, eventually, prepare, serving
from tests.support.tools import ROOT, require_tool

FILES = ROOT / "docs" / "how-to" / "files"
NAME, DATABASE = "app.prod.localhost", "pg.db.prod.localhost"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A served CA."""
    with serving(tmp_path, prepared=prepare(tmp_path)) as running:
        yield running


def script(server: Server, name: str) -> str:
    """Run a script of the page beside the server, for names below localhost; return what it printed."""
    environ = os.environ | {
        "ACME_CA_CONFIG": str(server.config),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    text = (FILES / name).read_text().replace("corp.example", "localhost")
    done = subprocess.run(
        ["bash", "-eu", "-c", text],
        cwd=server.folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def certbot(server: Server, name: str, *options: str, home: str = "certbot") -> subprocess.CompletedProcess[str]:
    """Let certbot ask for a certificate."""
    folder = server.folder / home
    folders = ("--config-dir", folder, "--work-dir", folder / "work", "--logs-dir", folder / "logs")
    command: list[str | Path] = [
        *(Path(sys.executable).parent / "certbot", "certonly", "--non-interactive", "--agree-tos"),
        *("--register-unsafely-without-email", "--server", f"{server.url}/acme/prod/directory", *folders),
        *("--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", str(server.http_port)),
        *("--cert-name", name, "--domain", name, "--force-renewal", *options),
    ]
    environ = os.environ | {"REQUESTS_CA_BUNDLE": str(server.root)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)


def issued(server: Server, name: str) -> x509.Certificate:
    done = certbot(server, name)
    assert done.returncode == 0, done.stdout + done.stderr
    file = server.folder / "certbot" / "live" / name / "cert.pem"
    return x509.load_pem_x509_certificate(file.read_bytes())


def crl(server: Server) -> x509.CertificateRevocationList:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.status_port}/crl/prod-1.crl", timeout=10) as answer:
        return x509.load_der_x509_crl(answer.read())


def test_a_team_gets_what_its_key_is_for_and_loses_it_with_the_key(server: Server) -> None:
    require_tool("openssl")
    assert "3 more" in script(server, "operate-key.sh")
    key = json.loads((server.folder / "key.json").read_text())
    bound = ("--eab-kid", key["kid"], "--eab-hmac-key", key["mac_key"])
    refused = certbot(server, NAME, *bound, home="shop")
    assert refused.returncode != 0
    assert "it is for .shop.prod.localhost" in refused.stdout + refused.stderr
    done = certbot(server, "www.shop.prod.localhost", home="shop")
    assert done.returncode == 0, done.stdout + done.stderr
    told = script(server, "operate-key-end.sh")
    assert "1 certificate would be revoked" in told
    assert "is about 1 certificate (cessationOfOperation)" in told
    eventually(lambda: len(crl(server)) == 1, "the list")
    assert certbot(server, "www.shop.prod.localhost", home="shop").returncode != 0


def test_the_page_holds(server: Server) -> None:
    require_tool("openssl")
    first = issued(server, NAME)
    issued(server, DATABASE)

    told = script(server, "operate-policy.sh")
    assert "1 would now be denied" in told
    assert "Version 2 is in force" in told

    def refused() -> bool:
        done = certbot(server, DATABASE)
        return done.returncode != 0 and "rule no-databases" in done.stdout + done.stderr

    eventually(refused, "the refusal, with its rule")
    assert "Version 3 is in force" in script(server, "operate-rollback.sh")
    eventually(lambda: certbot(server, DATABASE).returncode == 0, "the certificate after the rollback")

    before = crl(server)
    script(server, "operate-revoke.sh")
    eventually(lambda: crl(server).get_revoked_certificate_by_serial_number(first.serial_number), "the list")
    assert before.get_revoked_certificate_by_serial_number(first.serial_number) is None

    assert "is running: 0 of 2 replaced" in script(server, "operate-replace.sh")
    assert "Nothing is wrong" in script(server, "operate-audit.sh")
    assert (server.folder / "audit.ecs.jsonl").stat().st_size > 0
