"""Conditions of policy rules: expressions in the Common Expression Language (CEL).

An expression is compiled once and sees only the variables of `VARIABLES`. It is short, and no loop stands inside
another one, so that it takes at most one step for each identifier of an order, or for each element of a claim. Regular
expressions are those of RE2's family: their time grows with the text alone. https://cel.dev
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator

from acme_ca.identifiers import Identifier
from acme_ca.policy.claims import without_doubts

VARIABLES: Mapping[str, str] = {
    "account": "the account's id",
    "eab_label": "the label of the external account key that the account was bound by; empty without one",
    "identifier": "the name that is decided: identifier.type, identifier.value, identifier.wildcard",
    "identifiers": "all names of the order, each like `identifier`",
    "profile": "the profile that the order names, else the environment's default one",
    "key_type": "the kind of the certificate's key; empty at newOrder, where nobody knows it yet",
    "workload": "the name of the rule for workloads that the account's workload has; empty without one",
    "claims": "what is kept of that workload's claims: claims.kubernetes.namespace",
}
"""What an expression can speak of, each with its meaning."""

MAX_CONDITION = 1000  # characters
MAX_LOOPS = 5
_MAX_DEPTH = 20  # brackets inside brackets
_TEXT = re.compile(r"""[rRbB]{0,2}("{3}.*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|//[^\n]*""", re.DOTALL)
_STEP = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(|[(\[{]|[)\]}]")
_CLAIM = re.compile(r"\bclaims((?:\s*\.\s*[A-Za-z_][A-Za-z0-9_]*)+)")


class ConditionFailedError(Exception):
    """An expression has no answer: a claim is missing, types do not fit, or it gives neither true nor false."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """The account that asks, and what it asks for besides names.

    `eab_label` is the label of the external account key that it was bound by; `workload_rule` is the rule for workloads
    that its workload has, `claims` what is kept of it. `profile` and `key_type` are empty while they are not known.
    """

    account_id: str
    eab_label: str | None
    workload_rule: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    key_type: str = ""


class Condition:
    """An expression, compiled; raises ValueError for what is none, is too long or loops too much."""

    __slots__ = ("_needs", "_program", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        _check_bounds(source)
        try:
            self._program: Any = _library().compile(source)
        except Exception as error:
            raise ValueError(f"not CEL: {_first_line(error)}") from error
        self._needs = frozenset[str](self._program.variables()) & VARIABLES.keys()
        _check_names(self._program, source)

    @property
    def is_about_one_name(self) -> bool:
        """Whether the answer may differ from name to name of an order."""
        return "identifier" in self._needs

    @property
    def is_about_workloads(self) -> bool:
        """Whether the answer depends on the account's workload."""
        return bool(self._needs & {"workload", "claims"})

    def claim_paths(self) -> Iterator[str]:
        """Yield the paths of the claims that it looks at, as far as they are written with dots."""
        for found in _CLAIM.finditer(_TEXT.sub("''", self.source)):
            yield re.sub(r"\s", "", found[1]).removeprefix(".")

    def holds(self, facts: Facts, identifier: Identifier) -> bool:
        """Tell whether the expression is true; raises ConditionFailedError."""
        try:
            found = self._program.execute(facts.context(identifier if self.is_about_one_name else None))
        except Exception as error:
            raise ConditionFailedError(f"{_first_line(error)}") from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of the library's Rust: it is no Exception
                raise
            raise ConditionFailedError("the expression cannot be evaluated") from error
        if not isinstance(found, bool):
            raise ConditionFailedError(f"it gives {type(found).__name__}, and neither true nor false")
        return found


class Facts:
    """What expressions see of one order. Values are converted once, when the first expression asks."""

    __slots__ = ("_applicant", "_context", "_identifiers")

    def __init__(self, applicant: Applicant, identifiers: Sequence[Identifier]) -> None:
        self._applicant = applicant
        self._identifiers = identifiers
        self._context: Any = None

    def context(self, identifier: Identifier | None) -> object:
        """Return the variables, in the library's form."""
        applicant = self._applicant
        if self._context is None:
            self._context = _library().Context(
                variables={
                    "account": applicant.account_id,
                    "eab_label": applicant.eab_label or "",
                    "identifiers": [_seen(name) for name in self._identifiers],
                    "profile": applicant.profile,
                    "key_type": applicant.key_type,
                    "workload": applicant.workload_rule or "",
                    "claims": without_doubts(applicant.claims),
                }
            )
        if identifier is not None:
            self._context.add_variable("identifier", _seen(identifier))
        return self._context


def check_condition(source: str) -> str:
    """Return the expression; raises ValueError for what is none."""
    condition(source)
    return source


@lru_cache(maxsize=1024)
def condition(source: str) -> Condition:
    """Return an expression compiled; raises ValueError."""
    return Condition(source)


ConditionText = Annotated[str, AfterValidator(check_condition)]


@cache
def _library() -> Any:  # noqa: ANN401 - a module
    # Only where there is a condition: its package brings a command line of its own, which takes 0.15 s to import.
    return import_module("cel")


def _seen(identifier: Identifier) -> dict[str, str | bool]:
    return {"type": identifier.type, "value": identifier.value, "wildcard": identifier.wildcard}


def _check_bounds(source: str) -> None:
    if len(source) > MAX_CONDITION:
        raise ValueError(f"the condition has {len(source)} characters; at most {MAX_CONDITION} are accepted")
    open_loops: list[bool] = []  # of each open bracket, whether a loop began with it
    loops = 0
    for step in _STEP.finditer(_TEXT.sub("''", source)):
        if step[0] in ")]}":
            del open_loops[-1:]
            continue
        is_loop = step[0].startswith(".")
        loops += is_loop
        if is_loop and any(open_loops):
            raise ValueError("the condition has a loop (all, exists, exists_one, map, filter) inside another one")
        open_loops.append(is_loop)
        if len(open_loops) > _MAX_DEPTH:
            raise ValueError(f"the condition has more than {_MAX_DEPTH} brackets inside each other")
    if loops > MAX_LOOPS:
        raise ValueError(f"the condition has {loops} loops (all, exists, ...); at most {MAX_LOOPS} are accepted")


def _check_names(program: Any, source: str) -> None:  # noqa: ANN401 - the library's
    """Refuse variables that there are not. Those of loops are the first word in their brackets."""
    own = set(re.findall(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,", source))
    types = {"bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "uint"}
    for name in sorted(program.variables()):
        if not name.startswith("@") and name not in VARIABLES.keys() | own | types:
            raise ValueError(f"a condition has no variable {name!r}; there are {', '.join(VARIABLES)}")
    context = Facts(Applicant("", None), ()).context(Identifier("dns", "a.example"))
    try:
        program.execute(context)  # what fails on these facts may hold on others; only an unknown function never does
    except RuntimeError as error:
        if "Undefined" in str(error):
            raise ValueError(f"not CEL: {_first_line(error)}") from error
    except Exception:  # noqa: BLE001, S110 - an empty order has no answer, and that is none either
        pass


def _first_line(error: Exception) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().partition("\n")[0]
    return f"no such key {text!r}" if isinstance(error, KeyError) else (text or type(error).__name__)[:200]
