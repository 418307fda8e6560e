"""Conditions of policy rules: expressions in the Common Expression Language (CEL).

An expression is compiled once and sees only the variables of `VARIABLES`. It is short, and no loop stands inside
another one, so that it takes at most one step for each identifier of an order, or for each element of a claim. Regular
expressions are those of RE2's family: their time grows with the text alone. https://cel.dev
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator

from acme_ca.identifiers import Identifier
from acme_ca.policy import expressions
from acme_ca.policy.claims import without_doubts
from acme_ca.policy.scope import Scope

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
SAMPLE = Identifier("dns", "a.example")  # what expressions are tried on
_MAX_DEPTH = 20  # brackets inside brackets
_HOPELESS = "No such overload"  # whatever the order is, if no claims are looked at


class ConditionFailedError(Exception):
    """An expression has no answer: a claim is missing, types do not fit, or it gives neither true nor false."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """The account that asks, and what it asks for besides names.

    `eab_label` is the label of the external account key that it was bound by; `workload_rule` is the rule for workloads
    that its workload has, `claims` what is kept of it. `profile` and `key_type` are empty while they are not known.
    `scope` is what the external account key is for, if it is not for everything.
    """

    account_id: str
    eab_label: str | None
    workload_rule: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    key_type: str = ""
    scope: Scope | None = None


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

    def mistake(self) -> str | None:
        """Return why it certainly refuses everything, or a part of it can never be right; None if nothing is seen."""
        tokens = expressions.tokens(self.source)
        return _unknown_member(tokens) or _wrong_regex(tokens) or self._wrong_answer()

    def _wrong_answer(self) -> str | None:
        """Try it on an order without any claims, and return what is wrong with it on all others too."""
        try:
            self.holds(Facts(Applicant("", None), (SAMPLE,)), SAMPLE)
        except ConditionFailedError as error:
            is_certain = "claims" not in self._needs and _HOPELESS in str(error)
            if is_certain or "neither true nor false" in str(error):
                return f"the condition has no answer: {error}"
        return None

    @property
    def is_about_workloads(self) -> bool:
        """Whether the answer depends on the account's workload."""
        return bool(self._needs & {"workload", "claims"})

    def claim_paths(self) -> Iterator[str]:
        """Yield the paths of the claims that it looks at, as far as they are written with dots."""
        yield from expressions.paths(expressions.tokens(self.source), "claims")

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
    tokens = expressions.tokens(source)
    if expressions.depth(tokens) > _MAX_DEPTH:
        raise ValueError(f"the condition has more than {_MAX_DEPTH} brackets inside each other")
    found = list(expressions.loops(tokens))
    if any(next(expressions.loops(loop.body), None) for loop in found):
        raise ValueError("the condition has a loop (all, exists, exists_one, map, filter) inside another one")
    if len(found) > MAX_LOOPS:
        raise ValueError(f"the condition has {len(found)} loops (all, exists, ...); at most {MAX_LOOPS} are accepted")


def _unknown_member(tokens: Sequence[str]) -> str | None:
    """Return what is asked of a name that names do not have."""
    asked = [("identifier", name) for name in expressions.members(tokens, "identifier")]
    for loop in expressions.loops(tokens):
        if loop.over == "identifiers" and loop.variable is not None:
            asked += [(loop.variable, name) for name in expressions.members(loop.body, loop.variable)]
    for variable, name in asked:
        if name not in expressions.OF_A_NAME:
            return f"{variable} has no {name!r}; it has {', '.join(expressions.OF_A_NAME)}"
    return None


def _wrong_regex(tokens: Sequence[str]) -> str | None:
    """Return what is wrong with a regular expression: each is compiled for each answer, so that none may be a claim."""
    for argument in expressions.arguments_of(tokens, "matches"):
        if len(argument) != 1 or not expressions.is_text(argument[0]):
            return "matches takes a regular expression in quotes"
        try:
            _library().compile(f"''.matches({argument[0]})").execute(_library().Context(variables={}))
        except Exception as error:  # noqa: BLE001 - whatever the library says of it
            return _first_line(error)
    return None


def _check_names(program: Any, source: str) -> None:  # noqa: ANN401 - the library's
    """Refuse variables that there are not. Those of loops are the first word in their brackets."""
    own = {loop.variable for loop in expressions.loops(expressions.tokens(source))}
    types = {"bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "uint"}
    for name in sorted(program.variables()):
        if not name.startswith("@") and name not in VARIABLES.keys() | own | types:
            raise ValueError(f"a condition has no variable {name!r}; there are {', '.join(VARIABLES)}")
    context = Facts(Applicant("", None), ()).context(SAMPLE)
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
