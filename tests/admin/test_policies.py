"""The policy over the admin API: applied as a whole, versioned, brought back, tried on history, explained, shadowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acme_ca.admin.policies import POLICY_LIMIT
from acme_ca.authority import Authority
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.services import shadows, versions
from acme_ca.web import MAX_BODY
from tests.admin.conftest import Api, Reply

PATH = "/environments/prod/policy"
ALL = {"name": "all", "dns": [".prod.localhost"], "wildcards": True}
NO_DB = {"name": "no-db", "deny": True, "dns": [".db.prod.localhost"]}


def apply(api: Api, *rules: dict[str, Any], match: str = "*", query: str = "", **body: Any) -> Reply:  # noqa: ANN401 - members of the body
    return api("PUT", PATH + query, {"rules": rules, **body}, If_Match=match)


def events(api: Api) -> list[tuple[str, str]]:
    with api.ca.database.read() as connection:
        rows = connection.execute(AUDIT_EVENTS.select().order_by(AUDIT_EVENTS.c.id)).all()
    return [(row.event, row.actor) for row in rows if row.event.startswith("policy.")]


def test_the_configuration_holds_until_something_is_applied(api: Api) -> None:
    found = api("GET", PATH)
    assert (found.json["number"], found.json["created_by"]) == (None, None)
    assert [rule["name"] for rule in found.json["rules"]] == ["own-zones"]
    done = apply(api, NO_DB, ALL, match=found.headers["ETag"], comment="at last")
    assert (done.status, done.json["changed"], done.json["number"]) == (200, True, 2), done.text
    found = api("GET", PATH)
    assert (found.json["number"], found.json["comment"], found.json["rules"]) == (2, "at last", [NO_DB, ALL])
    assert found.headers["ETag"] == done.headers["ETag"]
    assert api.ca.environments["prod"].policy.version == found.json["version"]
    assert events(api) == [("policy.applied", found.json["created_by"])]


def test_a_policy_of_thousands_of_rules_is_applied(api: Api) -> None:
    rules = [{"name": f"rule-{number}", "dns": [f"host-{number}.prod.localhost"]} for number in range(3000)]
    assert apply(api, *rules).status == 200
    assert len(api("GET", PATH).json["rules"]) == 3000
    assert api("PUT", f"{PATH}/shadow", {"rules": rules}).status == 200


def test_nothing_is_larger_than_its_call_takes(api: Api) -> None:
    large = json.dumps({"rules": [], "comment": "x" * MAX_BODY}).encode()
    api("PUT", PATH, large, If_Match="*").refused(400)  # for what it says
    assert str(MAX_BODY) in api("POST", "/admins", large).refused(413)
    assert str(POLICY_LIMIT) in api("PUT", PATH, b" " * (POLICY_LIMIT + 1), If_Match="*").refused(413)
    assert Api(api.app, api.ca, "nobody")("PUT", PATH, large).status == 401


def test_the_same_document_again_changes_nothing(api: Api) -> None:
    first = apply(api, ALL)
    again = apply(api, ALL, match=first.headers["ETag"])
    assert (again.json["changed"], again.json["number"], again.json["changes"]) == (False, first.json["number"], [])
    assert len(events(api)) == 1


def test_what_was_read_is_what_is_changed(api: Api) -> None:
    api("PUT", PATH, {"rules": [ALL]}).refused(428, "preconditionRequired")
    stale = api("GET", PATH).headers["ETag"]
    apply(api, ALL)
    apply(api, NO_DB, ALL, match=stale).refused(412, "preconditionFailed")


def test_other_processes_see_it_by_themselves(api: Api) -> None:
    other = Authority(api.ca.config)
    apply(api, NO_DB, ALL)
    other.policies._look_again = 0.0  # a second is over
    assert [rule.name for rule in other.environments["prod"].policy.rules] == ["no-db", "all"]
    assert [rule.name for rule in Authority(api.ca.config).environments["prod"].policy.rules] == ["no-db", "all"]
    assert versions.keep(other) == 5  # the policies of two environments are still of the configuration; roots of three
    assert api("GET", PATH).json["number"] == 2
    other.close()


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"name": "a", "dns": ["a.example"]}, "rules.0.dns.0"),
        ({"name": "a", "dns": [".prod.localhost"], "profiles": ["nothing"]}, "rules.0.profiles.0"),
        ({"name": "a", "dns": [".prod.localhost"], "challenges": ["dns-persist-01"]}, "rules.0.challenges.0"),
        ({"name": "a", "dns": [".prod.localhost"], "workloads": ["nothing"]}, "rules.0.workloads.0"),
        ({"name": "a", "dns": [".prod.localhost"], "condition": "nothing == 1"}, "rules.0.condition"),
        ({"name": "a", "dns": [".prod.localhost"], "wildcard": True}, "rules.0.wildcard"),
        ({"name": "a", "ip": ["10.0.0.0/8"]}, "rules.0.ip.0"),  # its issuer's name constraints exclude addresses
    ],
)
def test_a_policy_that_does_not_fit_is_refused_with_its_place(api: Api, rule: dict[str, Any], place: str) -> None:
    reply = apply(api, rule)
    reply.refused(400)
    assert [error["place"] for error in reply.json["errors"]] == [place]
    assert api("GET", PATH).json["number"] is None


def test_history_and_rollback(api: Api) -> None:
    for rules in ([ALL], [NO_DB, ALL], []):
        apply(api, *rules)
    listed = api("GET", f"{PATH}/versions?limit=3").json
    assert [(line["number"], line["rules"]) for line in listed["items"]] == [(4, 0), (3, 2), (2, 1)]
    (first,) = api("GET", f"{PATH}/versions?after={listed['next']}").json["items"]
    assert (first["number"], first["created_by"]) == (1, None)
    back = api("POST", f"{PATH}/rollback", {"number": 1}, If_Match="*")
    assert (back.json["number"], back.json["changed"]) == (5, True)
    now = api("GET", PATH).json
    assert now["rules"] == api("GET", f"{PATH}/versions/1").json["rules"]
    assert now["comment"] == "back to version 1"
    assert events(api)[-1][0] == "policy.rolled_back"
    api("POST", f"{PATH}/rollback", {"number": 99}, If_Match="*").refused(404)
    api("GET", f"{PATH}/versions/x").refused(404)


def test_a_dry_run_changes_nothing_and_tells_what_it_covered(api: Api) -> None:
    tried = apply(api, NO_DB, ALL, query="?dry_run=true&hours=48").json
    assert [change["kind"] for change in tried["changes"]] == ["removed", "added", "added"]
    assert {name: tried["trial"][name] for name in ("certificates", "unfinished", "refused", "partial", "denied")} == {
        "certificates": 0,
        "unfinished": 0,
        "refused": 0,
        "partial": False,
        "denied": 0,
    }
    assert api("GET", PATH).json["number"] is None
    apply(api, ALL, query="?dry_run=true&hours=0").refused(400)


def test_why(api: Api) -> None:
    apply(api, NO_DB, {"name": "web", "eab": ["web"], "dns": [".prod.localhost"]})
    asked = {"names": ["a.prod.localhost", "x.db.prod.localhost", "*.prod.localhost", "10.0.0.1"], "label": "web"}
    found = api("POST", f"{PATH}/explain", asked).json
    assert not found["allowed"]
    assert [(answer["name"], answer["allowed"], answer["rule"]) for answer in found["answers"]] == [
        ("dns:a.prod.localhost", True, "web"),
        ("dns:x.db.prod.localhost", False, "no-db"),
        ("dns:*.prod.localhost", False, "no-db"),
        ("ip:10.0.0.1", False, None),
    ]
    assert [step["said"] for step in found["answers"][0]["steps"]] == ["says nothing of the name", "allows"]
    assert "http-01" in found["answers"][0]["next_step"]
    assert "change rule no-db" in found["answers"][1]["next_step"]
    found = api("POST", f"{PATH}/explain", {"names": ["a.prod.localhost"], "profile": "nothing"}).json
    assert [step["said"] for step in found["answers"][0]["steps"]] == [
        "says nothing of the name",
        "is for other accounts",
    ]
    api("POST", f"{PATH}/explain", {"names": ["a.prod.localhost"], "account": "nobody"}).refused(404)
    api("POST", f"{PATH}/explain", {"names": ["a..b"]}).refused(400)


def test_the_shadow_is_started_reported_and_ended(api: Api) -> None:
    api("GET", f"{PATH}/shadow").refused(404)
    api("DELETE", f"{PATH}/shadow").refused(404)
    started = api("PUT", f"{PATH}/shadow", {"rules": [NO_DB, ALL]}).json
    assert (started["number"], started["changed"]) == (1, True)
    assert not api("PUT", f"{PATH}/shadow", {"rules": [NO_DB, ALL]}).json["changed"]
    shadow = api.ca.environments["prod"].shadow
    assert shadow is not None
    assert api("GET", PATH).json["number"] is None  # what is in force is another matter
    report = api("GET", f"{PATH}/shadow").json
    assert (report["running"], report["totals"], report["items"]) == (True, {}, [])
    assert api("DELETE", f"{PATH}/shadow").json == {"number": 1}
    assert api.ca.environments["prod"].shadow is None
    assert not api("GET", f"{PATH}/shadow").json["running"]
    assert [name for name, _ in events(api)] == ["policy.shadow_started", "policy.shadow_ended"]
    assert shadows.tell(api.ca) == 0
