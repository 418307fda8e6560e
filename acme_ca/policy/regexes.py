"""Regular expressions that answer soon, whatever a stranger's token says.

Python's `re` tries all ways to match, and an expression like `(a+)+` has exponentially many. So only plain expressions
are accepted, with few quantifiers and none inside another, for values that are not long. That is a guard against slips:
who writes rules is trusted, who sends tokens is not. Expressions are always anchored at both ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

MAX_MATCHED = 512  # characters of a value; with MAX_REPEATS there are 22 million ways at most: some tenths of a second
MAX_REGEX = 512
MAX_REPEATS = 3  # quantifiers that repeat an unknown number of times
MAX_OPTIONAL = 4  # question marks
MAX_CHOICES = 16  # bars

_TOKEN = re.compile(
    r"(?P<escape>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<extension>\(\?(?!:))|(?P<open>\((?:\?:)?)|(?P<close>\))"
    r"|(?P<either>\|)|(?P<optional>\?)|(?P<exactly>\{\d+\})|(?P<repeat>[*+]|\{\d*,\d*\})|(?P<literal>.)",
    re.DOTALL,
)
_BACK_REFERENCE = re.compile(r"\\[1-9]")
_SET_OPERATION = re.compile(r"(?<!\\)\[|--|&&|~~|\|\|")  # which Python warns of: they may get another meaning


def matches(regex: str, value: str) -> bool:
    """Tell whether a checked expression matches the whole value; one that is too long matches nothing."""
    return len(value) <= MAX_MATCHED and _compiled(regex).fullmatch(value) is not None


def check_regex(regex: str) -> str:
    """Return the expression; raises ValueError for what is none, or what might take long."""
    if len(regex) > MAX_REGEX:
        raise ValueError(f"the regular expression has {len(regex)} characters; at most {MAX_REGEX} are accepted")
    tokens = list(_tokens(regex))
    _check_quantifiers(tokens)
    try:
        _compiled(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{regex!r} is no regular expression: {error}") from error
    return regex


@lru_cache(maxsize=1024)
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.ASCII)  # \d and \w are not to mean letters that look alike


def _tokens(regex: str) -> Iterator[str]:
    """Yield the kind of every token; raises ValueError for what is not plain."""
    for found in _TOKEN.finditer(regex):
        text, kind = found[0], found.lastgroup or ""
        if kind == "extension" or (kind == "escape" and _BACK_REFERENCE.fullmatch(text)):
            raise ValueError(
                f"the regular expression {regex!r} has {text!r}; no flags, names, look-around or references back are "
                "accepted; write groups as (...) or (?:...)"
            )
        if text == "[":
            raise ValueError(f"{regex!r} is no regular expression: a set has no end")
        if kind == "set" and _SET_OPERATION.search(text[1:-1]):
            raise ValueError(f"the regular expression {regex!r} has an unclear set {text!r}; escape [ - & ~ | in it")
        yield kind


def _check_quantifiers(tokens: list[str]) -> None:
    limits = (("repeat", "*, + and {m,n}", MAX_REPEATS), ("optional", "?", MAX_OPTIONAL), ("either", "|", MAX_CHOICES))
    for kind, signs, limit in limits:
        if (number := tokens.count(kind)) > limit:
            raise ValueError(f"the regular expression has {number} of {signs}; at most {limit} are accepted")
    _check_nesting(tokens)


def _check_nesting(tokens: list[str]) -> None:
    """Refuse a repeated group that can match in several ways, and a quantifier of a quantifier."""
    groups = [False]  # for each open group, whether it repeats or chooses inside
    closed = False  # whether the group that was just closed does
    for before, kind in zip(["", *tokens], tokens, strict=False):
        if kind in {"repeat", "exactly", "optional"} and before in {"repeat", "exactly", "optional"}:
            raise ValueError("the regular expression has two quantifiers in a row; write one")
        if kind in {"repeat", "exactly"} and before == "close" and closed:
            raise ValueError(
                "the regular expression repeats a group with a quantifier or a choice inside; write a set: [a-z-]+"
            )
        if kind == "open":
            groups.append(False)
        elif kind == "close" and len(groups) > 1:
            closed = groups.pop()
            groups[-1] |= closed
        elif kind in {"repeat", "optional", "either"}:
            groups[-1] = True
