"""What policy sees of a workload: values at dotted paths of its claims.

Claims are what strangers put into tokens. So a value is compared only when it is a string that fits on one line, a
whole number or a boolean, or a list of these; anything else, `null` included, equals nothing and fits nowhere.
docs/workload-identity-00.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AfterValidator

from acme_ca.workload.base import Workload

MAX_TEXT = 2048  # characters of a string that is compared: what a SPIFFE ID may have, the longest name of a workload
MAX_LIST = 500  # elements of a list that conditions see: one may look at all of them for each of them
MAX_SHOWN = 80
_MAX_NUMBER = 2**63  # what TOML can write

FIXED = frozenset({"sub", "issuer", "instance"})
"""Paths that are the workload's own subject, issuer and instance, whatever claims have these names."""

_EMAIL, _VERIFIED = "email", "email_verified"
_NAME = r"[A-Za-z0-9_:/@+=-]{1,128}"
_PATH = rf"{_NAME}(?:\.{_NAME}){{0,9}}"
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

Comparable = str | bool | int


class ClaimNotKeptError(Exception):
    """A claim is asked for that was not kept when the workload was recorded, so that nobody knows its value."""


def check_path(path: str) -> str:
    """Return a claim path; raises ValueError for what is none."""
    if not re.fullmatch(_PATH, path):
        raise ValueError(f"{path!r} is no path of a claim; expected names joined by dots, like kubernetes.namespace")
    return path


ClaimPath = Annotated[str, AfterValidator(check_path)]
"""Names of nested claims, joined by dots: `kubernetes.namespace`."""


class Facts:
    """The claims of a workload, by path.

    With `kept`, the workload is made from a record: its claims are a `subset`, and to ask for one that is not in it
    raises ClaimNotKeptError. A rule that is newer than the record must not take a claim for missing.
    """

    __slots__ = ("_claims", "_fixed", "_kept")

    def __init__(self, workload: Workload, *, kept: bool = False) -> None:
        self._claims = workload.claims
        self._fixed = {"sub": workload.subject, "issuer": workload.issuer, "instance": workload.instance}
        self._kept = kept

    def value(self, path: str) -> object:
        """Return the value at a path, or None when it is missing, null, or an e-mail address nobody verified."""
        if path in FIXED:
            return self._fixed[path]
        verified = _verification_of(path)
        if verified is not None and self._at(verified) is not True:
            return None
        return self._at(path)

    def _at(self, path: str) -> object:
        value: object = self._claims
        for name in path.split("."):
            if not isinstance(value, Mapping):
                return None
            if self._kept and name not in value:
                raise ClaimNotKeptError(path)
            value = value.get(name)
        return value


def needed(paths: Iterable[str]) -> frozenset[str]:
    """Return which of the paths are of claims, and what these need: an e-mail address, its `email_verified`."""
    wanted = frozenset(paths) - FIXED
    return wanted | {verified for path in wanted if (verified := _verification_of(path)) is not None}


def subset(claims: Mapping[str, object], paths: Iterable[str]) -> dict[str, object]:
    """Return what policy sees at the paths, nested again and fit to be stored as JSON; what is missing is null."""
    found: dict[str, object] = {}
    for path in sorted(paths):
        _keep(claims, found, path.split("."))
    return found


def without_doubts(claims: Mapping[str, object]) -> dict[str, object]:
    """Return claims as conditions may see them: e-mail addresses that nobody verified, and lists too long, are null."""
    is_verified = claims.get(_VERIFIED) is True
    return {name: None if name == _EMAIL and not is_verified else _certain(value) for name, value in claims.items()}


def comparable(value: object) -> Comparable | None:
    """Return the value if policy compares it, else None."""
    if isinstance(value, str):
        return None if len(value) > MAX_TEXT or _UNFIT.search(value) else value
    return value if isinstance(value, int) and abs(value) < _MAX_NUMBER else None  # bool is an int


def shown(value: object) -> str:
    """Quote a value of a claim, escaped and bounded; of what is not compared only the kind."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return ascii(value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}...")
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if (scalar := comparable(value)) is not None:
        return str(scalar).lower()  # true and false, as JSON and TOML write them
    return "an object" if isinstance(value, Mapping) else "a number"


def _certain(value: object) -> object:
    if isinstance(value, Mapping):
        return without_doubts(value)
    if isinstance(value, list | tuple):
        return None if len(value) > MAX_LIST else [_certain(element) for element in value]
    return value


def _verification_of(path: str) -> str | None:
    parent, dot, name = path.rpartition(".")
    return f"{parent}{dot}{_VERIFIED}" if name == _EMAIL else None


def _keep(source: Mapping[str, object], target: dict[str, object], names: list[str]) -> None:
    """Copy what is at the end of `names`, or where the way there ends early."""
    name, *further = names
    value = source.get(name)
    if not isinstance(value, Mapping):
        target[name] = _storable(value)
        return
    inner = target.setdefault(name, {})
    if further and isinstance(inner, dict):
        _keep(value, inner, further)


def _storable(value: object) -> object:
    """Return what conditions could tell apart; what is not compared is only there, for which an empty list stands."""
    if value is None:
        return None
    return [_or_empty(element) for element in value] if isinstance(value, list | tuple) else _or_empty(value)


def _or_empty(value: object) -> object:
    found = comparable(value)
    return [] if found is None else found
