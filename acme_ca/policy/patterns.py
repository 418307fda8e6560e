"""Patterns of DNS names, as policy rules have them.

`corp.example` is that name alone, `*.corp.example` each name exactly one label below it, `**.corp.example` all names
below it at any depth, and `.corp.example` the name itself and all below. An asterisk has no other place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator

from acme_ca import identifiers
from acme_ca.problems import Problem

_PREFIXES = ("**.", "*.", ".")


def _normalised(pattern: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if pattern.startswith(prefix)), "")
    name = pattern.removeprefix(prefix)
    if "*" in name:
        raise ValueError(
            f"pattern {pattern!r} has a misplaced asterisk; expected NAME, *.NAME (one label below), "
            "**.NAME (all below) or .NAME (itself and all below)"
        )
    try:
        return prefix + identifiers.parse("dns", name).value
    except Problem as problem:
        raise ValueError(f"pattern {pattern!r}: {problem.detail}") from problem


NamePattern = Annotated[str, AfterValidator(_normalised)]


class NamePatterns:
    """A set of patterns, made for fast answers: each takes time by the labels of the name, not by the patterns."""

    __slots__ = ("_below", "_exact", "_exact_parents", "_one_below")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact, one_below, below = set(), set(), set()
        for pattern in patterns:
            name = pattern.lstrip("*").removeprefix(".")
            if pattern.startswith("**."):
                below.add(name)
            elif pattern.startswith("*."):
                one_below.add(name)
            else:
                exact.add(name)
                if pattern.startswith("."):
                    below.add(name)
        self._exact = frozenset(exact)
        self._exact_parents = frozenset(_parent(name) for name in exact)
        self._one_below = frozenset(one_below)
        self._below = frozenset(below)

    def cover(self, name: str) -> bool:
        """Whether the name matches; a wildcard name does when each name that it stands for does."""
        if name.startswith("*."):
            base = name[2:]
            return base in self._one_below or base in self._below or self._below_zone(base)
        return name in self._exact or _parent(name) in self._one_below or self._below_zone(name)

    def depth(self, base: str) -> int:
        """Return how many labels the wildcard `*.base` has below the nearest pattern that covers it; 0 for none."""
        if base in self._one_below or base in self._below:
            return 1
        above = enumerate(_ancestors(base), 2)
        return next((depth for depth, ancestor in above if ancestor in self._below), 0)

    def cover_all_below(self, name: str) -> bool:
        """Whether every name below this one matches, at any depth."""
        return name in self._below or self._below_zone(name)

    def touch(self, name: str) -> bool:
        """Whether the name matches; a wildcard name does when any name that it stands for does."""
        return self.cover(name) or (name.startswith("*.") and name[2:] in self._exact_parents)

    def _below_zone(self, name: str) -> bool:
        return bool(self._below) and any(ancestor in self._below for ancestor in _ancestors(name))


def _parent(name: str) -> str:
    return name.partition(".")[2]


def _ancestors(name: str) -> Iterator[str]:
    while name := _parent(name):
        yield name
