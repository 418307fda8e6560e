"""Patterns of names: what each covers, what a wildcard has to fit, and which are mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from acme_ca.policy.patterns import NamePattern, NamePatterns

normalise = TypeAdapter(NamePattern).validate_python
label = st.sampled_from(["a", "b", "corp"])
name = st.lists(label, min_size=1, max_size=4).map(".".join)
pattern = st.builds("{}{}".format, st.sampled_from(["", ".", "*.", "**."]), name)


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("corp.example", "corp.example", True),
        ("corp.example", "www.corp.example", False),
        ("corp.example", "xcorp.example", False),
        ("corp.example", "example", False),
        ("*.corp.example", "corp.example", False),
        ("*.corp.example", "www.corp.example", True),
        ("*.corp.example", "a.www.corp.example", False),
        ("**.corp.example", "corp.example", False),
        ("**.corp.example", "www.corp.example", True),
        ("**.corp.example", "a.www.corp.example", True),
        ("**.corp.example", "xcorp.example", False),
        (".corp.example", "corp.example", True),
        (".corp.example", "www.corp.example", True),
        (".corp.example", "a.www.corp.example", True),
        (".corp.example", "xcorp.example", False),
        ("corp.example", "*.corp.example", False),
        ("www.corp.example", "*.corp.example", False),
        ("*.corp.example", "*.corp.example", True),
        ("*.corp.example", "*.www.corp.example", False),
        ("**.corp.example", "*.corp.example", True),
        ("**.corp.example", "*.www.corp.example", True),
        (".corp.example", "*.corp.example", True),
        (".corp.example", "*.example", False),
        ("*.localhost", "*.localhost", True),
        ("localhost", "localhost", True),
        ("*.corp", "corp", False),
    ],
)
def test_what_a_pattern_covers(pattern: str, name: str, covered: bool) -> None:  # noqa: FBT001 - a table's column
    assert NamePatterns((pattern,)).cover(name) is covered


@pytest.mark.parametrize(
    ("pattern", "wildcard", "touched"),
    [
        ("www.corp.example", "*.corp.example", True),
        (".www.corp.example", "*.corp.example", True),
        ("**.www.corp.example", "*.corp.example", False),
        ("*.www.corp.example", "*.corp.example", False),
        ("corp.example", "*.corp.example", False),
        ("a.www.corp.example", "*.corp.example", False),
        ("*.corp.example", "*.corp.example", True),
        ("**.example", "*.corp.example", True),
    ],
)
def test_a_wildcard_is_touched_by_any_name_it_stands_for(pattern: str, wildcard: str, touched: bool) -> None:  # noqa: FBT001 - a table's column
    assert NamePatterns((pattern,)).touch(wildcard) is touched


def slow_match(pattern: str, name: str) -> bool:
    """The meaning of a pattern, label by label."""
    bare = pattern.lstrip("*").removeprefix(".")
    depth = name.removesuffix(bare).count(".") if name.endswith("." + bare) else 0
    if pattern.startswith("**."):
        return depth > 0
    if pattern.startswith("*."):
        return depth == 1
    return name == bare or (pattern.startswith(".") and depth > 0)


@given(patterns=st.lists(pattern, max_size=4), name=name)
@settings(deadline=None, max_examples=300)
def test_patterns_mean_what_each_means_alone(patterns: list[str], name: str) -> None:
    index = NamePatterns(patterns)
    assert index.cover(name) == index.touch(name) == any(slow_match(pattern, name) for pattern in patterns)


@given(pattern=pattern, base=name)
@settings(deadline=None, max_examples=300)
def test_a_wildcard_is_covered_when_every_name_it_stands_for_is(pattern: str, base: str) -> None:
    index = NamePatterns((pattern,))
    stands_for = [f"{first}.{base}" for first in ("a", "b", "corp", "other")]
    assert index.cover(f"*.{base}") == all(index.cover(name) for name in stands_for)
    assert index.touch(f"*.{base}") == any(index.cover(name) for name in stands_for)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Corp.EXAMPLE", "corp.example"),
        (".Corp.example", ".corp.example"),
        ("*.Corp.example", "*.corp.example"),
        ("**.Corp.example", "**.corp.example"),
    ],
)
def test_a_pattern_is_kept_in_lower_case(written: str, kept: str) -> None:
    assert normalise(written) == kept


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("*", "misplaced asterisk"),
        ("**", "misplaced asterisk"),
        ("***.corp.example", "misplaced asterisk"),
        ("*.*.corp.example", "misplaced asterisk"),
        ("www.*.example", "misplaced asterisk"),
        ("w*.example", "misplaced asterisk"),
        ("*corp.example", "misplaced asterisk"),
        ("", "has no name"),
        (".", "has no name"),
        ("*.", "has no name"),
        ("..corp.example", "empty label"),
        ("corp.example.", "ends with a dot"),
        ("corp_.example", "contains '_'"),
        ("10.0.0.0", "is an IP address"),
    ],
)
def test_a_pattern_that_means_nothing_is_a_mistake(written: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        normalise(written)
