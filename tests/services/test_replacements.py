"""Mass replacement through renewal information. RFC 9773."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock, metrics
from acme_ca.models.selection import Selection
from acme_ca.problems import Conflict, Malformed, NotFound
from acme_ca.services import replacements, selecting
from acme_ca.services.selecting import Expected
from acme_ca.vocabulary import MAX_SPREAD
from tests.support import ari, rows
from tests.support import ledger_lines as ledger
from tests.support.acme_client import AcmeClient, body_of, certificates
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.jws import b64
from tests.support.ledger_lines import line
from tests.support.web import WebServer

BY = "uid:0"
WHY = "https://intranet.example/why"


def obtain(client: AcmeClient, website: WebServer, name: str, **members: Any) -> str:  # noqa: ANN401 - members of newOrder
    """A certificate's ARI identifier."""
    order = issue(client, website, [name], **members)
    return ari.identifier(certificates(client.ok(order["certificate"]).text)[0].public_bytes(Encoding.DER))


def asked(client: AcmeClient, certificate: str) -> tuple[datetime, datetime, int, str | None]:
    """The window, Retry-After and explanation."""
    answer = ari.ask(client, certificate)
    body = body_of(answer)
    window = body["suggestedWindow"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    return start, end, int(answer.headers["Retry-After"]), body.get("explanationURL")


def test_fleet_is_told_to_renew_now_and_nobody_else_is(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    old = [obtain(client, website, f"n{number}.a.test.localhost") for number in range(2)]
    other = obtain(client, website, "b.test.localhost")
    usual = asked(client, other)
    below = Selection.of("test", below="a.test.localhost")
    replacements.start(ca.authority, below, 0, by=BY, explanation_url=WHY, expected=Expected(total=2))
    for certificate in old:
        start, end, _, why = asked(client, certificate)
        assert start < end <= clock.now()
        assert why == WHY
    assert asked(client, other) == usual
    new = obtain(client, website, "n0.a.test.localhost", replaces=old[0])
    for certificate in (new, old[0]):
        assert asked(client, certificate)[3] is None, "it is new, or replaced"


def test_progress_is_counted_to_the_end(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    old = [obtain(client, website, "a.test.localhost") for _ in range(3)]
    started = replacements.start(ca.authority, Selection.of("test"), 60, by=BY, expected=Expected(total=3))
    assert (started.total, started.remaining, started.replaced) == (3, 3, 0)
    for certificate in old[:2]:
        obtain(client, website, "a.test.localhost", replaces=certificate)
    assert (replacements.count(ca.authority), replacements.count(ca.authority)) == (1, 0)
    gauge = metrics.REPLACEMENT_CERTIFICATES
    assert [gauge.labels("test", state)._value.get() for state in ("total", "replaced", "remaining")] == [3, 2, 1]
    assert replacements.get(ca.authority, "test", started.id).remaining == 1
    obtain(client, website, "a.test.localhost", replaces=old[2])
    assert replacements.count(ca.authority) == 1
    done = replacements.get(ca.authority, "test", started.id)
    assert (done.status, done.replaced, done.remaining) == ("finished", 3, 0)
    with pytest.raises(Conflict):
        replacements.cancel(ca.authority, "test", started.id, by=BY)
    query = "SELECT event FROM audit_events WHERE event LIKE 'replacement.%' ORDER BY id"
    events = [event.event for event in rows.select(ca.authority.database, query)]
    assert events == ["replacement.started", "replacement.finished"]
    assert [one.id for one in replacements.page(ca.authority, "test").replacements] == [started.id]


def test_moments_are_spread_from_its_beginning_and_not_from_when_it_was_counted(ca: RunningCa) -> None:
    before = clock.now() - timedelta(minutes=40)
    lines = [line(created_at=before) for _ in range(20)]
    ledger.put(ca.authority.database, *lines, line(created_at=clock.now() - timedelta(minutes=1)))
    expected = selecting.preview(ca.authority, Selection.of("test"), as_of=before + timedelta(minutes=1)).expected
    started = replacements.start(ca.authority, Selection.of("test"), 1800, by=BY, expected=expected)
    assert (started.total, started.remaining) == (20, 20)
    assert all(started.moment(one) > clock.now() - timedelta(minutes=1) for one in lines)
    assert replacements.count(ca.authority) == 0


def test_what_has_a_successor_is_neither_counted_nor_waited_for(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    old = [obtain(client, website, "a.test.localhost") for _ in range(2)]
    obtain(client, website, "a.test.localhost", replaces=old[0])
    started = replacements.start(ca.authority, Selection.of("test"), 60, by=BY, expected=Expected(total=3))
    assert (started.total, started.remaining, started.replaced) == (2, 2, 0)
    obtain(client, website, "a.test.localhost", replaces=old[1])
    assert replacements.count(ca.authority) == 1
    found = replacements.get(ca.authority, "test", started.id)
    assert (found.total, found.remaining, found.replaced) == (2, 1, 1)


def test_moments_are_spread_and_stay(ca: RunningCa) -> None:
    lines = [line() for _ in range(60)]
    ledger.put(ca.authority.database, *lines)
    started = replacements.start(
        ca.authority, Selection.of("test", name="a.test.localhost"), 1800, by=BY, expected=Expected(total=60)
    )
    moments = [started.moment(one) for one in lines]
    assert moments == [replacements.get(ca.authority, "test", started.id).moment(one) for one in lines]
    assert all(timedelta() <= moment - started.created_at < timedelta(seconds=1800) for moment in moments)
    thirds = {int((moment - started.created_at).total_seconds() // 600) for moment in moments}
    assert thirds == {0, 1, 2}


def test_client_is_asked_to_come_back_for_its_moment(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    certificate = obtain(client, website, "a.test.localhost")
    usual = asked(client, certificate)
    started = replacements.start(ca.authority, Selection.of("test"), 1200, by=BY)
    (row,) = rows.select(ca.authority.database, "SELECT serial FROM certificates")
    moment = started.moment(line(serial=row.serial))
    start, end, retry_after, _ = asked(client, certificate)
    assert (start, end) < usual[:2]
    assert end == moment.replace(microsecond=0)
    assert 60 <= retry_after <= usual[2]
    assert retry_after <= max(60, (moment - clock.now()).total_seconds() + 1)
    cancelled = replacements.cancel(ca.authority, "test", started.id, by=BY)
    assert (cancelled.status, cancelled.remaining) == ("cancelled", 1)
    assert asked(client, certificate) == usual


def test_revoked_and_expired_end_it(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    order = issue(client, website, ["a.test.localhost"])
    leaf = certificates(client.ok(order["certificate"]).text)[0]
    started = replacements.start(ca.authority, Selection.of("test", account_id=account(client)), 600, by=BY)
    client.ok(client.url("revokeCert"), {"certificate": b64(leaf.public_bytes(Encoding.DER))})
    assert isinstance(leaf, x509.Certificate)
    assert replacements.count(ca.authority) == 1
    assert replacements.get(ca.authority, "test", started.id).status == "finished"


def account(client: AcmeClient) -> str:
    return rows.id_of(str(client.signer.kid))


def test_what_cannot_be_is_refused(ca: RunningCa) -> None:
    ledger.put(ca.authority.database, line(), line())
    for spread in (-1, MAX_SPREAD + 1):
        with pytest.raises(Malformed, match="spread"):
            replacements.start(ca.authority, Selection.of("test"), spread, by=BY, expected=Expected(total=2))
    with pytest.raises(Conflict):
        replacements.start(ca.authority, Selection.of("test"), 60, by=BY)
    finished = replacements.start(ca.authority, Selection.of("test", serial="1"), 60, by=BY)
    assert finished.status == "finished"
    for environment, key in (("test", "nothing"), ("prod", finished.id)):
        with pytest.raises(NotFound):
            replacements.get(ca.authority, environment, key)
        with pytest.raises(NotFound):
            replacements.cancel(ca.authority, environment, key, by=BY)
    for _ in range(replacements.MAX_RUNNING):
        replacements.start(ca.authority, Selection.of("test"), 60, by=BY, expected=Expected(total=2))
    with pytest.raises(Malformed, match="cancel"):
        replacements.start(ca.authority, Selection.of("test"), 60, by=BY, expected=Expected(total=2))
