"""docs/how-to/root-roll.md, done as it says against a served CA: no order fails, and every certificate verifies."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import terminal
from tests.support.acme_client import AcmeClient, certificates
from tests.support.issue import issue
from tests.support.roots import verifies
from tests.support.server import Server, eventually, prepare, serving
from tests.support.tools import ROOT, require_tool
from tests.support.web import WebServer, serve

FILES = ROOT / "docs" / "how-to" / "files"
PLAN = """\
[root]
name = "root-1"
common_name = "localhost root"
organization = "acme-ca"
kind = "ec-p384"
lifetime_days = 7300
key = {{ type = "software", path = "{keys}/root.key", passphrase = "file:{keys}/passphrase" }}

[crl]
next_update_days = 365
"""
LOOPBACK = '["127.0.0.1/32", "::1/128"]'  # which the listener of a CA below localhost is for as well
NEW_PASSPHRASE = "correct horse battery staple"
ALTERNATE = re.compile(r'<([^>]+)>;rel="alternate"')

pytestmark = pytest.mark.timeout(500)


@dataclass
class Roll:
    """The CA, the folder of the ceremonies, and every certificate that was issued, with its chain."""

    server: Server
    website: WebServer
    exchange: Path
    client: AcmeClient
    issued: list[list[x509.Certificate]] = field(default_factory=list)

    def run(self, name: str, yes: int = 0) -> str:
        """Run a script of the page; say yes so many times."""
        text = (FILES / name).read_text().replace("ca.corp.example:8080", f"127.0.0.1:{self.server.status_port}")
        text = text.replace('["ca.corp.example"]', f'["localhost"]\npermitted_ips = {LOOPBACK}').replace(
            "corp.example", "localhost"
        )
        text = text.replace("/var/lib/acme-ca", str(self.server.folder))
        text = text.replace("/media/root-2", str(self.exchange / "medium"))
        environ = {"ACME_CA_CONFIG": str(self.server.config), "ROOT_2_PASSPHRASE": NEW_PASSPHRASE}
        return terminal.run(text, self.exchange, ["y"] * yes, **environ)

    def edit_issuer(self, name: str, instead: str, *, keep: bool = False) -> None:
        """Put a table of the page in the place of an issuer's, or below it."""
        text = self.server.config.read_text()
        start = text.index(f'[[environment.prod.issuer]]\nname = "{name}"')
        end = text.index("\n\n", start) + 2
        new = (FILES / instead).read_text() + "\n" if instead else ""
        self.server.config.write_text(text[:start] + (text[start:end] if keep else "") + new + text[end:])

    def move_up(self) -> None:
        """Put the new issuer above the old one."""
        new = (FILES / "root-roll-issuer.toml").read_text() + "\n"
        text = self.server.config.read_text().replace(new, "")
        self.server.config.write_text(text.replace("[[environment.prod.issuer]]", f"{new}[[environment.prod.issuer]]"))

    def edit_service(self, chain: str, root: str) -> None:
        """Change the issuer of the CA's own listener."""
        text = self.server.config.read_text()
        start = text.index("[service.issuer]")
        end = text.index("\n\n", start)
        names = 'name = "service-2"\ncertificate = "certificates/service-2.pem"\n'
        key = 'key = { type = "software", path = "keys/service-2.key", passphrase = "file:keys/passphrase" }'
        self.server.config.write_text(f"{text[:start]}[service.issuer]\n{names}{chain}{root}{key}{text[end:]}")

    def reload(self) -> None:
        """SIGHUP, and wait until the new configuration is in force."""
        before = len(self.server.said("serve.ready"))
        self.server.signal(signal.SIGHUP)
        eventually(
            lambda: len(self.server.said("serve.ready")) > before or self.server.said("config.refused"), "the reload"
        )
        assert not self.server.said("config.refused")

    def order(self) -> list[x509.Certificate]:
        """Get a certificate; no order fails."""
        finished = issue(self.client, self.website, ["app.prod.localhost"])
        answer = self.client.ok(finished["certificate"])
        chain = certificates(answer.text)
        self.issued.append(chain)
        for url in ALTERNATE.findall(" ".join(answer.headers.getlist("Link"))):
            self.issued.append(certificates(self.client.ok(url).text))
        return chain

    def published(self) -> list[x509.Certificate]:
        """The roots as they are published."""
        return x509.load_pem_x509_certificates(self.server.get("/ca/prod/roots.pem")[2])

    def good(self, chain: Sequence[x509.Certificate], *roots: x509.Certificate) -> bool:
        """What openssl says of a chain with these roots alone."""
        return verifies(self.exchange / "openssl", chain, roots)

    def all_verify(self) -> bool:
        """Whether every certificate, by each of its chains, verifies with the roots that are published now."""
        return all(self.good(chain, *self.published()) for chain in self.issued)


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with serve(WebServer()) as running:
        yield running


@pytest.fixture
def roll(tmp_path: Path, website: WebServer) -> Iterator[Roll]:
    """A CA with the root that `acme-ca init` made, which has a transcript."""
    require_tool("openssl")
    exchange = tmp_path / "exchange"
    (exchange / "medium").mkdir(parents=True)
    folder = tmp_path / "ca"
    folder.mkdir()
    with serving(folder, prepared=prepare(folder, "--http-port", str(website.port))) as server:
        (exchange / "plan.toml").write_text(PLAN.format(keys=folder / "keys"))
        shutil.copy(server.root, exchange / "root-1.pem")
        terminal.run("acme-ca root adopt plan.toml", exchange, ["y"])
        yield Roll(server, website, exchange, server.client("prod").register())


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_page_holds(roll: Roll) -> None:
    old = certificate(roll.server.root)
    assert roll.good(roll.order(), old)
    new = announce(roll, old)
    cross_sign(roll)
    for chain in overlap(roll):
        assert roll.good(chain, old)
        assert roll.good(chain, new)
        assert roll.all_verify()
    assert [roll.good(chain, old) for chain in roll.issued[-2:]] == [True, False], "the alternate ends at the new root"
    assert roll.good(roll.issued[-1], new)
    end(roll, old, new)


def announce(roll: Roll, old: x509.Certificate) -> x509.Certificate:
    """Steps 1 and 2."""
    assert "2 acts, good" in roll.run("root-roll-create.sh", yes=2)
    new = certificate(roll.exchange / "root-2.pem")
    assert roll.published() == [old]
    roll.run("root-roll-publish.sh")
    roll.reload()
    assert roll.published() == [old, new]
    assert roll.server.get("/crl/root-2.crl")[0] == 200
    assert roll.good(roll.order(), old)
    assert roll.all_verify()
    return new


def cross_sign(roll: Roll) -> None:
    """Steps 3 and 4, up to the reload."""
    assert "2 acts, good" in roll.run("root-roll-cross-sign.sh", yes=1)
    roll.edit_issuer("prod-1", "root-roll-issuer.toml", keep=True)
    chain = 'chain = ["certificates/root-2-by-root-1.pem"]\n'
    roll.edit_service(chain, 'root = "certificates/root.pem"\nroot_crl = "certificates/root-1.crl"\n')
    roll.run("root-roll-requests.sh")
    assert "4 acts, good" in roll.run("root-roll-sign.sh", yes=2)
    told = roll.run("root-roll-import.sh")
    assert "is published" not in told, "the issuer chains to the old root, which everybody has"


def overlap(roll: Roll) -> Iterator[list[x509.Certificate]]:
    """The rest of step 4: certificates by the new issuer, before and after the old one is gone."""
    roll.reload()
    assert len(roll.order()) == 2
    roll.move_up()
    roll.reload()
    for gone in ("", "prod-1"):
        if gone:
            roll.edit_issuer(gone, "")
            roll.reload()
        eventually(lambda: len(roll.order()) == 3, "a chain by the cross-sign")
        yield next(chain for chain in reversed(roll.issued) if len(chain) == 3)


def end(roll: Roll, old: x509.Certificate, new: x509.Certificate) -> None:
    """Steps 5 and 6."""
    roll.edit_issuer("prod-2", "root-roll-issuer-end.toml")
    roll.edit_service("", 'root = "certificates/root-2.pem"\nroot_crl = "certificates/root-2.crl"\n')
    roll.run("root-roll-end.sh")
    roll.reload()
    assert set(roll.published()) == {old, new}
    assert roll.server.get("/crl/root-1.crl")[0] == 200
    chain = roll.order()
    assert [roll.good(chain, one) for one in (old, new)] == [False, True]
    assert roll.all_verify()
    roll.run("root-roll-remove.sh")
    roll.reload()
    assert roll.published() == [new]
    roll.order()
    below_new = [chain for chain in roll.issued if "prod-2" in chain[1].subject.rfc4514_string()]
    assert len(below_new) > 2
    assert all(roll.good(chain, new) for chain in below_new)
