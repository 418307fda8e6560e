"""Conditions on claims, and what policy sees of claims at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from acme_ca.policy.claims import ClaimNotKeptError, Facts, check_path, needed, shown, subset
from acme_ca.policy.matching import AnyCondition, Condition
from acme_ca.workload.base import Workload

CONDITION: TypeAdapter[Condition] = TypeAdapter(AnyCondition)


def read(setting: object) -> Condition:
    """Read a condition as the configuration does: strictly, from JSON."""
    return CONDITION.validate_json(json.dumps(setting))


def facts(claims: Mapping[str, Any], *, kept: bool = False, instance: str | None = None) -> Facts:
    workload = Workload("k8s", "https://k8s.example", "the-subject", claims, "required", datetime.now(UTC), instance)
    return Facts(workload, kept=kept)


@pytest.mark.parametrize(
    ("setting", "good", "bad"),
    [
        ("api", ["api", ["x", "api"]], ["API", "api ", ["x"], [], {}, {"api": 1}, [["api"]], None]),
        (True, [True, [True]], [1, "true", False, 1.0]),
        (1, [1], [True, "1", 1.0, 2]),
        ("true", ["true"], [True]),
        (["a", 2], ["a", 2, ["z", 2]], ["b", "2", 3]),
        ({"one_of": ["a", "b"]}, ["a", "b"], ["c"]),
        ({"regex": "[a-z]+"}, ["abc", ["1", "abc"]], ["a1", "abc\n", "", 1, True, "a" * 513]),
        ({"prefix": "team-"}, ["team-", "team-a", ["x", "team-a"]], ["xteam-", "team", 1, "team-" + "a" * 2044]),
        ({"not_in": ["default"]}, ["api", ["a", "b"]], ["default", ["a", "default"], 1, True, [], ["a", 1], {}, None]),
        ({"not_in": ["a", 1]}, ["b", 2], ["a", 1, True]),
        ({"present": True}, ["", 0, False, [], {}, 1.5, "a" * 9999, "\x00"], [None]),
        ({"prefix": "a", "regex": ".*z"}, ["az", ["x", "az"]], ["a", "z", ["a", "z"]]),
        ({"regex": "[a-z]+", "not_in": ["default"]}, ["pay", ["1", "pay"]], ["default", "1", ["default", "pay"]]),
        ({"present": True, "one_of": ["a"]}, ["a"], ["b", {}]),
    ],
)
def test_a_condition_holds_for_some_values(setting: object, good: list[object], bad: list[object]) -> None:
    condition = read(setting)
    assert [value for value in good if not condition.holds(value)] == []
    assert [value for value in bad if condition.holds(value)] == []


@pytest.mark.parametrize("value", ["a\n", "a\x00", "a\ud800", "a\x7f", 2**63, -(2**63)])
def test_what_nobody_would_write_is_not_compared(value: object) -> None:
    assert not read({"not_in": ["z", 1]}).holds(value)
    assert not read({"prefix": "a"}).holds(value)
    assert read({"present": True}).holds(value)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({}, "the condition asks nothing"),
        ([], "at least 1 item"),
        ({"one_of": []}, "at least 1 item"),
        ({"not_in": []}, "at least 1 item"),
        ({"prefix": ""}, "at least 1 character"),
        ({"present": False}, "Input should be True"),
        ({"regex": "(a+)+"}, "repeats a group"),
        ({"namespace": "pay"}, "has no 'namespace'; .* is written in quotes"),
        (1.5, "object"),
        (None, "object"),
        ([1.5], "valid string"),
        ({"regex": 1}, "valid string"),
        ("a" * 2049, "at most 2048 characters"),
    ],
)
def test_a_bad_condition_is_a_mistake(setting: object, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        read(setting)


def test_a_condition_is_written_for_people() -> None:
    assert str(read({"regex": "a+", "not_in": ["b"]})) == "regex 'a+' and not_in ['b']"


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "regex": st.sampled_from(["[a-c]+", "a.*", "abc?"]),
        "prefix": st.sampled_from(["a", "ab", "b"]),
        "one_of": st.lists(st.sampled_from(["a", "ab", "abc", "b", 1, True]), min_size=1, max_size=3),
        "not_in": st.lists(st.sampled_from(["a", "ab", "b", 1, True]), min_size=1, max_size=3),
        "present": st.sampled_from([True]),
    },
).filter(bool)
SCALARS = st.sampled_from(["", "a", "ab", "abc", "b", "c", 1, 2, True, False, 1.5]) | st.text(max_size=3)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.none() | st.just({})


@given(first=SETTINGS, second=SETTINGS, value=VALUES)
@settings(deadline=None, max_examples=600)
def test_a_condition_implies_only_what_follows(first: object, second: object, value: object) -> None:
    one, other = read(first), read(second)
    if one.implies(other) and one.holds(value):
        assert other.holds(value)
    assert one.implies(one)


# --- claims ---


def test_a_claim_is_found_by_its_path() -> None:
    seen = facts({"a": {"b-c": {"https://x:1/": 5}}, "n": None, "s": "text"}, instance="pod-1")
    assert seen.value("a.b-c.https://x:1/") == 5
    missing = ("n", "n.x", "s.x", "a.x", "x", "x.y")
    assert [seen.value(path) for path in missing] == [None] * len(missing)


def test_fixed_names_are_the_workloads_own_whatever_it_claims() -> None:
    seen = facts({"sub": "admin", "issuer": "admin", "instance": "admin"})
    assert [seen.value(name) for name in ("sub", "issuer", "instance")] == ["the-subject", "https://k8s.example", None]


@pytest.mark.parametrize("verified", [True, False, None, "true", 1])
def test_an_email_counts_only_when_it_is_verified(verified: object) -> None:
    claims = {"email": "a@b", "email_verified": verified, "user": {"email": "c@d", "email_verified": verified}}
    seen = facts(claims)
    expected = ("a@b", "c@d") if verified is True else (None, None)
    assert (seen.value("email"), seen.value("user.email")) == expected


def test_no_path() -> None:
    assert check_path("aws.principal_tags.env") == "aws.principal_tags.env"
    for path in ("", ".", "a.", "a..b", "a b", "a\n", "\u00e9", "a|b", "${a}", ".".join("a" * 11)):
        with pytest.raises(ValueError, match="is no path of a claim"):
            check_path(path)


def test_what_a_path_needs() -> None:
    assert needed(["sub", "issuer", "instance", "a.b", "email", "u.email"]) == {
        *("a.b", "email", "email_verified", "u.email", "u.email_verified")
    }


def test_a_subset_has_what_policy_sees_and_no_more() -> None:
    claims = {
        "a": {"b": 1, "secret": 2},
        "list": ["x", 1.5, ["y"], {"z": 1}, True],
        "long": "a" * 3000,
        "whole": {"inner": 1},
        "both": {"inner": 1, "other": 2},
        "early": "text",
        "huge": 10**5000,
        "other": 1,
    }
    paths = ["a.b", "list", "long", "whole", "both", "both.inner", "early.on", "huge", "missing.x", "none"]
    assert subset(claims | {"none": None}, paths) == {
        "a": {"b": 1},
        "list": ["x", [], [], [], True],
        "long": [],
        "whole": {},
        "both": {"inner": 1},
        "early": "text",
        "huge": [],
        "missing": None,
        "none": None,
    }


def test_a_claim_that_was_not_kept_is_not_taken_for_missing() -> None:
    kept = facts(subset({"a": {"b": 1, "c": 2}, "d": 3}, ["a.b", "x"]), kept=True)
    assert (kept.value("a.b"), kept.value("x"), kept.value("x.y"), kept.value("sub")) == (1, None, None, "the-subject")
    for path in ("a.c", "d", "email"):
        with pytest.raises(ClaimNotKeptError):
            kept.value(path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "missing"),
        ("a\u00e9\n", r"'a\xe9\n'"),
        ("a" * 100, f"'{'a' * 80}...'"),
        (True, "true"),
        (12, "12"),
        (1.5, "a number"),
        (2**63, "a number"),
        ([1, 2], "a list of 2"),
        ({}, "an object"),
    ],
)
def test_a_value_is_shown_short_and_escaped(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_number_too_long_for_python_to_write_is_shown() -> None:
    assert shown(10**5000) == "a number"


NAMES = st.sampled_from(["a", "b", "email", "email_verified"])
CLAIMS = st.dictionaries(NAMES, st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=3)))
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(".".join), max_size=4)


@given(claims=CLAIMS, paths=PATHS, setting=SETTINGS)
@settings(deadline=None, max_examples=400)
def test_conditions_see_in_a_stored_subset_what_they_see_in_the_claims(
    claims: dict[str, Any], paths: list[str], setting: object
) -> None:
    stored = json.loads(json.dumps(subset(claims, needed(paths))))
    fresh, kept, condition = facts(claims), facts(stored, kept=True), read(setting)
    for path in paths:
        assert condition.holds(kept.value(path)) == condition.holds(fresh.value(path))
