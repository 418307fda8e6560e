"""One answer for everybody who asks what an order may have, and what another policy would say of it."""

from __future__ import annotations

import pytest

from acme_ca.identifiers import Identifier, parse
from acme_ca.policy.conditions import Applicant
from acme_ca.policy.engine import Policy, Rule
from acme_ca.policy.grants import Grant
from acme_ca.policy.petitions import Petition, Terms, entitle
from acme_ca.policy.verdicts import differences, judge
from acme_ca.problems import InvalidProfile, RejectedIdentifier

ONE, TWO, ID = parse("dns", "one.example"), parse("dns", "two.example"), parse("uri", "spiffe://example/a")
LIFETIMES = {"server-1h": 3600, "workload-1h": 3600, "server-8h": 28_800}
TERMS = Terms("server-1h", LIFETIMES, frozenset({"workload-1h"}), lambda _: True)
ALL = Rule(name="all", dns=(".example",))
SOMEBODY = Applicant("7", None, profile="server-1h")


def policy(*rules: Rule) -> Policy:
    return Policy("prod", rules, ("http-01", "dns-01"), tuple(TERMS.lifetimes))


def grant(*dns: str, spiffe_id: str | None = None, profiles: tuple[str, ...] | None = None) -> Grant:
    return Grant("w", "0", spiffe_id, "always", (), dns, profiles, 900, 3600, liveness=False)


def petition(*names: Identifier, covered: tuple[Identifier, ...] = (), given: Grant | None = None) -> Petition:
    return Petition(SOMEBODY, names, frozenset(covered), given)


def told(before: Policy, after: Policy, asked: Petition) -> list[tuple[str, str]]:
    return [(one.outcome, one.name) for one in differences(before, after, TERMS, asked)]


def test_a_rule_that_is_missing_is_seen_where_a_workload_could_prove_the_name() -> None:
    asked = petition(ONE)
    assert told(policy(ALL), policy(), asked) == [("deny", "dns:one.example")]
    assert told(policy(), policy(ALL), asked) == [("allow", "dns:one.example")]
    assert told(policy(), policy(Rule(name="no", deny=True)), asked) == [("deny", "dns:one.example")]
    assert judge(policy(), TERMS, asked).names[ONE].reason.startswith("only a workload may prove it: no rule of")
    assert told(policy(), policy(), asked) == []


def test_a_shorter_life_is_seen_where_nobody_asks_for_a_certain_one() -> None:
    short = policy(ALL.model_copy(update={"max_lifetime": 600}))
    (found,) = differences(policy(ALL), short, TERMS, petition(ONE))
    assert (found.outcome, found.reason) == ("shorten", "it would live 600 seconds at most")
    assert told(policy(ALL), policy(ALL.model_copy(update={"max_lifetime": 7200})), petition(ONE)) == []
    assert told(short, policy(ALL), petition(ONE)) == []


def test_a_proof_that_another_policy_does_not_take_is_seen() -> None:
    asked = Petition(SOMEBODY, (ONE,), proofs={ONE: "http-01"})
    (found,) = differences(policy(ALL), policy(ALL.model_copy(update={"challenges": ("dns-01",)})), TERMS, asked)
    assert (found.outcome, found.name, "was proved by http-01" in found.reason) == ("deny", "", True)


def test_a_verdict_has_the_bounds_of_the_grant() -> None:
    asked = petition(ONE, TWO, covered=(ONE,), given=grant("one.example"))
    assert judge(policy(ALL), TERMS, asked).lifetime == 900
    asked = petition(ONE, TWO, covered=(ONE,), given=grant("one.example", profiles=("server-8h",)))
    apart = policy(ALL.model_copy(update={"profiles": ("server-1h",)}))
    assert "no profile is left by workload rule w, all together" in (judge(apart, TERMS, asked).whole or "")
    with pytest.raises(RejectedIdentifier, match="no profile is left"):
        entitle(apart, TERMS, asked)


def test_a_rules_most_names_are_those_of_the_whole_order() -> None:
    asked = petition(ONE, TWO, covered=(ONE,), given=grant("one.example"))
    with pytest.raises(RejectedIdentifier, match="the order has 2 identifiers; policy rule all allows 1"):
        entitle(policy(ALL.model_copy(update={"max_names": 1})), TERMS, asked)


def test_an_order_without_a_proved_workload_gets_none_of_its_workloads_profiles() -> None:
    asked = petition(ONE, given=grant("two.example", profiles=("server-8h",)))
    with pytest.raises(InvalidProfile, match="'server-1h' is not allowed"):
        entitle(policy(ALL.model_copy(update={"profiles": ("server-8h",)})), TERMS, asked)


def test_the_id_that_a_rule_adds_is_asked_for_with_the_profile_that_carries_it() -> None:
    given = grant("one.example", spiffe_id=ID.value, profiles=("workload-1h",))
    asked = petition(ONE, covered=(ONE,), given=given)
    assert entitle(policy(), TERMS, asked).uris == (ID.value,)
    no = Rule(name="no", deny=True, condition="identifier.type == 'uri' && profile == 'workload-1h'")
    with pytest.raises(RejectedIdentifier, match="rule no of environment prod denies uri:spiffe://example/a"):
        entitle(policy(no), TERMS, asked)
