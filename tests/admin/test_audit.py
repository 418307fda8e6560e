"""The audit trail over the admin API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from acme_ca import clock
from acme_ca.services import audit, audit_seal
from tests.admin.conftest import Api
from tests.support.rows import select
from tests.support.trail import run, tampering

ACCOUNT = "0" * 25 + "a"
SERIAL = "0" * 33 + "7"


@pytest.fixture
def seqs(api: Api) -> Any:  # noqa: ANN401 - a function
    """Fill the trail, and return a function that searches in it and returns the details' numbers."""
    with api.ca.database.write() as connection:
        for number in range(6):
            audit.record(connection, "test", "order.created", f"order-{number}", account_id=ACCOUNT, number=number)
        audit.record(
            connection,
            "prod",
            "certificate.issued",
            "c1",
            account_id=ACCOUNT,
            serial=SERIAL,
            names=["dns:a.x"],
            number=6,
        )
        audit.record(connection, "prod", "account.revoked", ACCOUNT, account_id=ACCOUNT, by="admin:alice", number=7)
        audit.record(connection, "prod", "policy.changed", "prod", number=8)
    audit_seal.seal(api.ca)

    def search(query: str, asking: Api = api) -> list[int]:
        reply = asking("GET", f"/audit?{query}")
        assert reply.status == 200, reply.text
        return [item["details"]["number"] for item in reply.json["items"]]

    return search


def test_events_are_found_by_each_condition(seqs: Any) -> None:  # noqa: ANN401 - a function
    assert seqs("") == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert seqs("environment=prod") == [8, 7, 6]
    assert seqs("event=certificate.issued") == [6]
    assert seqs("event=order&limit=2") == [5, 4]
    assert seqs("actor=admin:alice") == [7]
    assert seqs("actor=system") == [8]
    assert seqs(f"actor={ACCOUNT}&environment=prod") == [6]
    assert seqs(f"account={ACCOUNT}&environment=prod") == [7, 6]
    assert seqs("subject=order-3") == [3]
    assert seqs("name=a.x") == [6]
    assert seqs("name=A.X&event=order") == []
    assert seqs(f"serial={SERIAL}") == [6]
    earlier, later = (clock.rfc3339(clock.now() + timedelta(hours=hours)) for hours in (-1, 1))
    assert len(seqs(f"since={earlier}&until={later}")) == 9
    assert seqs(f"since={later}") == seqs(f"until={earlier}") == []


def test_a_clock_that_stepped_back_hides_nothing(api: Api, seqs: Any) -> None:  # noqa: ANN401 - a function
    ids = [row[0] for row in select(api.ca.database, "SELECT id FROM audit_events ORDER BY id")]
    for number, hours in ((1, 4), (4, 3)):
        with tampering(api.ca.database) as connection:
            at = (clock.now() + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S.%f")
            run(connection, "UPDATE audit_events SET at = :at WHERE id = :id", at=at, id=ids[number])
    moment = clock.rfc3339(clock.now() + timedelta(hours=2))
    assert seqs(f"since={moment}") == [4, 1]
    assert seqs(f"until={moment}") == [8, 7, 6, 5, 3, 2, 0]


def test_pages_follow_each_other(api: Api, seqs: Any) -> None:  # noqa: ANN401 - a function
    found, after = [], ""
    while True:
        page = api("GET", f"/audit?limit=4{after}").json
        found += [item["seq"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == list(range(9, 0, -1))
    assert seqs("limit=1") == [8]


def test_an_event_is_shown_whole(api: Api, seqs: Any) -> None:  # noqa: ANN401 - a function
    assert seqs("subject=c1") == [6]
    (event,) = api("GET", "/audit?subject=c1").json["items"]
    assert (event["environment"], event["actor"], event["account"]) == ("prod", ACCOUNT, ACCOUNT)
    assert len(event["hash"]) == 64
    with api.ca.database.write() as connection:
        audit.record(connection, "prod", "policy.changed", "later")
    (event,) = api("GET", "/audit?subject=later").json["items"]
    assert (event["seq"], event["hash"]) == (None, None)


def test_an_auditor_of_one_environment_sees_no_other(api: Api, seqs: Any) -> None:  # noqa: ANN401 - a function
    auditor = api.become("auditor", "test")
    assert seqs("limit=1000", auditor) == [5, 4, 3, 2, 1, 0]
    assert "not for prod" in auditor("GET", "/audit?environment=prod").refused(403, "forbidden")


def test_checkpoints_are_listed(api: Api, seqs: Any) -> None:  # noqa: ANN401 - a function
    assert seqs("limit=1") == [8]
    (checkpoint,) = api("GET", "/audit/checkpoints").json["items"]
    assert checkpoint["seq"] == 9
    assert f"hash {checkpoint['hash']}\n" in checkpoint["text"]
    assert api("GET", "/audit/checkpoints?after=9").json == {"items": [], "next": None}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "after=x", "since=now", "since=2026-01-01T00:00:00", "nothing=1", "after=" + "9" * 30],
)
def test_bad_questions_are_refused(api: Api, query: str) -> None:
    assert 400 <= api("GET", f"/audit?{query}").status < 500


@pytest.mark.parametrize("after", ["x", "-1", "9" * 30])
def test_bad_cursors_of_checkpoints_are_refused(api: Api, after: str) -> None:
    assert 400 <= api("GET", f"/audit/checkpoints?after={after}").status < 500
