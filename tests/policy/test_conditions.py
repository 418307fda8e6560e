"""Conditions in CEL: what they see, what they may cost, and that an error refuses."""

from __future__ import annotations

import pytest

from acme_ca.identifiers import Identifier, parse
from acme_ca.policy.conditions import MAX_CONDITION, Applicant, Condition, ConditionFailedError, Facts
from acme_ca.policy.engine import Policy, Rule
from acme_ca.problems import RejectedIdentifier

NAME = parse("dns", "a.example")
SOMEBODY = Applicant("7", "web", "deploy", {"k": {"ns": "pay", "groups": ["a", "b"]}}, "server-1h", "ec-p256")


def policy(*rules: Rule) -> Policy:
    return Policy("prod", rules, ("http-01", "dns-01"), ("server-1h", "server-8h"))


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("account == '7' && eab_label == 'web' && workload == 'deploy'", True),
        ("claims.k.ns == 'pay' && claims.k.groups.exists(g, g == 'b')", True),
        ("'c' in claims.k.groups", False),
        ("identifier.type == 'dns' && identifier.value.endsWith('.example') && !identifier.wildcard", True),
        ("identifiers.all(i, !i.wildcard) && size(identifiers) == 2", True),
        ("profile == 'server-1h' && key_type.startsWith('ec-')", True),
        ("has(claims.k.other)", False),
        ("identifier.value.matches('^(a+)+$')", False),
    ],
)
def test_an_expression_sees_the_order(source: str, holds: bool) -> None:  # noqa: FBT001 - a table's column
    facts = Facts(SOMEBODY, (NAME, parse("dns", "b.example")))
    assert Condition(source).holds(facts, NAME) is holds


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("claims.other == 'x'", "no such key 'other'"),
        ("account", "neither true nor false"),
        ("account < 1", "overload"),
        ("1 / size(claims.k.none) == 1", "no such key"),
        ("account.matches('(')", "regex"),
    ],
)
def test_an_expression_without_an_answer_refuses_with_the_reason(source: str, reason: str) -> None:
    with pytest.raises(ConditionFailedError, match=reason):
        Condition(source).holds(Facts(SOMEBODY, (NAME,)), NAME)
    rules = (Rule(name="maybe", dns=(".example",), condition=source), Rule(name="all", dns=(".example",)))
    with pytest.raises(RejectedIdentifier, match=rf"rule maybe .* its condition has no answer .*{reason}"):
        policy(*rules).decide(SOMEBODY, (NAME,))


@pytest.mark.parametrize(("verified", "holds"), [(True, True), (False, False), ("true", False), (None, False)])
@pytest.mark.parametrize("path", ["email", "user.email"])
def test_an_email_that_nobody_verified_is_not_seen(path: str, verified: object, holds: bool) -> None:  # noqa: FBT001 - a table's column
    claims = {"email": "a@corp.example", **({} if verified is None else {"email_verified": verified})}
    facts = Facts(Applicant("7", None, "deploy", {**claims, "user": claims}), (NAME,))
    assert Condition(f"claims.{path} == 'a@corp.example'").holds(facts, NAME) is holds


@pytest.mark.parametrize(("length", "holds"), [(500, True), (501, False)])
def test_a_list_of_too_many_elements_is_not_seen(length: int, holds: bool) -> None:  # noqa: FBT001 - a table's column
    """An expression may look at all of them for each of them."""
    facts = Facts(Applicant("7", None, "deploy", {"groups": [str(number) for number in range(length)]}), (NAME,))
    each_with_each = Condition("claims.groups.all(g, !((g + 'x') in claims.groups))")
    if holds:
        assert each_with_each.holds(facts, NAME)
    else:
        with pytest.raises(ConditionFailedError):
            each_with_each.holds(facts, NAME)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "not CEL"),
        ("account ==", "not CEL"),
        ("accounts == '1'", "no variable 'accounts'"),
        ("fetch(account)", "not CEL"),
        ("identifiers.all(i, identifiers.all(j, i == j))", "a loop .* inside another"),
        ("identifiers.all(i, true)" + " && identifiers.all(i, true)" * 5, "6 loops"),
        ("(" * 30 + "true" + ")" * 30, "brackets inside each other"),
        ("true" + " || true" * (MAX_CONDITION // 8), "characters; at most"),
    ],
)
def test_what_is_no_expression_or_costs_too_much_is_refused(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Condition(source)


@pytest.mark.parametrize(
    "source",
    [
        r"""r"\" == profile || identifiers.all(a, identifiers.all(b, a == b)) || profile == "x" """,
        r"""br'\' == b'a' || identifiers.all(a, identifiers.all(b, a == b)) || profile == 'x'""",
        r"""profile == r'\' || identifiers.all(a, identifiers.all(b, a == b)) || profile == r'\' """,
        "identifiers.exists(a, identifiers.existsOne(b, a == b))",
        "identifiers // .all(\n .all(a, identifiers // (\n .all(b, a == b))",
        "profile == '\\\\' || identifiers.all(a, identifiers.all(b, a == b)) || profile == '\\\\'",
    ],
)
def test_no_text_and_no_comment_hides_a_loop(source: str) -> None:
    with pytest.raises(ValueError, match="inside another one"):
        Condition(source)


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("identifier.valu == 'x'", "identifier has no 'valu'; it has type, value, wildcard"),
        ("profile == 'x' && identifiers.all(i, i.name != 'x')", "i has no 'name'"),
        ("identifiers.all(i, i.value != 'x') && claims.teams.exists(i, i.name == 'x')", None),
        ("identifier.value.matches('(')", "not a valid regex"),
        ("profile == 'x' && identifier.value.matches('(')", "not a valid regex"),
        (r'identifier.value.matches("^\\w{1,63}(\\.\\w{1,63}){1,3}$")', "not a valid regex"),
        ("identifier.value.matches(claims.pattern)", "a regular expression in quotes"),
        ("identifier.value.matches(r'^[a-z]+[.]example$')", None),
        ("account", "neither true nor false"),
        ("account < 1", "No such overload"),
        ("claims.team == 'web'", None),
        ("claims.level < 3", None),
        ("{'web': true}[eab_label]", None),
        ("identifiers[1].value == 'x'", None),
        ("identifier.value.size() < 9 && size(identifier.value) < 9", None),
    ],
)
def test_what_can_never_be_right_is_told_when_it_is_written(source: str, mistake: str | None) -> None:
    found = Condition(source).mistake()
    assert found is None if mistake is None else mistake in (found or "")


def test_brackets_and_loops_in_texts_are_texts() -> None:
    assert Condition("account != 'x.all(y.all(((((((((((((((((((((((('").holds(Facts(SOMEBODY, ()), NAME)


def test_the_claims_that_are_asked_for_are_known() -> None:
    found = Condition("claims.a.b == 'claims.x' && has(claims.c) && claims . d == 1")
    assert set(found.claim_paths()) == {"a.b", "c", "d"}
    assert policy(Rule(name="a", dns=("a.example",), condition=found.source)).claims == {"a.b", "c", "d"}


def test_a_false_condition_leaves_the_name_to_later_rules() -> None:
    first = Rule(name="first", deny=True, dns=(".example",), condition="identifier.value.startsWith('x.')")
    of = policy(first, Rule(name="all", dns=(".example",)))
    assert of.decide(SOMEBODY, (NAME,)).rules == ("all",)
    with pytest.raises(RejectedIdentifier, match=r"rule first of environment prod denies dns:x\.example"):
        of.decide(SOMEBODY, (NAME, parse("dns", "x.example")))
    alone = policy(Rule(name="only", dns=(".example",), condition="account == '8'"))
    with pytest.raises(RejectedIdentifier, match="the condition of policy rule only is false"):
        alone.decide(SOMEBODY, (NAME,))


def test_a_condition_is_not_asked_about_other_names() -> None:
    rule = Rule(name="odd", dns=("b.example",), condition="claims.none == 1")
    assert policy(rule, Rule(name="all", dns=(".example",))).decide(SOMEBODY, (NAME,)).rules == ("all",)


@pytest.mark.parametrize(("workload", "selected"), [("deploy", True), ("other", False), (None, False)])
def test_a_rule_may_be_for_workloads(workload: str | None, selected: bool) -> None:  # noqa: FBT001 - a table's column
    of = policy(Rule(name="w", workloads=("deploy", "more"), dns=(".example",)))
    assert of.ruling(Applicant("1", None, workload), NAME, (NAME,)).is_allowed is selected


@pytest.mark.parametrize(
    ("pattern", "depth", "asked", "allowed"),
    [
        (".example", 1, "*.example", True),
        (".example", 1, "*.a.example", False),
        ("**.example", 2, "*.a.example", True),
        ("**.example", 2, "*.b.a.example", False),
        ("*.example", 1, "*.example", True),
        (".example", None, "*.c.b.a.example", True),
    ],
)
def test_wildcards_are_as_deep_as_allowed(pattern: str, depth: int | None, asked: str, allowed: bool) -> None:  # noqa: FBT001 - a table's column
    of = policy(Rule(name="r", dns=(pattern,), wildcards=True, wildcard_depth=depth))
    name = Identifier("dns", asked)
    found = of.ruling(SOMEBODY, name, (name,))
    assert found.is_allowed is allowed
    assert allowed or "labels deep at most" in found.reason
