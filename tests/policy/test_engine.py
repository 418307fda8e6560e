"""The policy of an environment: what is granted, what is refused, and what the refusal says."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.identifiers import Identifier, parse
from acme_ca.policy.engine import Applicant, Decision, Policy, Rule, default_rules
from acme_ca.problems import BadCsr, InvalidProfile, RejectedIdentifier
from acme_ca.vocabulary import KEY_TYPES

OFFERED = ("http-01", "dns-01", "tls-alpn-01")
PROFILES = ("server-1h", "server-8h")
ANYBODY = Applicant("1", None)


def policy(*rules: Rule, challenges: tuple[str, ...] = OFFERED) -> Policy:
    return Policy("prod", rules, challenges, PROFILES)


def dns(*values: str) -> list[Identifier]:
    return [parse("dns", value) for value in values]


def refusal(of: Policy, identifiers: list[Identifier], applicant: Applicant = ANYBODY) -> RejectedIdentifier:
    with pytest.raises(RejectedIdentifier) as refused:
        of.decide(applicant, identifiers)
    assert "identifier" not in refused.value.document()  # RFC 8555 §6.7.1: in subproblems only
    return refused.value


def test_an_environment_grants_its_zones_by_default() -> None:
    decision = policy(*default_rules(("corp.example",))).decide(ANYBODY, dns("a.b.corp.example", "corp.example"))
    assert decision == Decision(
        rules=("own-zones",),
        challenges=dict.fromkeys(dns("a.b.corp.example", "corp.example"), OFFERED),
        profiles=frozenset(PROFILES),
        key_types=frozenset(KEY_TYPES),
        max_lifetime=None,
    )


def test_nothing_is_granted_without_a_rule() -> None:
    detail = refusal(policy(), dns("a.example")).detail
    assert (
        detail == "no rule of environment prod allows dns:a.example for this account; no names are allowed to it at all"
    )


def test_a_refusal_says_what_is_allowed() -> None:
    rules = (Rule(name="a", dns=(".corp.example",), ip=(ip_network("10.0.0.0/8"),)), Rule(name="b", dns=("b.test",)))
    assert refusal(policy(*rules), dns("a.example")).detail.endswith("the allowed names are: .corp.example, b.test")
    assert refusal(policy(*rules), [parse("ip", "::1")]).detail.endswith("the allowed networks are: 10.0.0.0/8")


def test_a_refusal_does_not_say_what_others_are_allowed() -> None:
    rule = Rule(name="team", accounts=("2",), dns=("secret.example",))
    assert "secret" not in refusal(policy(rule), dns("a.example")).detail


def test_a_refusal_names_ten_patterns_at_most() -> None:
    rule = Rule(name="a", dns=tuple(f"n{number}.example" for number in range(11)))
    assert refusal(policy(rule), dns("a.example")).detail.endswith("n9.example, ...")


def test_several_refusals_are_subproblems() -> None:
    problem = refusal(
        policy(*default_rules(("corp.example",))), [*dns("a.example", "a.corp.example"), parse("ip", "::1")]
    )
    assert problem.type == "rejectedIdentifier"
    identifiers = [subproblem["identifier"] for subproblem in problem.document()["subproblems"]]
    assert identifiers == [{"type": "dns", "value": "a.example"}, {"type": "ip", "value": "::1"}]


@pytest.mark.parametrize("position", range(4))
def test_one_bad_name_among_many_is_found_wherever_it_stands(position: int) -> None:
    """Seen elsewhere: a loop that checks the first name again and again."""
    names = ["a.corp.example", "b.corp.example", "c.corp.example"]
    names.insert(position, "bad.example")
    assert "bad.example" in refusal(policy(*default_rules(("corp.example",))), dns(*names)).detail


# --- for whom ---


@pytest.mark.parametrize(
    ("applicant", "selected"),
    [
        (Applicant("1", "web"), True),
        (Applicant("2", "web"), True),
        (Applicant("3", "web"), False),
        (Applicant("1", "db"), False),
        (Applicant("1", None), False),
    ],
)
def test_both_selectors_have_to_fit(applicant: Applicant, selected: bool) -> None:  # noqa: FBT001 - a table's column
    of = policy(Rule(name="r", eab=("web", "x"), accounts=("1", "2"), dns=("a.example",)))
    if selected:
        assert of.decide(applicant, dns("a.example")).rules == ("r",)
    else:
        assert "no rule" in refusal(of, dns("a.example"), applicant).detail


def test_the_first_rule_that_speaks_about_a_name_decides() -> None:
    first = Rule(name="first", dns=("a.example",), profiles=("server-1h",))
    second = Rule(name="second", dns=(".example",), profiles=("server-8h",))
    assert policy(first, second).decide(ANYBODY, dns("a.example")).profiles == {"server-1h"}
    assert policy(second, first).decide(ANYBODY, dns("a.example")).profiles == {"server-8h"}


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two policy rules named a"):
        policy(Rule(name="a", dns=("a.example",)), Rule(name="a", dns=("b.example",)))


# --- denials ---


@pytest.mark.parametrize(
    "deny",
    [
        Rule(name="no", dns=("secret.corp.example",), deny=True),
        Rule(name="no", deny_dns=("secret.corp.example",)),
        Rule(name="no", deny_dns=(".secret.corp.example",)),
        Rule(name="no", dns=(".secret.corp.example",), deny=True),
        Rule(name="no", dns=(".corp.example",), deny_dns=(".secret.corp.example",)),
    ],
)
@pytest.mark.parametrize("value", ["secret.corp.example", "*.corp.example"])
def test_a_denied_name_is_refused_and_no_wildcard_gets_around_it(deny: Rule, value: str) -> None:
    of = policy(deny, *default_rules(("corp.example",)))
    assert refusal(of, dns(value)).detail == f"rule no of environment prod denies dns:{value}"
    assert of.decide(ANYBODY, dns("open.corp.example"))


def test_a_denial_is_for_those_it_selects() -> None:
    of = policy(Rule(name="no", accounts=("2",), deny=True), *default_rules(("corp.example",)))
    assert of.decide(ANYBODY, dns("a.corp.example")).rules == ("own-zones",)
    assert "rule no" in refusal(of, dns("a.corp.example"), Applicant("2", None)).detail


def test_a_denial_after_the_rule_that_decides_changes_nothing() -> None:
    of = policy(*default_rules(("corp.example",)), Rule(name="no", deny=True))
    assert of.decide(ANYBODY, dns("a.corp.example")).rules == ("own-zones",)


def test_a_denial_without_patterns_refuses_addresses_too() -> None:
    of = policy(Rule(name="no", deny=True), Rule(name="ip", ip=(ip_network("10.0.0.0/8"),)))
    assert "rule no" in refusal(of, [parse("ip", "10.0.0.1")]).detail


def test_a_denial_of_names_says_nothing_about_addresses() -> None:
    of = policy(Rule(name="no", deny=True, dns=(".example",)), Rule(name="ip", ip=(ip_network("10.0.0.0/8"),)))
    assert of.decide(ANYBODY, [parse("ip", "10.0.0.1")]).rules == ("ip",)


# --- addresses ---


def test_addresses_need_a_rule_of_their_own() -> None:
    """Seen elsewhere: addresses slipped past rules that spoke of names alone."""
    of = policy(*default_rules(("corp.example",)))
    assert "no networks are allowed" in refusal(of, [parse("ip", "10.0.0.1")]).detail


def test_addresses_are_allowed_by_network_and_proved_without_dns() -> None:
    of = policy(Rule(name="ip", ip=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))))
    names = [parse("ip", "10.1.2.3"), parse("ip", "2001:db8::1")]
    assert of.decide(ANYBODY, names).challenges == dict.fromkeys(names, ("http-01", "tls-alpn-01"))
    assert "no rule" in refusal(of, [parse("ip", "192.0.2.1")]).detail


@pytest.mark.parametrize(
    "deny",
    [
        Rule(name="no", deny_ip=(ip_network("10.0.0.0/24"),), ip=(ip_network("10.0.0.0/8"),)),
        Rule(name="no", deny=True, ip=(ip_network("10.0.0.0/24"),)),
    ],
)
def test_denied_networks_are_refused(deny: Rule) -> None:
    of = policy(deny, Rule(name="ip", ip=(ip_network("10.0.0.0/8"),)))
    assert "rule no of environment prod denies ip:10.0.0.1" in refusal(of, [parse("ip", "10.0.0.1")]).detail
    assert of.decide(ANYBODY, [parse("ip", "10.0.1.1")])


# --- wildcards and challenge types ---


def test_a_wildcard_is_proved_by_dns_alone() -> None:
    (wildcard,) = dns("*.corp.example")
    assert policy(*default_rules(("corp.example",))).decide(ANYBODY, [wildcard]).challenges == {wildcard: ("dns-01",)}


def test_a_wildcard_needs_a_rule_that_allows_wildcards() -> None:
    of = policy(Rule(name="r", dns=(".corp.example",)))
    assert refusal(of, dns("*.corp.example")).detail == (
        "rule r of environment prod allows the names of dns:*.corp.example, but no wildcards; "
        "order the names one by one"
    )


def test_a_wildcard_may_be_allowed_by_a_later_rule() -> None:
    of = policy(Rule(name="plain", dns=(".corp.example",)), Rule(name="star", dns=("*.corp.example",), wildcards=True))
    assert of.decide(ANYBODY, dns("*.corp.example", "a.corp.example")).rules == ("star", "plain")


def test_no_challenge_type_left_is_a_refusal() -> None:
    of = policy(*default_rules(("corp.example",)), challenges=("http-01",))
    assert refusal(of, dns("*.corp.example")).detail == (
        "no challenge type that rule own-zones of environment prod allows (http-01) can prove control of "
        "dns:*.corp.example"
    )


def test_a_rule_narrows_the_challenge_types_of_its_own_names() -> None:
    of = policy(
        Rule(name="a", dns=("a.example",), challenges=("tls-alpn-01", "dns-01")), Rule(name="b", dns=("b.example",))
    )
    a, b = dns("a.example", "b.example")
    assert of.decide(ANYBODY, [a, b]).challenges == {a: ("dns-01", "tls-alpn-01"), b: OFFERED}


# --- bounds of all deciding rules together ---

NARROW = Rule(
    name="narrow",
    dns=("a.example",),
    profiles=("server-1h",),
    key_types=("ec-p256", "ed25519"),
    max_lifetime=600,
    max_names=2,
)
WIDE = Rule(name="wide", dns=(".example",), key_types=("ec-p256", "rsa-2048"), max_lifetime=3600)


def test_the_bounds_of_all_deciding_rules_hold() -> None:
    decision = policy(NARROW, WIDE).decide(ANYBODY, dns("a.example", "b.example"))
    assert decision.rules == ("narrow", "wide")
    assert decision.profiles == {"server-1h"}
    assert decision.key_types == {"ec-p256"}
    assert decision.max_lifetime == 600
    assert policy(NARROW, WIDE).decide(ANYBODY, dns("b.example")).max_lifetime == 3600


def test_more_names_than_a_deciding_rule_allows_are_refused() -> None:
    detail = refusal(policy(NARROW, WIDE), dns("a.example", "b.example", "c.example")).detail
    assert detail == "the order has 3 identifiers; policy rule narrow allows 2"
    assert policy(NARROW, WIDE).decide(ANYBODY, dns("b.example", "c.example", "d.example"))


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Rule(name="other", dns=("b.example",), profiles=("server-8h",)), "profile"),
        (Rule(name="other", dns=("b.example",), key_types=("rsa-4096",)), "key type"),
    ],
)
def test_rules_with_nothing_in_common_cannot_share_an_order(other: Rule, what: str) -> None:
    detail = refusal(policy(NARROW, other), dns("a.example", "b.example")).detail
    assert detail == f"no {what} is left by policy rules narrow, other together; order their names apart"


def test_the_profile_is_checked() -> None:
    of = policy(NARROW, WIDE)
    decision = of.decide(ANYBODY, dns("a.example"))
    of.check_profile(decision, "server-1h")
    with pytest.raises(InvalidProfile, match="by policy rule narrow; allowed: server-1h"):
        of.check_profile(decision, "server-8h")
    with pytest.raises(InvalidProfile, match=r"profile '\\ud800x+' is not offered here; .* there are: server-1h"):
        of.check_profile(decision, "\ud800" + "x" * 10_000)


def test_the_key_is_checked() -> None:
    of = policy(NARROW, WIDE)
    decision = of.decide(ANYBODY, dns("a.example", "b.example"))
    of.check_key(decision, "ec-p256")
    with pytest.raises(BadCsr, match="by policy rules narrow, wide; allowed: ec-p256"):
        of.check_key(decision, "rsa-2048")


# --- properties ---

names = st.lists(st.sampled_from(["a", "b", "corp"]), min_size=1, max_size=3).map(".".join)
patterns = st.builds("{}{}".format, st.sampled_from(["", ".", "*.", "**."]), names)
identifiers = st.builds("{}{}".format, st.sampled_from(["", "*."]), names).map(lambda value: Identifier("dns", value))


@given(denied=patterns, granted=patterns, asked=identifiers, child=st.sampled_from(["a", "b", "corp", "x"]))
@settings(deadline=None, max_examples=300)
def test_nothing_that_is_granted_stands_for_a_denied_name(
    denied: str, granted: str, asked: Identifier, child: str
) -> None:
    of = policy(Rule(name="no", deny_dns=(denied,)), Rule(name="yes", dns=(granted,), wildcards=True))
    single = Identifier("dns", asked.value.replace("*", child))
    if allowed(of, [asked]):
        assert allowed(of, [single])


@given(
    asked=st.lists(identifiers, min_size=1, max_size=3, unique=True), rules=st.lists(patterns, min_size=1, max_size=3)
)
@settings(deadline=None, max_examples=100)
def test_the_order_of_identifiers_decides_nothing(asked: list[Identifier], rules: list[str]) -> None:
    of = policy(*(Rule(name=f"r{number}", dns=(pattern,), wildcards=True) for number, pattern in enumerate(rules)))
    assert len({allowed(of, list(order)) for order in permutations(asked)}) == 1
    assert allowed(of, asked) == all(allowed(of, [identifier]) for identifier in asked)


def allowed(of: Policy, identifiers: list[Identifier]) -> bool:
    try:
        decision = of.decide(ANYBODY, identifiers)
    except RejectedIdentifier:
        return False
    return set(decision.challenges) == set(identifiers)


def test_the_version_tells_rules_apart() -> None:
    versions = {policy(*rules).version for rules in ((), (NARROW,), (WIDE,), (NARROW, WIDE), (WIDE, NARROW))}
    assert len(versions) == 5
    assert policy(NARROW).version == policy(NARROW.model_copy()).version
    assert all(len(version) == 16 for version in versions)
