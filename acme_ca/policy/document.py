"""The policy of an environment as one document: TOML in files, the same as JSON in the API and in the database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from acme_ca.policy.rules import Rule, dump, version_of

Place = tuple[str | int, ...]


class Document(BaseModel):
    """The rules of an environment, in their order. None at all refuse everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    rules: tuple[Rule, ...]
    """For each name the first rule that speaks about it decides, and no rule means no."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Document:
        """Read what TOML or JSON gave, with lists for tuples; raises pydantic's ValidationError."""
        return cls.model_validate_json(json.dumps(data, default=str))

    @property
    def version(self) -> str:
        """What identifies the rules, also in the ledger: 16 hexadecimal digits of SHA-256."""
        return version_of(self.rules)

    def to_json(self) -> dict[str, Any]:
        """Render as a JSON object, without what is left at its default."""
        return {"rules": dump(self.rules)}

    def to_toml(self) -> str:
        """Render as TOML."""
        if not self.rules:
            return "rules = []\n"
        return "\n".join("".join(_table(rule)) for rule in dump(self.rules))


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one rule. `settings` has what it was and what it is, for each setting that changed."""

    rule: str
    kind: Literal["added", "removed", "changed", "moved"]
    settings: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}[self.kind]
        lines = [f"{sign} rule {self.rule}: {self.kind}"]
        for name, (before, after) in self.settings.items():
            lines += [f"    - {name} = {_value(before)}"] if before is not None else []
            lines += [f"    + {name} = {_value(after)}"] if after is not None else []
        return "\n".join(lines)


def changes(before: Document, after: Document) -> tuple[Change, ...]:
    """Return what is different in another document, rule by rule."""
    old = {rule["name"]: rule for rule in dump(before.rules)}
    new = {rule["name"]: rule for rule in dump(after.rules)}
    moved = _moved([name for name in old if name in new], [name for name in new if name in old])
    found: list[Change] = [Change(name, "removed", _differing(old[name], {})) for name in old if name not in new]
    for name, rule in new.items():
        if name not in old:
            found.append(Change(name, "added", _differing({}, rule)))
        elif settings := _differing(old[name], rule):
            found.append(Change(name, "changed", settings))
        elif name in moved:
            found.append(Change(name, "moved", {}))
    return tuple(found)


def _moved(before: Sequence[str], after: Sequence[str]) -> frozenset[str]:
    """Return which of the same names stand elsewhere in another order."""
    return frozenset(name for name, other in zip(before, after, strict=True) if name != other)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys((*before, *after))
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if name != "name" and before.get(name) != after.get(name)
    }


def _table(rule: Mapping[str, Any]) -> Iterator[str]:
    yield "[[rules]]\n"
    for name, value in rule.items():
        yield f"{name} = {_value(value)}\n"


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's text, numbers, true and false are TOML's too, but for the one control sign that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
