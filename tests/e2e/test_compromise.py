"""docs/how-to/compromise.md, done as it says against a served CA, from the theft to the root's list."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import ari
from tests.support.acme_client import AcmeClient, body_of, certificates
from tests.support.ca import make_ca_files
from tests.support.issue import issue
from tests.support.server import Server, eventually, prepare, serving
from tests.support.tools import ROOT, require_tool
from tests.support.web import WebServer, serve

FILES = ROOT / "docs" / "how-to" / "files"
NAME = "app.prod.localhost"
PROD = "[[environment.prod.issuer]]"
PLAN = """\
[root]
name = "root-1"
common_name = "localhost root"
organization = "acme-ca"
kind = "ec-p384"
lifetime_days = 7300
key = { type = "software", path = "keys/root.key", passphrase = "file:keys/passphrase" }

[crl]
next_update_days = 365
"""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with serve(WebServer()) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, website: WebServer) -> Iterator[Server]:
    """A served CA, prepared as the page says."""
    prepared = prepare(tmp_path, "--http-port", str(website.port))
    prepared.edit(PROD, (FILES / "compromise-issuer.toml").read_text() + f"\n{PROD}")
    prepared.edit('zones = ["prod.localhost"]', 'zones = ["prod.localhost"]\ntrust_domain = "prod.localhost"')
    with_old_first(prepared)
    make_ca_files(tmp_path)
    with serving(tmp_path, prepared=prepared) as running:
        yield running


def with_old_first(server: Server) -> None:
    """The old issuer is the one that signs before the theft: the new one stands ready below it."""
    text = server.config.read_text()
    new = (FILES / "compromise-issuer.toml").read_text()
    start = text.index('[[environment.prod.issuer]]\nname = "prod-1"')
    end = text.index("\n\n", start) + 2
    old = text[start:end]
    server.config.write_text(text.replace(old, "").replace(new, f"{old}{new}"))


def script(server: Server, name: str, **environ: str) -> str:
    """Run a script of the page beside the server; return what it printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", (FILES / name).read_text()],
        cwd=server.folder,
        env=os.environ | {"ACME_CA_CONFIG": str(server.config), "PATH": path} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def acme_ca(server: Server, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON carries
    """Run a command of the page; what it answers."""
    command = [sys.executable, "-m", "acme_ca", *arguments, "--config", str(server.config), "--json"]
    done = subprocess.run(command, cwd=server.folder, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def obtain(client: AcmeClient, website: WebServer, **members: Any) -> list[x509.Certificate]:  # noqa: ANN401 - members of newOrder
    return certificates(client.ok(issue(client, website, [NAME], **members)["certificate"]).text)


def issuer_of(chain: list[x509.Certificate]) -> str:
    return str(chain[1].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def verdict(server: Server, chain: list[x509.Certificate]) -> str:
    """What openssl says of a chain, with the lists that are published."""
    folder = server.folder / "openssl"
    folder.mkdir(exist_ok=True)
    lists = ["root-1.crl", *(f"{name}.crl" for name in ("prod-1", "prod-2"))]
    pems = [x509.load_der_x509_crl(server.get(f"/crl/{name}")[2]).public_bytes(Encoding.PEM) for name in lists]
    for name, parts in (
        ("leaf.pem", [chain[0].public_bytes(Encoding.PEM)]),
        ("above.pem", [one.public_bytes(Encoding.PEM) for one in chain[1:]]),
        ("lists.pem", pems),
    ):
        (folder / name).write_bytes(b"".join(parts))
    command: list[str] = [str(require_tool("openssl")), "verify", "-crl_check_all", "-CAfile", str(server.root)]
    command += ["-untrusted", "above.pem", "-CRLfile", "lists.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_page_holds(server: Server, website: WebServer) -> None:
    client = server.client("prod").register()
    old = obtain(client, website)
    assert issuer_of(old).endswith("prod-1")
    told = script(server, "compromise-distrust.sh")
    assert "1 valid certificate of prod/prod-1 would be replaced within 15 minutes; prod-2 would sign" in told
    assert "1 live, 0 replaced, 1 remain" in told

    def begun() -> bool:
        return acme_ca(server, "issuer", "distrusted", "prod/prod-1")["replacement"] is not None

    eventually(begun, "the replacement")
    identifier = ari.identifier(old[0].public_bytes(Encoding.DER))
    assert "suggestedWindow" in body_of(ari.ask(client, identifier))
    new = obtain(client, website, replaces=identifier)
    assert issuer_of(new).endswith("prod-2")
    assert "1 live, 1 replaced, 0 remain" in script(server, "compromise-watch.sh")

    assert acme_ca(server, "issuer", "unpublish", "prod/prod-1")["published"] is False
    bundle = json.loads(server.get("/ca/prod/bundle.json")[2])
    assert len(bundle["keys"]) == 1
    assert verdict(server, old).endswith("OK\n")
    assert "1 of 1 revoked" in script(server, "compromise-revoke.sh")
    revoke_by_the_root(server)
    eventually(lambda: "certificate revoked" in verdict(server, old), "the lists")
    assert verdict(server, new).endswith("OK\n")


def revoke_by_the_root(server: Server) -> None:
    """The fourth step, with the root that `acme-ca init` made."""
    (server.folder / "plan.toml").write_text(PLAN)
    shutil.copy(server.root, server.folder / "root-1.pem")
    digest = subprocess.run(["sha256sum", "plan.toml"], cwd=server.folder, check=True, capture_output=True, text=True)
    acme_ca_root = [sys.executable, "-m", "acme_ca", "root", "adopt", "plan.toml", "--yes"]
    subprocess.run([*acme_ca_root, "--plan-digest", digest.stdout.split()[0]], cwd=server.folder, check=True)
    serial = acme_ca(server, "issuer", "distrusted", "prod/prod-1")["serial"]
    script(server, "compromise-root.sh", SERIAL=serial)
    (newest,) = server.folder.glob("root-1.*.crl")
    shutil.copy(newest, server.folder / "certificates" / "root-1.crl")
    before = server.get("/crl/root-1.crl")[2]
    server.signal(signal.SIGHUP)
    eventually(lambda: server.get("/crl/root-1.crl")[2] != before, "the root's list")
