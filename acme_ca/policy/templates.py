"""Names made from the claims of a workload: `${kubernetes.namespace}` in DNS names and SPIFFE IDs.

A claim never widens a name: what stands for `${...}` is one whole label or segment, or the only such part of one, so
that separators and wildcards in it are refused and different claims cannot join to the same name. Nothing is
normalised: a value that does not fit is UnfitError. docs/workload-identity-00.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated

from pydantic import AfterValidator

from acme_ca import identifiers
from acme_ca.identifiers import SPIFFE
from acme_ca.policy.claims import check_path, shown
from acme_ca.problems import Problem

Values = Callable[[str], object]
"""Gives the value of the claim at a path, None for a missing one."""

SPIFFE_PATH = "spiffe_path"
"""The filter that makes of a SPIFFE ID its path without the leading slash: the only one that gives several segments."""

_SUBSTITUTION = re.compile(r"\$\{([^{}|]*)(\|[^{}]*)?\}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]+")
_SAMPLE = "a"  # fits everywhere


class UnfitError(Exception):
    """A claim does not fit where a template wants to put it. The message is bounded ASCII."""


@dataclass(frozen=True, slots=True)
class _Substitution:
    path: str
    filter: str | None


@dataclass(frozen=True, slots=True)
class _Unit:
    """A label or segment: literal text, with one substitution in it at most."""

    before: str
    substitution: _Substitution | None = None
    after: str = ""


_Fit = Callable[[_Substitution], str]


class DnsTemplate:
    """A DNS name with substitutions. A leading `*.` stands for exactly one label of a concrete name.

    Raises ValueError for what is none. `paths` are the claims it needs, `suffix` the literal labels that it ends with.
    """

    __slots__ = ("_prefix", "_units", "paths", "suffix")

    def __init__(self, text: str) -> None:
        self._prefix = "*." if text.startswith("*.") else ""
        rest = text.removeprefix("*.")
        if "*" in rest:
            raise ValueError(f"template {text!r} has a misplaced asterisk; only a leading '*.' stands for one label")
        self._units = _units(rest, ".")
        if any(_filter(unit) for unit in self._units):
            raise ValueError(f"template {text!r}: |{SPIFFE_PATH} is for SPIFFE IDs only")
        self.paths = _paths(self._units)
        literal = list(takewhile(lambda unit: unit.substitution is None, reversed(self._units)))
        self.suffix = ".".join(unit.before for unit in reversed(literal))
        _try_out(text, self._render)

    def is_within(self, zone: str) -> bool:
        """Tell whether all names that it can give are the zone or below it."""
        return self.suffix == zone or self.suffix.endswith(f".{zone}")

    def fill(self, values: Values) -> str:
        """Return the name, or the pattern `*.NAME`; raises UnfitError."""
        return self._render(lambda put: _label(put.path, values(put.path)))

    def _render(self, fit: _Fit) -> str:
        name = ".".join(_filled(unit, fit) for unit in self._units)
        try:
            parsed = identifiers.parse("dns", name).value
        except Problem as problem:
            raise UnfitError(problem.detail) from problem
        if parsed != name:
            raise UnfitError("it has capital letters; expected lower case")
        return self._prefix + parsed


class SpiffeTemplate:
    """A SPIFFE ID with substitutions in its path; in a `pattern`, a segment `*` stands for any one segment.

    Raises ValueError for what is none. `paths` are the claims it needs, `trust_domain` is always literal.
    """

    __slots__ = ("_pattern", "_units", "paths", "trust_domain")

    def __init__(self, text: str, *, pattern: bool = False) -> None:
        self._pattern = pattern
        self.trust_domain, slash, path = text.removeprefix(SPIFFE).partition("/")
        if not text.startswith(SPIFFE) or not slash or "$" in self.trust_domain:
            raise ValueError(f"template {text!r} does not start with {SPIFFE}, a literal trust domain and a slash")
        self._units = _units(path, "/")
        self.paths = _paths(self._units)
        _check_filters(text, self._units)
        _try_out(text, self._render)

    def fill(self, values: Values) -> str:
        """Return the ID, or the pattern; raises UnfitError."""
        return self._render(lambda put: _segments(put, values(put.path)))

    def _render(self, fit: _Fit) -> str:
        segments = [_filled(unit, fit) for unit in self._units]
        # What is put in has no asterisk, so that those of a pattern are its own.
        probe = [_SAMPLE if self._pattern and segment == "*" else segment for segment in segments]
        try:
            identifiers.parse("uri", self._id(probe))
        except Problem as problem:
            raise UnfitError(problem.detail) from problem
        return self._id(segments)

    def _id(self, segments: Sequence[str]) -> str:
        return f"{SPIFFE}{self.trust_domain}/{'/'.join(segments)}"


def spiffe_id_matches(uri: str, pattern: str) -> bool:
    """Tell whether a SPIFFE ID is what a filled pattern stands for: a segment `*` is any one segment."""
    try:
        identifiers.parse("uri", uri)
    except Problem:
        return False
    parts, wanted = uri.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(want in {"*", part} for part, want in zip(parts, wanted, strict=True))


def _checked_dns(text: str) -> str:
    DnsTemplate(text)
    return text


def _checked_spiffe(text: str) -> str:
    SpiffeTemplate(text)
    return text


def _checked_pattern(text: str) -> str:
    SpiffeTemplate(text, pattern=True)
    return text


DnsTemplateText = Annotated[str, AfterValidator(_checked_dns)]
SpiffeTemplateText = Annotated[str, AfterValidator(_checked_spiffe)]
SpiffePatternText = Annotated[str, AfterValidator(_checked_pattern)]


def _units(text: str, separator: str) -> tuple[_Unit, ...]:
    """Cut a template at its separators; raises ValueError for what cannot be filled without doubt."""
    return tuple(_unit(text, piece, separator) for piece in _pieces(text, separator))


def _pieces(text: str, separator: str) -> Sequence[str]:
    """Split at separators outside of `${...}`, in which a path may have the same signs."""
    pieces, start = [], 0
    for found in re.finditer(rf"\$\{{[^{{}}]*\}}|({re.escape(separator)})", text):
        if found[1]:
            pieces.append(text[start : found.start()])
            start = found.end()
    return [*pieces, text[start:]]


def _unit(text: str, piece: str, separator: str) -> _Unit:
    found = list(_SUBSTITUTION.finditer(piece))
    if len(found) > 1:
        raise ValueError(
            f"template {text!r} has two substitutions in {piece!r}: different claims could join to one name; "
            f"expected {separator!r} between them"
        )
    before, after = (piece[: found[0].start()], piece[found[0].end() :]) if found else (piece, "")
    if re.search(r"[${}]", before + after):
        raise ValueError(f"template {text!r} has a $ or a brace that is no part of ${{claim}} or ${{claim|filter}}")
    return _Unit(before, _substitution(text, found[0]) if found else None, after)


def _substitution(text: str, found: re.Match[str]) -> _Substitution:
    name = None if found[2] is None else found[2].removeprefix("|")
    if name not in {None, SPIFFE_PATH}:
        raise ValueError(f"template {text!r} has the filter {name!r}; there is only |{SPIFFE_PATH}")
    return _Substitution(check_path(found[1]), name)


def _filter(unit: _Unit) -> str | None:
    return None if unit.substitution is None else unit.substitution.filter


def _check_filters(text: str, units: Sequence[_Unit]) -> None:
    several = [unit for unit in units if _filter(unit)]
    if len(several) > 1:
        raise ValueError(f"template {text!r} has |{SPIFFE_PATH} twice: different claims could join to one ID")
    if any(unit.before or unit.after for unit in several):
        raise ValueError(f"template {text!r}: |{SPIFFE_PATH} gives several segments and stands alone between slashes")


def _paths(units: Sequence[_Unit]) -> frozenset[str]:
    return frozenset(unit.substitution.path for unit in units if unit.substitution is not None)


def _try_out(text: str, render: Callable[[_Fit], str]) -> None:
    """Fill a template with what fits everywhere, so that mistakes in its literal text show at load."""
    try:
        render(lambda _: _SAMPLE)
    except UnfitError as error:
        raise ValueError(f"template {text!r}: {error}") from error


def _filled(unit: _Unit, fit: _Fit) -> str:
    return unit.before if unit.substitution is None else unit.before + fit(unit.substitution) + unit.after


def _label(path: str, value: object) -> str:
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    raise UnfitError(
        f"{path} is {shown(value)}; for a DNS name it has to be one label: a string of at most 63 lower-case letters, "
        "digits and inner hyphens"
    )


def _segments(put: _Substitution, value: object) -> str:
    if put.filter is None:
        if isinstance(value, str) and _SEGMENT.fullmatch(value):
            return value
        raise UnfitError(
            f"{put.path} is {shown(value)}; for a SPIFFE ID it has to be one segment: a string of letters, digits, "
            "dots, hyphens and underscores, and neither . nor .."
        )
    try:
        parts = identifiers.parse_spiffe_id(value).segments if isinstance(value, str) else ()
    except Problem as problem:
        raise UnfitError(f"{put.path}: {problem.detail}") from problem
    if not parts:
        raise UnfitError(f"{put.path} is {shown(value)}; |{put.filter} takes a SPIFFE ID with a path")
    return "/".join(parts)
