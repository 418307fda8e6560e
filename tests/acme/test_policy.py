"""Policies that are applied while the CA runs: at newOrder, at finalize, tried on what was ordered, in the shadow."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, event

from acme_ca import metrics
from acme_ca.authority import Authority
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.policies_in_force import policy_of
from acme_ca.policy.document import Document
from acme_ca.policy.rules import Rule
from acme_ca.services import policies, replays, shadows
from acme_ca.services.replays import Replay
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.ca import RunningCa, with_environment
from tests.support.issue import authorize, issue
from tests.support.web import WebServer

ALL = Rule(name="all", dns=(".test.localhost",))
NO_DB = Rule(name="no-db", deny=True, dns=("db.test.localhost",))


@pytest.fixture
def ca(make_ca: MakeCa, database_url: str) -> RunningCa:
    return make_ca(database_url=database_url)


@pytest.fixture
def client(ca: RunningCa) -> AcmeClient:
    return ca.client().register()


def apply(ca: RunningCa, *rules: Rule) -> None:
    environment = ca.authority.environments["test"]
    policies.apply(ca.authority.database, "test", environment.settings, Document(rules=rules), by="admin:alice")
    ca.authority.see_policies()


def shadow(ca: RunningCa, *rules: Rule) -> None:
    environment = ca.authority.environments["test"]
    policies.start_shadow(ca.authority.database, "test", environment.settings, Document(rules=rules), by="admin:alice")
    ca.authority.see_policies()


def replay(ca: RunningCa, *rules: Rule, hours: float = 1) -> Replay:
    environment = ca.authority.environments["test"]
    other = policy_of("test", environment.settings, Document(rules=rules))
    return replays.replay(
        ca.authority.database,
        "test",
        (environment.policy, other),
        hours,
        terms=environment.terms,
    )


def refused(client: AcmeClient, name: str) -> str:
    return client.refused(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": name}]})[1]


def events(ca: RunningCa, kind: str) -> list[dict[str, Any]]:
    with ca.authority.database.read() as connection:
        found = connection.execute(AUDIT_EVENTS.select().where(AUDIT_EVENTS.c.event == kind)).all()
    return [dict(row.details) for row in found]


def test_what_is_applied_refuses_at_new_order_and_at_finalize(
    ca: RunningCa, client: AcmeClient, website: WebServer
) -> None:
    _, order = client.order(["db.test.localhost"])
    authorize(client, website, order)
    apply(ca, NO_DB, ALL)
    assert "rule no-db of environment test denies dns:db.test.localhost" in refused(client, "db.test.localhost")
    answer = client.finalize(order, make_csr(["db.test.localhost"]))
    assert (answer.status_code, body_of(answer)["detail"]) == (
        403,
        "rule no-db of environment test denies dns:db.test.localhost",
    )
    apply(ca, ALL)
    assert body_of(client.finalize(order, make_csr(["db.test.localhost"])))["status"] == "valid"
    (found,) = rows.select(ca.authority.database, "SELECT policy_version FROM certificates")
    assert found[0] == Document(rules=(ALL,)).version


def test_a_condition_about_the_key_is_asked_where_the_key_is_known(
    ca: RunningCa, client: AcmeClient, website: WebServer
) -> None:
    apply(ca, Rule(name="ec", dns=(".test.localhost",), condition="key_type == '' || key_type == 'ec-p384'"))
    _, order = client.order(["a.test.localhost"])
    authorize(client, website, order)
    answer = client.finalize(order, make_csr(["a.test.localhost"]))
    assert (answer.status_code, "the condition of policy rule ec is false" in answer.text) == (403, True)


def test_an_error_in_a_condition_is_a_refusal_and_no_500(ca: RunningCa, client: AcmeClient) -> None:
    apply(ca, Rule(name="odd", dns=(".test.localhost",), condition="claims.team == 'web'"), ALL)
    assert "its condition has no answer (no such key 'team')" in refused(client, "a.test.localhost")


def test_history_is_judged_again(ca: RunningCa, client: AcmeClient, website: WebServer) -> None:
    for name in ("a.test.localhost", "db.test.localhost", "db.test.localhost"):
        issue(client, website, [name])
    client.order(["open.test.localhost", "db.test.localhost"])
    found = replay(ca, NO_DB, ALL)
    assert (found.certificates, found.unfinished, found.refused, found.partial) == (3, 1, 0, False)
    assert (found.denied, found.allowed, found.shortened) == (3, 0, 0)
    (finding,) = found.findings
    assert (finding.outcome, finding.name, finding.rule, finding.orders) == (
        "deny",
        "dns:db.test.localhost",
        "no-db",
        3,
    )
    assert replay(ca, NO_DB, ALL, hours=1e-9).certificates == 0
    assert replay(ca, *ca.authority.environments["test"].policy.rules).findings == []


def test_refused_orders_are_judged_again_by_the_names_that_they_were_meant_for(
    ca: RunningCa, client: AcmeClient
) -> None:
    for names in (
        [("ip", "0.0.0.0"), ("ip", "x")],
        [("dns", "Other.EXAMPLE")],
        [("uri", "https://x")],
        [("uri", f"spiffe://test.localhost/{'a' * 400}"), ("dns", "a.example")],
        [("dns", "other.example"), ("dns", "a..b")],
    ):
        wanted = [{"type": kind, "value": value} for kind, value in names]
        assert client.post(client.url("newOrder"), {"identifiers": wanted}).status_code in {400, 403}
    found = replay(ca, Rule(name="all", dns=(".example",)))
    assert (found.refused, found.allowed, [one.name for one in found.findings]) == (1, 1, ["dns:other.example"])


def test_history_tells_of_keys_profiles_and_lifetimes(ca: RunningCa, client: AcmeClient, website: WebServer) -> None:
    issue(client, website, ["a.test.localhost"])
    (key,) = replay(ca, ALL.model_copy(update={"key_types": ("rsa-2048",)})).findings
    assert (key.outcome, key.name, "ec-p256 keys are not allowed" in key.reason) == ("deny", "", True)
    (profile,) = replay(ca, ALL.model_copy(update={"profiles": ("server-8h",)})).findings
    assert "profile 'server-1h' is not allowed" in profile.reason
    assert replay(ca, ALL.model_copy(update={"max_lifetime": 600})).shortened == 1


def test_the_shadow_sees_everything_and_changes_nothing(ca: RunningCa, client: AcmeClient, website: WebServer) -> None:
    apply(ca, Rule(name="no-x", deny=True, dns=("x.test.localhost",)), ALL)
    shadow(ca, NO_DB, ALL)
    issue(client, website, ["db.test.localhost"])
    assert "no-x" in refused(client, "x.test.localhost")
    ca.authority.policies.noter.write()
    report = shadows.report(ca.authority.database, "test", None, 10)
    found = {(one.outcome, one.name): (one.rule, one.count) for one in report.findings}
    assert found == {
        ("deny", "dns:db.test.localhost"): ("no-db", 2),  # at newOrder and at finalize
        ("allow", "dns:x.test.localhost"): ("all", 1),
    }
    assert report.totals == {"deny": 2, "allow": 1}
    assert shadows.tell(ca.authority) == 2
    issue(client, website, ["db.test.localhost"])
    ca.authority.policies.noter.write()
    assert shadows.tell(ca.authority) == 0  # once for each name and hour
    assert {event["name"] for event in events(ca, "policy.shadow_differed")} == {
        "dns:db.test.localhost",
        "dns:x.test.localhost",
    }
    rows.change(ca.authority.database, "UPDATE shadow_findings SET audit_due_at = :then", then=rows.LONG_AGO)
    assert shadows.tell(ca.authority) == 2


def test_a_batch_of_findings_is_counted_once(ca: RunningCa, client: AcmeClient) -> None:
    shadow(ca, Rule(name="no", deny=True))
    client.order([f"n{number}.test.localhost" for number in range(20)])
    counted: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        counted.extend([statement] if "count(*)" in statement else [])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        ca.authority.policies.noter.write()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(counted) == 1
    assert len(shadows.report(ca.authority.database, "test", None, 100).findings) == 20


def test_an_error_of_the_shadow_changes_nothing(ca: RunningCa, client: AcmeClient, website: WebServer) -> None:
    shadow(ca, Rule(name="odd", dns=(".test.localhost",), condition="claims.team == 'web'"))
    found = ca.authority.environments["test"].shadow
    assert found is not None
    issue(client, website, ["a.test.localhost"])  # its condition has no answer: it would deny
    object.__setattr__(found, "policy", None)  # whatever else goes wrong in it
    issue(client, website, ["a.test.localhost"])


def test_a_configuration_that_the_applied_policy_does_not_fit_is_said_not_to_be_usable(ca: RunningCa) -> None:
    apply(ca, Rule(name="eight", dns=(".test.localhost",), profiles=("server-8h",)))
    narrow = with_environment(ca.authority.config, "test", profiles=("server-1h",))
    reason = r"the applied policy of environment test \(version 2\), rule eight: 'server-8h' is not among the profiles"
    with closing(Authority(narrow)) as other:  # children and the command line work with what they can use of it
        assert other.environments["test"].policy.rules[0].name == "eight"
        with pytest.raises(ValueError, match=reason):
            other.policies.require_usable()


def test_two_operators_apply_at_once_and_both_versions_are_kept(ca: RunningCa) -> None:
    other = Authority(ca.authority.config)
    apply(ca, ALL)
    settings = other.environments["test"].settings
    policies.apply(other.database, "test", settings, Document(rules=(NO_DB, ALL)), by="admin:bob")
    found, _ = policies.history(ca.authority.database, "test", None, 10)
    assert [(one.number, one.created_by) for one in found] == [(3, "admin:bob"), (2, "admin:alice"), (1, None)]
    other.close()


def unusable(name: str) -> float:
    return metrics.REGISTRY.get_sample_value("acme_ca_policy_unusable", {"environment": name}) or 0.0


def test_a_policy_that_cannot_be_read_is_in_no_other_environments_way(ca: RunningCa) -> None:
    apply(ca, NO_DB, ALL)
    settings = ca.authority.config.environment
    for name, rules in (("test", (ALL,)), ("prod", (Rule(name="nobody", deny=True),))):
        policies.apply(ca.authority.database, name, settings[name], Document(rules=rules), by="admin:alice")
    newer = '{"rules": [{"name": "all", "grants": "everything"}]}'
    rows.change(ca.authority.database, "UPDATE versions SET document = :newer WHERE number = 3", newer=newer)
    ca.authority.see_policies()
    assert ca.authority.environments["prod"].policy.rules[0].name == "nobody"
    assert [rule.name for rule in ca.authority.environments["test"].policy.rules] == ["no-db", "all"]  # the one before
    assert (unusable("test"), unusable("prod")) == (1, 0)
    with closing(Authority(ca.authority.config)) as other:
        assert other.environments["test"].policy.rules == ()
        with pytest.raises(ValueError, match=r"of environment test \(version 3\): the stored policy cannot be read"):
            other.policies.require_usable()
    apply(ca, ALL)
    assert ca.authority.environments["test"].policy.rules == (ALL,)
    assert unusable("test") == 0
