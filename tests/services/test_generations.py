"""Issuers that follow each other in a running CA: who signs, and what is published, without a restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from acme_ca import clock, config
from acme_ca.authority import Authority
from acme_ca.pki import crl
from acme_ca.pki.bundle import REFRESH_HINT
from acme_ca.pki.generations import SETTLING
from acme_ca.problems import Conflict
from acme_ca.services import crls, distrust, generations, responders, versions
from tests.support import clocks, rows
from tests.support.acme_client import AcmeClient, certificates
from tests.support.ca import RunningCa, key_file, make_ca_files, start_ca, with_environment
from tests.support.issue import issue
from tests.support.rotation import line, rotate
from tests.support.web import WebServer

NAME = "a.test.localhost"
WEEK = timedelta(days=7)
PROFILES = ("server-1h", "server-7d")


@pytest.fixture(autouse=True)
def moving_clock() -> Iterator[None]:
    with clocks.moving():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CA with one environment, and its root's key."""
    return make_ca_files(tmp_path / "ca", "--environment", "test").parent


@pytest.fixture
def ca(folder: Path, tmp_path: Path, database_url: str, website: WebServer) -> Iterator[RunningCa]:
    """A CA with lists, OCSP and a trust domain, on each kind of database."""
    found = config.load(folder / "acme-ca.toml")
    network = found.environment["test"].validation.model_copy(update={"http_port": website.port})
    changes: dict[str, Any] = {"profiles": PROFILES, "ocsp": True, "trust_domain": "test.example"}
    running = start_ca(with_environment(found, "test", validation=network, **changes), database_url, tmp_path / "state")
    yield running
    running.close()


def signers(ca: Authority) -> list[str]:
    ca.see_issuers()
    return [issuer.id for issuer in ca.environments["test"].issuers]


def published(ca: Authority) -> list[str]:
    ca.see_issuers()
    return [issuer.id for issuer in ca.environments["test"].generations]


def chain(client: AcmeClient, order: dict[str, Any]) -> list[x509.Certificate]:
    return certificates(client.ok(order["certificate"]).text)


def test_all_processes_follow_without_a_restart(ca: RunningCa, folder: Path, website: WebServer) -> None:
    with_another = Authority(ca.authority.config)
    client = ca.client().register()
    assert signers(ca.authority) == ["test-1"]
    signs_from = rotate(ca.authority, folder)
    assert signs_from - clock.now() > 7 * timedelta(seconds=REFRESH_HINT)
    for process in (ca.authority, with_another):
        assert (signers(process), published(process)) == (["test-1"], ["test-1", "test-2"])
    before = issue(client, website, [NAME])
    first = chain(client, before)
    clocks.wait(signs_from - clock.now())
    for process in (ca.authority, with_another):
        assert (signers(process), published(process)) == (["test-2"], ["test-1", "test-2"])
    second = chain(client, issue(client, website, [NAME]))
    assert chain(client, before) == first, "the old one's certificates can still be had"
    for leaf, issuer in (first, second):
        leaf.verify_directly_issued_by(issuer)
        issuer.verify_directly_issued_by(ca.root)
    assert first[1].subject != second[1].subject
    assert [text.partition(" ")[2] for text in (first[1].subject.rfc4514_string(),)] == ["test-1,O=acme-ca"]
    with_another.close()


def test_what_is_published_comes_early_and_stays_late(ca: RunningCa, folder: Path) -> None:
    web = ca.app.test_client()
    assert web.get("/issuers/test-2.crt").status_code == 404
    versions.keep(ca.authority)
    assert number_of_bundle(ca, 1) == 1
    signs_from = rotate(ca.authority, folder)
    ca.authority.see_issuers()
    versions.keep(ca.authority)
    assert number_of_bundle(ca, 2) == 2
    certificate = x509.load_der_x509_certificate(web.get("/issuers/test-2.crt").data)
    assert x509.load_pem_x509_certificate(web.get("/issuers/test-2.pem").data) == certificate
    crls.publish_due(ca.authority)
    made = x509.load_der_x509_crl(web.get("/crl/test-2.crl").data)
    assert made.is_signature_valid(certificate.public_key())  # type: ignore[arg-type]  # an EC key
    assert responders.renew(ca.authority) == 2
    assert web.post("/ocsp/test-2", data=b"x").status_code == 200
    clocks.wait(signs_from + line(ca.authority).rules.longest + SETTLING - clock.now())
    assert generations.keep_up(ca.authority) == 2
    assert generations.keep_up(ca.authority) == 0
    assert published(ca.authority) == ["test-2"]
    versions.keep(ca.authority)
    assert number_of_bundle(ca, 1) == 3
    assert web.get("/issuers/test-1.crt").status_code == 404
    assert web.post("/ocsp/test-1", data=b"x").status_code == 404
    events = rows.select(
        ca.authority.database, "SELECT event, subject FROM audit_events WHERE event LIKE 'issuer.%' ORDER BY id"
    )
    assert [tuple(row) for row in events] == [
        ("issuer.staged", "test-2"),
        ("issuer.activated", "test-2"),
        ("issuer.retired", "test-1"),
    ]


def number_of_bundle(ca: RunningCa, keys: int) -> int:
    found = ca.app.test_client().get("/ca/test/bundle.json").json or {}
    assert len(found["keys"]) == keys
    return int(found["spiffe_sequence"])


def test_an_issuer_is_served_as_long_as_a_leaf_of_it_lives(ca: RunningCa, folder: Path, website: WebServer) -> None:
    """Though nobody could have known: the profile is offered no more."""
    client = ca.client().register()
    order = issue(client, website, [NAME], profile="server-7d")
    signs_from = rotate(ca.authority, folder)
    ca.authority.see_issuers()
    with_less = with_environment(ca.authority.config, "test", profiles=("server-1h",))
    other = Authority(with_less)
    clocks.wait(signs_from - clock.now() - timedelta(days=1))
    late = issue(client, website, [NAME], profile="server-7d")
    clocks.wait(timedelta(days=2))
    assert generations.keep_up(other) == 1
    assert published(other) == ["test-1", "test-2"]
    assert chain(client, late)[1].subject != ca.root.subject
    clocks.wait(WEEK)
    assert generations.keep_up(other) == 1
    assert published(other) == ["test-2"]
    other.close()
    ca.authority.see_issuers()
    answer = client.refused(order["certificate"])
    assert answer[2] == 404


def test_without_its_key_the_one_before_goes_on(ca: RunningCa, folder: Path) -> None:
    """On a host that the operators forgot to copy it to; and it signs when the file is there."""
    signs_from = rotate(ca.authority, folder)
    assert published(ca.authority) == ["test-1", "test-2"]
    place = key_file(line(ca.authority).settings.key.beside(2))
    content = place.read_bytes()
    place.unlink()
    other = Authority(ca.authority.config)
    clocks.wait(signs_from - clock.now())
    assert (signers(other), published(other)) == (["test-1"], ["test-1", "test-2"])
    assert signers(ca.authority) == ["test-2"], "it has the key open"
    crls.publish_due(other)
    assert [one.key for one in crls.listing(ca.authority)] == ["test-1"], "who has the key makes the other list"
    place.write_bytes(content)
    other.issuers._closed["test-2"] = (0.0, ValueError())  # half a minute later
    assert (signers(other), published(other)) == (["test-2"], ["test-1", "test-2"])
    other.close()


def test_a_start_needs_somebody_who_signs(ca: RunningCa, folder: Path) -> None:
    signs_from = rotate(ca.authority, folder)
    clocks.wait(signs_from + line(ca.authority).rules.longest + SETTLING - clock.now())
    assert generations.keep_up(ca.authority) == 2
    key_file(line(ca.authority).settings.key).unlink()
    other = Authority(ca.authority.config)  # the key of one that is retired is needed no more
    assert signers(other) == ["test-2"]
    other.close()
    key_file(line(ca.authority).settings.key.beside(2)).unlink()
    with pytest.raises(Exception, match=r"test-2\.key: No such file"):
        Authority(ca.authority.config)


def test_a_stolen_key_lets_another_generation_sign(ca: RunningCa, folder: Path, website: WebServer) -> None:
    client = ca.client().register()
    wish = distrust.Wish(reason="stolen", spread=3600)
    test = ca.authority.environments["test"]
    with pytest.raises(Conflict, match="no other issuer of environment test can sign"):
        distrust.distrust(ca.authority, test, "test-1", wish, by="uid:0")
    signs_from = rotate(ca.authority, folder)
    ca.authority.see_issuers()
    told = distrust.distrust(ca.authority, ca.authority.environments["test"], "test-1", wish, by="uid:0")
    assert told.others == ("test-2",)
    assert is_by(chain(client, issue(client, website, [NAME])), "test-2"), "before its time"
    distrust.trust(ca.authority, ca.authority.environments["test"], "test-1", by="uid:0")
    assert is_by(chain(client, issue(client, website, [NAME])), "test-1")
    clocks.wait(signs_from + line(ca.authority).rules.longest + SETTLING - clock.now())
    ca.authority.see_issuers()
    distrust.distrust(ca.authority, ca.authority.environments["test"], "test-2", wish, by="uid:0")
    assert is_by(chain(client, issue(client, website, [NAME])), "test-1"), "the one before lives yet"
    assert generations.keep_up(ca.authority) == 0, "and stays"


def is_by(found: list[x509.Certificate], issuer: str) -> bool:
    return found[1].subject.rfc4514_string() == f"CN=localhost {issuer},O=acme-ca"


def test_revocation_reaches_the_lists_of_the_old_one(ca: RunningCa, folder: Path, website: WebServer) -> None:
    client = ca.client().register()
    old = chain(client, issue(client, website, [NAME], profile="server-7d"))
    clocks.wait(rotate(ca.authority, folder) - clock.now() - timedelta(hours=1))
    recent = chain(client, issue(client, website, [NAME], profile="server-7d"))
    assert recent[1] == old[1]
    clocks.wait(timedelta(hours=2))
    assert signers(ca.authority) == ["test-2"]
    crls.publish_due(ca.authority)
    rows.change(ca.authority.database, "UPDATE certificates SET revoked_at = created_at, revocation_reason = 4")
    crls.regenerate(ca.authority, by="uid:0")
    rows.change(ca.authority.database, "UPDATE crls SET due_at = :then, this_update = :then", then=rows.LONG_AGO)
    crls.publish_due(ca.authority)
    made = crl.read(ca.app.test_client().get("/crl/test-1.crl").data, old[1])
    assert {one.serial_number for one in made} >= {recent[0].serial_number}


def test_an_issuer_of_the_configuration_cannot_have_the_name_of_a_generation(ca: RunningCa, folder: Path) -> None:
    rotate(ca.authority, folder)
    (issuer,) = ca.authority.config.environment["test"].issuer
    twice = (issuer, issuer.model_copy(update={"name": "test-2"}))
    with pytest.raises(ValueError, match="'test-2' is the name of generation 2 of issuer 'test-1'"):
        Authority(with_environment(ca.authority.config, "test", issuer=twice))
