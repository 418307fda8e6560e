"""The text of CEL expressions, taken apart as far as their bounds and common mistakes need it.

A raw string ends at its first quote, whatever is before it; in others a backslash takes a quote along: https://cel.dev.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
OF_A_NAME = ("type", "value", "wildcard")
"""What identifiers have."""

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_TOKEN = re.compile(
    r"""(?P<text>(?:[rR][bB]?|[bB][rR])(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"]*"|'[^']*')"""
    r"""|[bB]?(?:"{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<comment>//[^\n]*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>\S)""",
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop: over what, if that is one word; the word that stands for an element; and the tokens in its brackets."""

    over: str | None
    variable: str | None
    body: Sequence[str]


def tokens(source: str) -> list[str]:
    """Return words, texts with their quotes, and single signs; no comments."""
    return [found[0] for found in _TOKEN.finditer(source) if found.lastgroup != "comment"]


def loops(found: Sequence[str]) -> Iterator[Loop]:
    """Yield the loops, the outer ones first."""
    for place in range(len(found) - 2):
        dot, word, bracket = found[place : place + 3]
        if dot == "." and word in LOOPS and bracket == "(":
            body = found[place + 3 : _end(found, place + 2)]
            over = found[place - 1] if place and (place < 2 or found[place - 2] != ".") else None  # noqa: PLR2004 - one before
            yield Loop(over, body[0] if len(body) > 1 and body[1] == "," else None, body)


def depth(found: Sequence[str]) -> int:
    """Return how many brackets are inside each other at most."""
    deepest = now = 0
    for token in found:
        now += _step(token)
        deepest = max(deepest, now)
    return deepest


def members(found: Sequence[str], variable: str) -> Iterator[str]:
    """Yield the members of a variable that are asked for: `value` in `identifier.value`. Calls are none."""
    for place, token in enumerate(found[:-2]):
        is_member = token == variable and found[place + 1] == "." and (not place or found[place - 1] != ".")
        if is_member and found[place + 3 : place + 4] != ["("]:
            yield found[place + 2]


def paths(found: Sequence[str], variable: str) -> Iterator[str]:
    """Yield the paths of names below a variable: `a.b` in `claims.a.b == 1`."""
    for place, token in enumerate(found):
        if token == variable and (not place or found[place - 1] != "."):
            names = list(_names_after(found, place + 1))
            if names:
                yield ".".join(names)


def _names_after(found: Sequence[str], place: int) -> Iterator[str]:
    while place + 1 < len(found) and found[place] == "." and found[place + 1].isidentifier():
        yield found[place + 1]
        place += 2


def arguments_of(found: Sequence[str], function: str) -> Iterator[Sequence[str]]:
    """Yield what stands in the brackets of each call of a method."""
    for place in range(len(found) - 2):
        if list(found[place : place + 3]) == [".", function, "("]:
            yield found[place + 3 : _end(found, place + 2)]


def is_text(token: str) -> bool:
    """Whether a token is a text in quotes."""
    return token[-1] in "\"'" and len(token) > 1


def _step(token: str) -> int:
    return (token in _OPENING) - (token in _CLOSING)


def _end(found: Sequence[str], opening: int) -> int:
    """Return where the bracket is closed that is opened at a place."""
    open_now = 0
    for place in range(opening, len(found)):
        open_now += _step(found[place])
        if not open_now:
            return place
    return len(found)
