"""The policy as a document: TOML and JSON are the same, and differences are told; properties of what it decides."""

from __future__ import annotations

import tomllib
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.identifiers import Identifier
from acme_ca.policy.conditions import Facts, check_condition
from acme_ca.policy.document import Document, changes
from acme_ca.policy.engine import Applicant, Policy, Rule
from acme_ca.policy.matchers import Matcher, Said, address_of
from acme_ca.policy.petitions import Petition, Terms
from acme_ca.policy.shadowing import shadowed
from acme_ca.policy.verdicts import differences

labels = st.sampled_from(["a", "b", "corp"])
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
patterns = st.builds("{}{}".format, st.sampled_from(["", ".", "*.", "**."]), names)
networks = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.0.0.1/32", "2001:db8::/32"]).map(ip_network)
identifiers = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["", "*."]), names).map(lambda value: Identifier("dns", value)),
    st.sampled_from(["10.0.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1"]).map(lambda value: Identifier("ip", value)),
)
applicants = st.builds(
    Applicant, st.sampled_from(["1", "2"]), st.sampled_from([None, "web"]), st.sampled_from([None, "w"])
)
CONDITIONS = ("account == '1'", "claims.none == 1", "identifier.wildcard")
conditions = st.sampled_from(
    [None, *map(check_condition, CONDITIONS)]
)  # here, since to import CEL takes random numbers


@st.composite
def rule_lists(draw: st.DrawFn) -> tuple[Rule, ...]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        selectors: dict[str, Any] = {
            "eab": draw(st.sampled_from([(), ("web",)])),
            "accounts": draw(st.sampled_from([(), ("1",)])),
            "workloads": draw(st.sampled_from([(), ("w",)])),
            "condition": draw(conditions),
        }
        few = st.lists(patterns, max_size=2).map(tuple)
        if draw(st.booleans()):
            deny: dict[str, Any] = {"dns": draw(few), "ip": draw(st.lists(networks, max_size=1).map(tuple))}
            found.append(Rule(name=f"r{number}", deny=True, **selectors, **deny))
        else:
            wildcards = draw(st.booleans())
            depth = draw(st.sampled_from([None, 1, 2])) if wildcards else None
            allow: dict[str, Any] = {
                "dns": (draw(patterns), *draw(few)),
                "deny_dns": draw(few),
                "ip": (draw(networks),),
            }
            found.append(Rule(name=f"r{number}", wildcards=wildcards, wildcard_depth=depth, **selectors, **allow))
    return tuple(found)


def policy(rules: tuple[Rule, ...]) -> Policy:
    return Policy("prod", rules, ("http-01", "dns-01"), ("server-1h",))


@given(rules=rule_lists(), asked=identifiers, applicant=applicants)
@settings(deadline=None, max_examples=300)
def test_the_first_rule_that_speaks_decides_and_none_is_no(
    rules: tuple[Rule, ...], asked: Identifier, applicant: Applicant
) -> None:
    """What the index finds is what asking each rule in its turn finds."""
    facts = Facts(applicant, (asked,))
    sayings = [(rule, Matcher(rule).hear(asked, address_of(asked), applicant, facts).said) for rule in rules]
    decided = [(rule, said) for rule, said in sayings if said in (Said.ALLOWS, Said.DENIES, Said.FAILED)]
    found = policy(rules).ruling(applicant, asked, (asked,))
    if decided:
        assert (found.rule, found.said) == decided[0]
    else:
        assert not found.is_allowed
        assert not found.is_denied


@given(rules=rule_lists(), asked=identifiers, applicant=applicants)
@settings(deadline=None, max_examples=150)
def test_rules_that_never_decide_change_nothing(
    rules: tuple[Rule, ...], asked: Identifier, applicant: Applicant
) -> None:
    vain = {later for later, _ in shadowed(rules)}
    without = policy(tuple(rule for rule in rules if rule.name not in vain))
    before, after = policy(rules).ruling(applicant, asked, (asked,)), without.ruling(applicant, asked, (asked,))
    assert (before.is_allowed, before.is_denied) == (after.is_allowed, after.is_denied)


@given(rules=rule_lists())
@settings(deadline=None, max_examples=150)
def test_toml_and_json_are_the_same_document(rules: tuple[Rule, ...]) -> None:
    document = Document(rules=rules)
    assert Document.from_json(tomllib.loads(document.to_toml())) == document
    assert Document.from_json(document.to_json()) == document
    assert Document.from_json(document.to_json()).version == document.version
    assert changes(document, document) == ()


def test_texts_of_any_kind_survive_toml() -> None:
    rule = Rule(name="r", eab=('"\\\x7f\t\n\x01ä\U0001f600',), dns=("a.example",), condition="account == '\"\\\\'")
    document = Document(rules=(rule,))
    assert Document.from_json(tomllib.loads(document.to_toml())) == document


@given(before=rule_lists(), after=rule_lists())
@settings(deadline=None, max_examples=100)
def test_documents_without_changes_are_equal(before: tuple[Rule, ...], after: tuple[Rule, ...]) -> None:
    old, new = Document(rules=before), Document(rules=after)
    assert (changes(old, new) == ()) == (old == new)


def test_changes_are_told_rule_by_rule() -> None:
    a, b, c = (Rule(name=name, dns=(f"{name}.example",)) for name in "abc")
    wide = b.model_copy(update={"wildcards": True})
    found = changes(Document(rules=(a, b, c)), Document(rules=(c, wide)))
    assert [(one.rule, one.kind) for one in found] == [("a", "removed"), ("c", "moved"), ("b", "changed")]
    assert str(found[2]) == "~ rule b: changed\n    + wildcards = true"


@given(rules=rule_lists(), others=rule_lists(), asked=st.lists(identifiers, min_size=1, max_size=3, unique=True))
@settings(deadline=None, max_examples=100)
def test_differences_are_the_names_that_are_decided_otherwise(
    rules: tuple[Rule, ...], others: tuple[Rule, ...], asked: list[Identifier]
) -> None:
    applicant = Applicant("1", None, profile="server-1h")
    terms = Terms("server-1h", {"server-1h": 3600}, frozenset())
    found = differences(policy(rules), policy(others), terms, Petition(applicant, tuple(asked)))
    by_name = {
        str(name)
        for name in asked
        if policy(rules).ruling(applicant, name, asked).is_allowed
        != policy(others).ruling(applicant, name, asked).is_allowed
    }
    assert {one.name for one in found if one.name} == by_name


def test_a_decision_is_found_by_name_and_not_by_walking_through_the_rules() -> None:
    """A hundred rules about other names are not even looked at."""
    rules = tuple(Rule(name=f"r{number}", dns=(f".n{number}.corp",), wildcards=True) for number in range(100))
    of = policy(rules)
    asked = Identifier("dns", "a.n99.corp")
    assert [matcher.rule.name for matcher in of._index.speaking(asked)] == ["r99"]
