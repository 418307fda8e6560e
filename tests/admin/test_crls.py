"""Revocation lists by the admin API."""

from __future__ import annotations

from acme_ca.services import crls
from tests.admin.conftest import Api

TEST = "/crls/test-1/regenerate"


def test_lists_are_paged(api: Api) -> None:
    assert api("GET", "/crls").json == {"items": [], "next": None}
    crls.publish_due(api.ca)
    first = api("GET", "/crls?limit=2").json
    assert [(crl["environment"], crl["issuer"], crl["shard"]) for crl in first["items"]] == [
        ("dev", "dev-1", None),
        ("prod", "prod-1", None),
    ]
    (last,) = api("GET", f"/crls?limit=2&after={first['next']}").json["items"]
    assert (last["key"], last["entries"]) == ("test-1", 0)
    assert last["number"] > 0
    assert last["size"] > 0
    assert last["this_update"] < last["next_update"]
    assert api("GET", "/crls?limit=3").json["next"] is None


def test_a_list_is_made_anew(api: Api) -> None:
    api("POST", TEST).refused(404)
    crls.publish_due(api.ca)
    assert api("POST", f"{TEST}?dry_run=true").json == {"crls": ["test-1"]}
    assert crls.publish_due(api.ca) == 0
    reply = api("POST", TEST, Idempotency_Key="once")
    assert reply.json == {"crls": ["test-1"]}
    assert crls.publish_due(api.ca) == 1
    assert api("POST", TEST, Idempotency_Key="once").headers["Idempotency-Replayed"] == "true"
    assert crls.publish_due(api.ca) == 0
    assert "none" in api("POST", "/crls/none/regenerate").refused(404)


def test_an_operator_of_one_environment_has_its_lists_alone(api: Api) -> None:
    crls.publish_due(api.ca)
    operator = api.become("operator", "test")
    assert [crl["key"] for crl in operator("GET", "/crls?limit=1").json["items"]] == ["test-1"]
    assert operator("POST", TEST).status == 200
    assert "not for prod" in operator("POST", "/crls/prod-1/regenerate").refused(403, "forbidden")
