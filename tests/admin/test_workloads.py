"""Bindings of workloads over the admin API."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from acme_ca import config
from acme_ca.config import Config
from acme_ca.models.audit_event import AUDIT_EVENTS
from tests.admin.conftest import Api
from tests.support import machines

PATH = "/environments/prod/bindings"


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A CA that believes a platform."""
    return config.load(machines.make(tmp_path_factory.mktemp("ca")))


def admit(api: Api, subject: str, query: str = "", **more: object) -> dict[str, object]:
    wanted = {"provider": "ci", "subject": subject, "claims": {"rack": "r1"}, **more}
    made = api("POST", PATH + query, wanted)
    assert made.status == (200 if query else 201), made.text
    found: dict[str, object] = made.json
    return found


def test_workloads_are_admitted_listed_and_ended(api: Api) -> None:
    made = [admit(api, f"m{number}", minutes=5) for number in range(3)]
    first = api("GET", f"{PATH}?limit=2").json
    assert [row["subject"] for row in first["items"]] == ["m2", "m1"]
    assert [row["subject"] for row in api("GET", f"{PATH}?after={first['next']}").json["items"]] == ["m0"]
    (row,) = api("GET", f"{PATH}?subject=m1&live=true&rule=machines&provider=ci").json["items"]
    assert (row["spiffe_id"], row["status"]) == ("spiffe://prod.localhost/machine/m1", "live")
    assert row == made[1]["binding"]
    assert api("POST", f"{PATH}/revoke?dry_run=true", {"rule": "machines", "reason": "x"}).json == {"ended": 3}
    assert api("POST", f"{PATH}/revoke", {"subject": "m1", "reason": "gone"}).json == {"ended": 1}
    assert len(api("GET", f"{PATH}?live=true").json["items"]) == 2
    api("POST", f"{PATH}/revoke", {"subject": "m1", "reason": "gone"}).refused(404)
    api("POST", f"{PATH}/release", {"provider": "ci"}).refused(404)
    with api.ca.database.read() as connection:
        told = connection.execute(select(AUDIT_EVENTS.c.event, AUDIT_EVENTS.c.actor).order_by(AUDIT_EVENTS.c.id)).all()
    assert [tuple(row) for row in told if row.event.startswith("workload.")] == [
        *[("workload.admitted", "uid:0")] * 3,
        ("workload.revoked", "uid:0"),
    ]


def test_a_dry_run_admits_nobody_and_shows_no_key(api: Api) -> None:
    made = admit(api, "m1", "?dry_run=true")
    assert made["mac_key"] is None
    assert api("GET", PATH).json["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/revoke", {"reason": "x"}, "expected one of"),
        ("/revoke", {"reason": "x", "subject": "a", "rule": "b"}, "expected one of"),
        ("/revoke", {"subject": "a"}, "reason"),
        ("/release", {}, "expected one of"),
        ("", {"provider": "ci", "subject": "a", "claims": [], "minutes": 1}, "claims"),
        ("", {"provider": "ci", "subject": "a", "claims": {}, "minutes": 0}, "minutes"),
        ("", {"provider": "ci", "subject": "", "claims": {}}, "subject"),
    ],
    ids=json.dumps,
)
def test_bad_calls_are_refused_by_their_field(api: Api, path: str, body: object, told: str) -> None:
    assert told in api("POST", PATH + path, body).refused(400)


def test_what_no_rule_grants_is_refused(api: Api) -> None:
    wanted = {"provider": "ci", "subject": "m1", "claims": {"rack": "r2"}}
    assert "rack" in api("POST", PATH, wanted).refused(403)
    dev = PATH.replace("prod", "dev")
    assert "no provider" in api("POST", dev, wanted).refused(404)


def test_only_a_ca_admin_vouches_and_only_for_their_environments(api: Api) -> None:
    """Who may vouch gets certificates without any proof."""
    wanted = {"provider": "ci", "subject": "m1", "claims": {"rack": "r1"}}
    assert api.become("operator")("POST", PATH, wanted).status == 403
    assert api.become("ca-admin", "dev")("POST", PATH, wanted).status == 403
    assert api.become("ca-admin", "prod", name="eve")("POST", PATH, wanted).status == 201
