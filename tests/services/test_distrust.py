"""Distrust of an issuer: nothing is signed with it from then on, and what it signed is replaced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock, config
from acme_ca.config import Config
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import Conflict, Malformed, NotFound
from acme_ca.services import crls, distrust, replacements, versions
from acme_ca.services.distrust import Standing, Wish
from tests.support import ari, rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa, start_ca, with_environment
from tests.support.issue import authorize, issue
from tests.support.two_issuers import make_two_issuers
from tests.support.web import WebServer

BY = "uid:0"
NAME = "a.test.localhost"
AT_ONCE = Wish("stolen", 0, explanation_url="https://intranet.example/why")


@pytest.fixture(scope="module")
def two_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A CA with a trust domain and two issuers."""
    settings = config.load(make_two_issuers(tmp_path_factory.mktemp("ca")))
    return with_environment(settings, "test", trust_domain="test.localhost")


@pytest.fixture
def two(two_settings: Config, tmp_path: Path, database_url: str, website: WebServer) -> Iterator[RunningCa]:
    """It runs."""
    network = two_settings.environment["test"].validation.model_copy(update={"http_port": website.port})
    running = start_ca(with_environment(two_settings, "test", validation=network), database_url, tmp_path / "state")
    yield running
    running.close()


def leaf(client: AcmeClient, website: WebServer, **members: Any) -> x509.Certificate:  # noqa: ANN401 - members of newOrder
    order = issue(client, website, [NAME], **members)
    return certificates(client.ok(order["certificate"]).text)[0]


def is_by(certificate: x509.Certificate, ca: RunningCa) -> str:
    """The name of the issuer that signed it."""
    return next(one.id for one in issuers(ca) if one.certificate.subject == certificate.issuer)


def issuers(ca: RunningCa) -> tuple[Issuer, ...]:
    return ca.authority.environments["test"].issuers


def begin(ca: RunningCa, wish: Wish = AT_ONCE, issuer: str = "test-1") -> Standing:
    environment = ca.authority.environments["test"]
    return distrust.distrust(ca.authority, environment, issuer, wish, by=BY)


def settle(ca: RunningCa) -> int:
    """Let the worker look when everybody knows."""
    statement = "UPDATE distrusted_issuers SET created_at = :then WHERE replacement_id IS NULL"
    rows.change(ca.authority.database, statement, then=rows.hours_ago(1))
    return distrust.begin_replacements(ca.authority)


def standing(ca: RunningCa) -> Standing:
    return distrust.show(ca.authority, ca.authority.environments["test"], "test-1")


def window_of(client: AcmeClient, identifier: str) -> tuple[datetime, str | None]:
    body = body_of(ari.ask(client, identifier))
    return datetime.fromisoformat(body["suggestedWindow"]["end"]), body.get("explanationURL")


def bundle_size(ca: RunningCa) -> tuple[int, int]:
    """How many keys the bundle has, and its sequence number."""
    found: Any = ca.app.test_client().get("/acme/test/bundle").json
    return len(found["keys"]), found["spiffe_sequence"]


def test_another_issuer_signs_and_the_fleet_moves(two: RunningCa, website: WebServer) -> None:
    client = two.client().register()
    old = leaf(client, website)
    identifier = ari.identifier(old.public_bytes(Encoding.DER))
    assert is_by(old, two) == "test-1"
    usual = window_of(client, identifier)
    begun = begin(two)
    assert (begun.live, begun.remaining, begun.replacement, begun.others) == (1, 1, None, ("test-2",))
    assert distrust.begin_replacements(two.authority) == 0, "not every process knows"
    assert window_of(client, identifier) == usual
    assert settle(two) == 1
    assert distrust.begin_replacements(two.authority) == 0
    end, why = window_of(client, identifier)
    assert (end <= clock.now(), why) == (True, "https://intranet.example/why")
    new = leaf(client, website, replaces=identifier)
    assert is_by(new, two) == "test-2"
    replacements.count(two.authority)
    done = standing(two)
    assert (done.live, done.replaced, done.remaining, done.ends_at) == (1, 1, 0, old.not_valid_after_utc)
    crls.publish_due(two.authority)
    assert {crl.issuer_id for crl in crls.listing(two.authority) if crl.number} >= {"test-1", "test-2"}
    query = "SELECT event FROM audit_events WHERE event LIKE 'issuer.%' OR event LIKE 'replacement.%' ORDER BY id"
    events = [row[0] for row in rows.select(two.authority.database, query)]
    assert events == ["issuer.distrusted", "replacement.started", "replacement.finished"]


def test_every_process_knows_and_what_one_signed_before_is_replaced_too(
    two: RunningCa, website: WebServer, tmp_path: Path
) -> None:
    other = start_ca(two.authority.config, str(two.authority.config.database.url), tmp_path / "other")
    try:
        client = other.client().register()
        other.authority.policies._look_again = math.inf  # it looked just before
        begin(two)
        late = leaf(client, website)
        assert is_by(late, other) == "test-1"
        settle(two)
        assert standing(two).remaining == 1
        assert window_of(client, ari.identifier(late.public_bytes(Encoding.DER)))[1] is not None
        other.authority.policies._look_again = 0.0  # a second went by
        assert is_by(leaf(client, website), other) == "test-2"
    finally:
        other.close()


def test_the_last_issuer_is_distrusted_by_force_alone(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    with pytest.raises(Conflict, match="503 until another issuer"):
        begin(ca)
    begin(ca, Wish("stolen", 60, force=True))
    url, order = client.order([NAME])
    authorize(client, website, order)
    client.waits = True  # a 503 is what is expected
    answer = client.finalize(order, make_csr([NAME]))
    assert (answer.status_code, client.get(url)["status"]) == (503, "ready")
    with pytest.raises(Conflict, match="distrusted already"):
        begin(ca, Wish("again", 60, force=True))


def test_a_mistake_is_taken_back(two: RunningCa, website: WebServer) -> None:
    client = two.client().register()
    identifier = ari.identifier(leaf(client, website).public_bytes(Encoding.DER))
    usual = window_of(client, identifier)
    begin(two, Wish("stolen", 0, unpublish=True))
    settle(two)
    assert window_of(client, identifier) != usual
    environment = two.authority.environments["test"]
    distrust.trust(two.authority, environment, "test-1", by=BY)
    assert window_of(client, identifier) == usual
    assert is_by(leaf(client, website), two) == "test-1"
    assert bundle_size(two)[0] == 2
    with pytest.raises(NotFound, match="distrusts no issuer"):
        distrust.trust(two.authority, environment, "test-1", by=BY)
    begin(two)


def test_it_leaves_the_bundle_when_told_and_not_before(two: RunningCa, website: WebServer) -> None:
    client = two.client().register()
    identifier = ari.identifier(leaf(client, website).public_bytes(Encoding.DER))
    versions.keep(two.authority)
    assert bundle_size(two) == (2, 1)
    begin(two)
    settle(two)
    assert bundle_size(two) == (2, 1)
    environment = two.authority.environments["test"]
    with pytest.raises(Conflict, match="1 valid certificates of issuer test-1 have no successor"):
        distrust.unpublish(two.authority, environment, "test-1", force=False, by=BY)
    leaf(client, website, replaces=identifier)
    for _ in range(2):
        done = distrust.unpublish(two.authority, environment, "test-1", force=False, by=BY)
        assert (done.published, bundle_size(two)) == (False, (1, 2))
    two.authority.versions_kept = False
    versions.keep(two.authority)
    assert bundle_size(two) == (1, 2), "a restart does not bring it back"


def test_by_now_it_leaves_the_bundle_at_once(two: RunningCa) -> None:
    versions.keep(two.authority)
    begin(two, Wish("stolen", 60, unpublish=True))
    assert bundle_size(two) == (1, 2)
    environment = two.authority.environments["test"]
    begin(two, Wish("stolen", 60, force=True), "test-2")
    with pytest.raises(Conflict, match="would be empty"):
        distrust.unpublish(two.authority, environment, "test-2", force=True, by=BY)


def test_strange_wishes_are_refused(two: RunningCa, ca: RunningCa) -> None:
    with pytest.raises(NotFound, match="there are test-1, test-2"):
        begin(two, issuer="prod-1")
    with pytest.raises(Malformed, match="spread"):
        begin(two, Wish("stolen", -1))
    with pytest.raises(Conflict, match="no trust domain"):
        begin(ca, Wish("stolen", 60, unpublish=True, force=True))
    assert distrust.listing(two.authority, two.authority.environments["test"]) == []
