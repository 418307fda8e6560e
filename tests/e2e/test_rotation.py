"""Hours of continuous issuance through two rotations of the issuer and a roll of the root: no order fails."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from acme_ca import clock, config
from acme_ca.ceremony import succession
from acme_ca.ceremony.configured import root_key_in
from acme_ca.config import Config, Issuer
from acme_ca.config.rotation import Rotation
from acme_ca.db import Database
from acme_ca.keys import SoftwareKey
from acme_ca.pki.bundle import REFRESH_HINT
from acme_ca.services import crls, generations, versions
from tests.support import clocks, roots, rows
from tests.support.acme_client import AcmeClient, certificates
from tests.support.ca import RunningCa, make_ca_files, start_ca, with_environment
from tests.support.issue import issue
from tests.support.rotation import line
from tests.support.server import eventually, prepare, serving
from tests.support.tools import require_tool
from tests.support.web import WebServer, serve

pytestmark = pytest.mark.timeout(500)

NAME = "a.test.localhost"
MINUTE = timedelta(minutes=1)
SETTINGS: dict[str, Any] = {"profiles": ("server-1h",), "default_profile": "server-1h", "trust_domain": "test.example"}


@dataclass(frozen=True)
class Issued:
    """A certificate with its chain, and what was published when it was issued: PEM files, and the SPIFFE bundle."""

    at: datetime
    chain: list[x509.Certificate]
    roots: bytes
    bundle: frozenset[bytes]


@dataclass
class Watch:
    """A CA that issues a certificate each minute, and its worker."""

    settings: Config
    folder: Path
    database_url: str
    ca: RunningCa
    client: AcmeClient
    website: WebServer
    issued: list[Issued] = field(default_factory=list)

    def minutes(self, number: int) -> None:
        """Let some minutes pass."""
        for _ in range(number):
            clocks.wait(MINUTE)
            self.work()
            order = issue(self.client, self.website, [NAME])
            web = self.ca.app.test_client()
            keys = (web.get("/ca/test/bundle.json").json or {})["keys"]
            self.issued.append(
                Issued(
                    clock.now(),
                    certificates(self.client.ok(order["certificate"]).text),
                    web.get("/ca/test/roots.pem").data,
                    frozenset(b64decode(key["x5c"][0]) for key in keys),
                )
            )

    def work(self) -> None:
        """What the worker does at least once a minute."""
        authority = self.ca.authority
        generations.keep_up(authority)
        succession.follow(authority)
        authority.see_issuers()
        versions.keep(authority)
        crls.publish_due(authority)

    def start_again(self, **changes: Any) -> None:  # noqa: ANN401 - settings of any kind
        """Give the CA another configuration."""
        self.ca.close()
        self.settings = with_environment(self.settings, "test", **changes)
        self.ca = start_ca(self.settings, self.database_url, self.folder / "state")
        self.client.app = self.ca.app
        self.work()

    def issuers(self) -> list[str]:
        """Who signed, in this order."""
        names = (one.chain[1].subject.rfc4514_string() for one in self.issued)
        names = (name.partition(",")[0].removeprefix("CN=").removeprefix("localhost ") for name in names)
        return list(dict.fromkeys(names))


@pytest.fixture
def watch(tmp_path: Path, sqlite_url: str) -> Iterator[Watch]:
    """A CA whose issuers live five hours, some minutes before the first one is due to be followed."""
    require_tool("openssl")
    found = config.load(make_ca_files(tmp_path / "ca", "--environment", "test"))
    key = root_key_in(found, tmp_path / "ca" / "keys", found.environment["test"].issuer[0].root)
    rules = Rotation(before=3600, publish_ahead=3600, lifetime=5 * 3600, root_key=key)
    with clocks.moving(), serve(WebServer()) as website:
        network = found.environment["test"].validation.model_copy(update={"http_port": website.port})
        settings = with_environment(found, "test", validation=network, rotation=rules, **SETTINGS)
        ca = start_ca(settings, sqlite_url, tmp_path / "state")
        first = line(ca.authority)
        clocks.wait(first.rules.due_at(first.newest) - clock.now() - 10 * MINUTE)
        watch = Watch(settings, tmp_path, sqlite_url, ca, ca.client().register(), website)
        watch.work()
        yield watch
        watch.ca.close()


def test_no_order_fails_and_every_certificate_verifies(watch: Watch) -> None:
    while watch.issuers()[-1:] != ["test-3"]:
        watch.minutes(10)
        assert len(watch.issued) < 300
    new = roots.Root.make("root-2", lifetime=timedelta(days=30))
    anchor = roots.write(watch.folder / "root-2.pem", new.certificate)
    watch.start_again(anchors=(anchor,), publish_ahead=3600)
    watch.minutes(70)
    assert watch.issuers()[-1] == "test-3"
    below = issuer_below(new, anchor, watch.folder)
    watch.start_again(issuer=(below, *watch.settings.environment["test"].issuer))
    watch.minutes(15)
    assert watch.issuers() == ["test-1", "test-2", "test-3", "below-2"]
    assert all(verifies(one, watch.folder) for one in watch.issued)
    assert_published_ahead(watch.issued[:-15])
    assert all(one.at + timedelta(hours=1) < one.chain[1].not_valid_after_utc for one in watch.issued)


@pytest.mark.parametrize("settings", ["", "\n[signer]\n"], ids=["keys", "signer"])
def test_a_server_follows_without_a_restart(tmp_path: Path, settings: str) -> None:
    """Its processes are those of before: they see in the database what the command did, and whose time has come."""
    with serve(WebServer()) as website:
        prepared = prepare(tmp_path, "--http-port", str(website.port), "--environment", "test")
        prepared.config.write_text(prepared.config.read_text() + settings)
        with serving(tmp_path, prepared=prepared) as server:
            before = [process.pid for process in server.processes()]
            client = server.client("test").register()
            signers = [signer(client, website)]
            assert server.get("/issuers/test-2.crt")[0] == 404
            command = ["acme_ca", "issuer", "rotate", "test", "--config", str(server.config)]
            subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
            eventually(lambda: server.get("/issuers/test-2.crt")[0] == 200, "its certificate")
            eventually(lambda: server.get("/crl/test-2.crl")[0] == 200, "its list")
            signers.append(signer(client, website))
            database = Database(f"sqlite:///{tmp_path / 'acme-ca.db'}")
            rows.change(database, "UPDATE issuers SET activates_at = :then WHERE id = 'test-2'", then=rows.LONG_AGO)
            database.close()
            eventually(lambda: signer(client, website) == "CN=localhost test-2,O=acme-ca", "a leaf by it")
            assert signers == ["CN=localhost test-1,O=acme-ca"] * 2
            assert [process.pid for process in server.processes()] == before


def signer(client: AcmeClient, website: WebServer) -> str:
    """Who signs a certificate that is ordered now."""
    order = issue(client, website, [NAME])
    return certificates(client.ok(order["certificate"]).text)[1].subject.rfc4514_string()


def assert_published_ahead(issued: list[Issued]) -> None:
    """Each issuer was in the bundle of half an hour before, which is several times as long as verifiers keep one."""
    ahead = 30
    assert ahead * MINUTE > 4 * timedelta(seconds=REFRESH_HINT)
    for before, one in zip(issued, issued[ahead:], strict=False):
        assert one.chain[1].public_bytes(Encoding.DER) in before.bundle
        assert one.chain[1].public_bytes(Encoding.DER) in one.bundle
    first = issued[0].chain[1].public_bytes(Encoding.DER)
    assert first not in issued[-1].bundle, "its last leaf ended some hours ago"


def issuer_below(root: roots.Root, anchor: Path, folder: Path) -> Issuer:
    """An issuer of a name of its own below another root, as an operator configures it."""
    passphrase = (folder / "ca" / "keys" / "passphrase").read_bytes().strip()
    pem = roots.key("below-2").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    path = folder / "ca" / "keys" / "below-2.key"
    path.write_bytes(pem)
    secret = f"file:{folder / 'ca' / 'keys' / 'passphrase'}"
    certificate = roots.write(folder / "below-2.pem", root.intermediate("below-2"))
    key = SoftwareKey.model_validate({"path": path, "passphrase": secret})
    return Issuer(name="below-2", certificate=certificate, root=anchor, key=key)


def verifies(one: Issued, folder: Path) -> bool:
    """What openssl says of a certificate at its time, by what was published then."""
    (folder / "then.pem").write_bytes(one.roots)
    leaf, above = roots.write(folder / "leaf.pem", one.chain[0]), roots.write(folder / "above.pem", *one.chain[1:])
    command = [str(require_tool("openssl")), "verify", "-no-CApath", "-no-CAstore", "-attime"]
    command += [str(int(one.at.timestamp())), "-CAfile", str(folder / "then.pem"), "-untrusted", str(above), str(leaf)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
