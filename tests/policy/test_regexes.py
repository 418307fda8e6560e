"""Regular expressions in rules: which are accepted, and what they match."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.policy.regexes import check_regex, matches


@pytest.mark.parametrize(
    ("regex", "value", "expected"),
    [
        ("[a-z]+", "pay", True),
        ("[a-z]+", "pay\n", False),
        ("[a-z]+", "x/pay", False),
        ("a|b", "ab", False),
        ("^[a-z]+$", "pay", True),
        (r"\d+", "12", True),
        (r"\d+", "\u0661", False),  # a digit in Arabic script
        (r"\w+", "\u00e9", False),
        (r"refs/(?:heads/main|tags/v[0-9]+\.[0-9]+\.[0-9]+)", "refs/tags/v1.20.3", True),
        ("([a-z]+-)?api", "pay-api", True),
        ("[0-9]{12}", "123456789012", True),
        ("(ab)+", "abab", True),
        (r"[\]()*+?]", "*", True),
        ("[]a]", "]", True),
        ("[a-z]+", "a" * 512, True),
        ("[a-z]+", "a" * 513, False),
    ],
)
def test_an_expression_matches_whole_values(regex: str, value: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert matches(check_regex(regex), value) == expected


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        ("(a+)+", "repeats a group"),
        ("(?:a*b)*", "repeats a group"),
        ("(a|aa)+", "repeats a group"),
        ("((a?)b){2}", "repeats a group"),
        ("((a+))*", "repeats a group"),
        ("a++", "two quantifiers in a row"),
        ("a+?", "two quantifiers in a row"),
        ("(?=a)b", "no flags, names, look-around"),
        ("(?i)a", "no flags, names, look-around"),
        ("(?P<x>a)", "no flags, names, look-around"),
        (r"(a)\1", "no flags, names, look-around"),
        (".*.*.*.*", r"has 4 of \*, \+ and \{m,n\}; at most 3"),
        ("a{1,2}b{1,}c{,3}d+", r"has 4 of \*, \+ and \{m,n\}; at most 3"),
        ("a?b?c?d?e?", r"has 5 of \?; at most 4"),
        ("|" * 17, r"has 17 of \|; at most 16"),
        ("[[a]", "has an unclear set"),
        ("[a--z]", "has an unclear set"),
        ("(a", "is no regular expression"),
        ("a)", "is no regular expression"),
        ("*", "is no regular expression"),
        ("[a", "is no regular expression"),
        ("\\", "is no regular expression"),
        ("a{99999999999}", "is no regular expression"),
        ("a" * 513, "has 513 characters; at most 512"),
    ],
)
def test_an_expression_that_is_none_or_may_be_slow_is_refused(regex: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_regex(regex)


@given(regex=st.text("ab()[]|?*+{},12\\^$.-:&~", max_size=30) | st.text(max_size=20), value=st.text("ab-", max_size=20))
@settings(deadline=None, max_examples=400)
def test_any_text_is_an_expression_or_refused(regex: str, value: str) -> None:
    try:
        check_regex(regex)
    except ValueError:
        return
    assert matches(regex, value) == (re.fullmatch(regex, value, re.ASCII) is not None)
