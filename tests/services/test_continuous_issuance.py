"""Orders all the while, through two rotations of the issuer and a root roll: none fails, each certificate verifies.

Time is simulated: an order every ten minutes. What verifies, by openssl, is what is published at that moment, and what
a verifier has that looked ten minutes before: the roots, and the SPIFFE bundle.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from acme_ca import clock, config
from acme_ca.ceremony.configured import intermediate, root_key_in
from acme_ca.ceremony.issuers import find, request
from acme_ca.ceremony.new_keys import make_key
from acme_ca.keys import PrivateKey
from acme_ca.pki import ca as pki
from acme_ca.services import generations, versions
from tests.support import clocks
from tests.support.acme_client import AcmeClient, certificates
from tests.support.ca import RunningCa, make_ca_files, start_ca, with_environment
from tests.support.issue import issue
from tests.support.roots import verifies, write
from tests.support.rotation import rotate
from tests.support.web import WebServer

PAUSE = timedelta(minutes=10)
HOUR = 6  # pauses
YEAR = timedelta(days=365)
ENVIRONMENT = "[environment.test]\n"
SETTINGS = f"""{ENVIRONMENT}trust_domain = "test.localhost"
publish_ahead = 3600
rotation = {{ publish_ahead = 3600, automatic = false }}
"""
OLD = "[[environment.test.issuer]]"
VALIDATION = "[environment.test.validation]"
NEW = """[[environment.test.issuer]]
name = "next-1"
certificate = "certificates/next-1.pem"
chain = ["certificates/cross.pem"]
root = "certificates/root.pem"
alternates = [["certificates/next-1.pem"]]
key = { type = "software", path = "keys/next-1.key", passphrase = "file:keys/passphrase" }

"""
END = """[[environment.test.issuer]]
name = "next-1"
certificate = "certificates/next-1.pem"
root = "certificates/root-2.pem"
key = { type = "software", path = "keys/next-1.key", passphrase = "file:keys/passphrase" }

"""


@dataclass
class Fleet:
    """A CA whose configuration changes, and a client that orders all the while."""

    file: Path
    database_url: str
    website: WebServer
    ca: RunningCa = field(init=False)
    client: AcmeClient = field(init=False)
    orders: int = 0
    seen: tuple[list[x509.Certificate], list[x509.Certificate]] = ([], [])
    """Roots and bundle of the last order."""

    def __post_init__(self) -> None:
        self.ca = self._started()
        self.client = self.ca.client().register()

    @property
    def folder(self) -> Path:
        return self.file.parent

    def _started(self) -> RunningCa:
        found = config.load(self.file)
        network = found.environment["test"].validation.model_copy(update={"http_port": self.website.port})
        settings = with_environment(found, "test", validation=network)
        running = start_ca(settings, self.database_url, self.folder / "state")
        versions.keep(running.authority)
        return running

    def edit(self, before: str, after: str) -> None:
        """Change the configuration, and have it served."""
        text = self.file.read_text()
        assert before in text, before
        self.file.write_text(text.replace(before, after, 1))
        self.ca.close()
        self.ca = self._started()
        self.client.app = self.ca.app

    def go_on(self, pauses: int) -> list[x509.Certificate]:
        """Order after each pause; return the last certificate with its chain."""
        for _ in range(pauses):
            clocks.wait(PAUSE)
            self.ca.authority.see_issuers()
            generations.keep_up(self.ca.authority)
            versions.keep(self.ca.authority)
            chain = self._order()
        return chain

    def _order(self) -> list[x509.Certificate]:
        answer = self.client.ok(issue(self.client, self.website, ["a.test.localhost"])["certificate"])
        self.orders += 1
        chain = certificates(answer.text)
        for roots in filter(None, (self.roots, self.seen[0])):
            for other in (chain, *self._alternates(answer.headers.getlist("Link"))):
                assert self.verifies(other, roots), f"by the roots, order {self.orders}"
        for bundle in filter(None, (self.bundle, self.seen[1])):
            assert self.verifies(chain, bundle, "-partial_chain"), f"by the bundle, order {self.orders}"
        self.seen = self.roots, self.bundle
        return chain

    def _alternates(self, links: list[str]) -> Iterator[list[x509.Certificate]]:
        for link in links:
            url, _, relation = link.partition(";")
            if relation == 'rel="alternate"':
                yield certificates(self.client.ok(url.strip("<>")).text)

    def verifies(self, chain: list[x509.Certificate], roots: list[x509.Certificate], *options: str) -> bool:
        """What openssl says at the simulated time."""
        return verifies(self.folder / "openssl", chain, roots, "-attime", f"{clock.now():%s}", *options)

    @property
    def roots(self) -> list[x509.Certificate]:
        """The roots that are published now."""
        return x509.load_pem_x509_certificates(self.ca.app.test_client().get("/ca/test/roots.pem").data)

    @property
    def bundle(self) -> list[x509.Certificate]:
        """The issuers in the SPIFFE bundle that is published now."""
        found = self.ca.app.test_client().get("/ca/test/bundle.json").json or {}
        return [x509.load_der_x509_certificate(base64.b64decode(one["x5c"][0])) for one in found["keys"]]


@pytest.fixture
def fleet(tmp_path: Path, sqlite_url: str, website: WebServer) -> Iterator[Fleet]:
    """A CA with one environment, a trust domain, and its root's key."""
    file = make_ca_files(tmp_path / "ca", "--environment", "test")
    file.write_text(file.read_text().replace(ENVIRONMENT, SETTINGS))
    with clocks.moving():
        made = Fleet(file, sqlite_url, website)
        yield made
        made.ca.close()


def by(chain: list[x509.Certificate]) -> str:
    return chain[1].subject.rfc4514_string().split()[1].split(",")[0]


@pytest.mark.timeout(400)
def test_nobody_notices_two_rotations_and_a_root_roll(fleet: Fleet) -> None:
    assert by(fleet.go_on(HOUR)) == "test-1"
    rotate(fleet.ca.authority, fleet.folder)
    assert by(fleet.go_on(HOUR - 1)) == "test-1"
    assert by(fleet.go_on(HOUR)) == "test-2"
    (old,), new = fleet.roots, announce(fleet)
    fleet.go_on(HOUR + 1)
    sign_below_the_new_root(fleet, old, new)
    chain = fleet.go_on(HOUR + 1)
    assert (by(chain), len(chain)) == ("next-1", 3)
    assert all(fleet.verifies(chain, [root]) for root in (old, new[0])), "each root alone is enough"
    text = fleet.file.read_text()
    start = text.index(f'{OLD}\nname = "test-1"')
    fleet.edit(text[start : text.index("\n\n", start) + 2], "")
    fleet.go_on(2)
    fleet.edit(NEW, END)
    fleet.edit('anchors = ["certificates/root-2.pem"]', 'anchors = ["certificates/root.pem"]')
    fleet.go_on(2)
    rotate(fleet.ca.authority, fleet.folder)
    fleet.go_on(HOUR - 1)
    chain = fleet.go_on(HOUR)
    assert (by(chain), fleet.verifies(chain, [new[0]])) == ("next-2", True)
    fleet.edit('anchors = ["certificates/root.pem"]\n', "")
    assert fleet.roots == [new[0]]
    fleet.go_on(HOUR)
    assert fleet.orders > 7 * HOUR


def announce(fleet: Fleet) -> tuple[x509.Certificate, PrivateKey]:
    """Make the new root, and publish it."""
    place = fleet.folder / "certificates" / "root-2.pem"
    key, _ = make_key(root_key_in(fleet.ca.authority.config, fleet.folder / "keys", place), "ec-p384")
    start = clock.now().replace(microsecond=0) - timedelta(hours=1)
    root = pki.make_root(key, common_name="root 2", organization="Corp", not_before=start, not_after=start + 20 * YEAR)
    write(place, root)
    fleet.edit(SETTINGS, f'{SETTINGS}anchors = ["certificates/root-2.pem"]\n')
    return root, key


def sign_below_the_new_root(fleet: Fleet, old: x509.Certificate, new: tuple[x509.Certificate, PrivateKey]) -> None:
    """Have the old root cross-sign the new one, and a new issuer sign below it."""
    certificates_, settings = fleet.folder / "certificates", fleet.ca.authority.config
    now = clock.now().replace(microsecond=0)
    key = root_key_in(settings, fleet.folder / "keys", settings.service.issuer.root).open()
    cross = pki.make_cross_sign(old, key, new[0], not_before=now, not_after=now + YEAR, path_length=1)
    write(certificates_ / "cross.pem", cross)
    fleet.file.write_text(fleet.file.read_text().replace(VALIDATION, f"{NEW}{VALIDATION}", 1))
    planned = config.load(fleet.file, files=False)
    asked = request(find(planned, "test/next-1"), "ec-p256")
    write(certificates_ / "next-1.pem", intermediate(planned, asked.issuer, new, asked.key, 5 * YEAR))
    fleet.edit(NEW, NEW)
    assert by(fleet.go_on(HOUR)) == "test-2", "the new one is published, and does not sign"
    fleet.file.write_text(fleet.file.read_text().replace(NEW, "", 1))
    fleet.edit(OLD, f"{NEW}{OLD}")
