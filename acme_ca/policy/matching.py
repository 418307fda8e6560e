"""What a rule asks of one claim of a workload: a condition.

A claim that is missing satisfies no condition, `not_in` neither. A list satisfies one when any of its elements does,
except that `not_in` speaks of all of them: a member of both `dev` and `admin` is not outside of `admin`.
docs/workload-identity-00.md
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from acme_ca.policy.claims import MAX_TEXT, Comparable, comparable
from acme_ca.policy.regexes import check_regex, matches

Scalar = Annotated[str, Field(max_length=MAX_TEXT)] | StrictBool | StrictInt
Scalars = Annotated[tuple[Scalar, ...], Field(min_length=1)]


class Condition(BaseModel):
    """A condition on one claim. What is set has to hold all together, for one element where the claim is a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    regex: Annotated[str, AfterValidator(check_regex)] | None = None
    """A regular expression that matches the whole value, a string of at most 512 characters."""
    prefix: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    """What the value, a string, starts with."""
    one_of: Scalars | None = None
    """Values that are accepted. Kinds differ: `true` is neither `"true"` nor 1."""
    not_in: Scalars | None = None
    """Values that are not accepted, and no value of another kind than theirs is."""
    present: Literal[True] | None = None
    """That the claim is there, whatever its value. That one is absent cannot be asked: absence proves nothing."""

    @model_validator(mode="after")
    def _asks_something(self) -> Condition:
        if not self.asks:
            raise ValueError("the condition asks nothing; expected regex, prefix, one_of, not_in or present = true")
        return self

    @property
    def asks(self) -> dict[str, object]:
        """What is set."""
        return {name: part for name in type(self).model_fields if (part := getattr(self, name)) is not None}

    def holds(self, value: object) -> bool:
        """Tell whether the value of a claim, None for a missing one, satisfies the condition."""
        if value is None:
            return False
        elements = value if isinstance(value, list | tuple) else (value,)
        if self.not_in is not None and not all(_is_another(element, self.not_in) for element in elements):
            return False
        if self.not_in is None and self.regex is None and self.prefix is None and self.one_of is None:
            return True
        return any(self._accepts(element) for element in elements)

    def implies(self, other: Condition) -> bool:
        """Tell whether every value that satisfies this condition certainly satisfies the other one."""
        return (
            (other.one_of is None or self._only(_among(other.one_of)))
            and (other.regex is None or self.regex == other.regex or self._only(_matching(other.regex)))
            and (
                other.prefix is None
                or (self.prefix or "").startswith(other.prefix)
                or self._only(_starting(other.prefix))
            )
            and (other.not_in is None or _refuses_more(self.not_in or (), other.not_in))
        )

    def _accepts(self, element: object) -> bool:
        found = comparable(element)
        return (
            found is not None
            and (self.one_of is None or _among(self.one_of)(found))
            and (self.prefix is None or _starting(self.prefix)(found))
            and (self.regex is None or _matching(self.regex)(found))
        )

    def _only(self, accepts: Callable[[Comparable], bool]) -> bool:
        """Tell whether the condition names its values, and all are accepted."""
        return self.one_of is not None and all(map(accepts, self.one_of))

    def __str__(self) -> str:
        return " and ".join(f"{name} {_written(setting)}" for name, setting in self.asks.items())


def _written(setting: object) -> str:
    return repr(list(setting)) if isinstance(setting, tuple) else repr(setting)


def _short_forms(value: object) -> object:
    """Return the table that `"a"` and `["a", "b"]` stand for, with tuples for lists."""
    if isinstance(value, str | int):  # bool is an int
        return {"one_of": (value,)}
    if isinstance(value, list | tuple):
        return {"one_of": tuple(value)}
    if not isinstance(value, dict):
        return value
    if unknown := [name for name in value if name not in Condition.model_fields]:
        raise ValueError(
            f"a condition has no {unknown[0]!r}; it has {', '.join(Condition.model_fields)}; and a claim inside of "
            'another is written in quotes: "kubernetes.namespace" = ...'
        )
    return {name: tuple(part) if isinstance(part, list) else part for name, part in value.items()}


AnyCondition = Annotated[
    Condition, BeforeValidator(_short_forms, json_schema_input_type=Scalar | list[Scalar] | Condition)
]
"""A condition as the configuration has it: a value, a list of values, or a table."""


def _typed(value: Comparable) -> tuple[type, Comparable]:
    return type(value), value  # for Python, True equals 1


def _among(values: Sequence[Comparable]) -> Callable[[Comparable], bool]:
    known = {_typed(value) for value in values}
    return lambda found: _typed(found) in known


def _starting(prefix: str) -> Callable[[Comparable], bool]:
    return lambda found: isinstance(found, str) and found.startswith(prefix)


def _matching(regex: str) -> Callable[[Comparable], bool]:
    return lambda found: isinstance(found, str) and matches(regex, found)


def _is_another(element: object, values: Sequence[Comparable]) -> bool:
    """Tell whether the element is of a kind that the values have, and none of them."""
    found = comparable(element)
    return found is not None and type(found) in set(map(type, values)) and not _among(values)(found)


def _refuses_more(these: Sequence[Comparable], those: Sequence[Comparable]) -> bool:
    return set(map(_typed, those)) <= set(map(_typed, these)) and set(map(type, these)) <= set(map(type, those))
