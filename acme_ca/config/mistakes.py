"""Mistakes in the configuration file, each with its exact place, and what to write instead."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from acme_ca.config import toml_lines

Location = tuple[str | int, ...]
"""The way to a setting from the top of the file: names of settings and positions in lists."""

_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_TAG_MISTAKES = ("union_tag_invalid", "union_tag_not_found")  # they stand at the table, and are about one setting of it
_BARE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PRIVATE = ("password", "passphrase", "secret", "pin", "token")  # endings of settings whose value is never repeated
_CLOSE = 0.65  # difflib's ratio from which on a misspelling is likelier than another word
_LONGEST_SHOWN = 80  # characters of a value in a message

_WORDING = (  # pydantic speaks of JSON, and of one input
    ("Value error, ", ""),
    ("Input should", "should"),
    ("String should", "should"),
    ("Input is", "is"),
    ("Tuple should", "should"),
    ("a valid array", "a list"),
    ("an object", "a table"),
)


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing that is wrong. `line` and `column` count from 1; 0 when the place is the whole file or line."""

    file: str
    line: int
    column: int
    setting: str
    text: str

    def __str__(self) -> str:
        numbers = "".join(f":{number}" for number in (self.line, self.column) if number)
        setting = f"{self.setting}: " if self.setting else ""
        return f"{self.file}{numbers}: {setting}{self.text}"

    def document(self) -> dict[str, str | int]:
        """Render as a JSON object, for `--json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "setting": self.setting,
            "mistake": self.text,
        }


class ConfigError(Exception):
    """The configuration cannot be used; `mistakes` has everything that is wrong with it, in the order of the file."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def refuse(model: str, mistakes: Iterable[tuple[Location, str]]) -> None:
    """Raise one ValidationError with all `mistakes`, their locations as seen from the validator that calls."""
    details = [
        InitErrorDetails(type=PydanticCustomError("mistake", "{text}", {"text": text}), loc=location, input=None)
        for location, text in mistakes
    ]
    if details:
        raise ValidationError.from_exception_data(model, details)


def read(path: Path) -> str:
    """Return the text of a file; raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Mistake(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 at byte {error.start}; TOML has to be"
        raise ConfigError([Mistake(str(path), 0, 0, "", reason)]) from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Return the tables of a TOML document; raises ConfigError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_mistake(path, text, str(error))]) from error


def place(path: Path, text: str, found: Iterable[tuple[Location, str]]) -> list[Mistake]:
    """Return the mistakes with the lines on which their settings stand."""
    lines = toml_lines.lines_of(text)
    return [Mistake(str(path), _line(lines, location), 0, dotted(location), what) for location, what in found]


def locate(path: Path, found: Iterable[tuple[Location, str]]) -> ConfigError:
    """Return the error for mistakes that showed only when a good file was put to use."""
    return ConfigError(place(path, read(path), found))


def explain(error: ValidationError, data: Mapping[str, Any], schema: Mapping[str, Any]) -> list[tuple[Location, str]]:
    """Return every mistake pydantic found, in words for the author of the file, at its location in `data`."""
    reasons: dict[Location, list[str]] = {}
    for detail in _causes(error):
        location = _in_document(detail, data)
        if detail["type"] in _TAG_MISTAKES:
            location += (str(detail.get("ctx", {})["discriminator"]).strip("'"),)
        reason = _reason(detail, location, schema)
        if reason not in reasons.setdefault(location, []):
            reasons[location].append(reason)
    return [(location, "; or ".join(found)) for location, found in reasons.items()]


def _causes(error: ValidationError) -> Iterator[ErrorDetails]:
    """Leave out what only follows from another mistake, such as a list that is too short without its bad elements."""
    details = error.errors(include_url=False)
    for detail in details:
        depth = len(detail["loc"])
        is_echo = detail["type"] == "too_short" and any(
            other["loc"][:depth] == detail["loc"] and len(other["loc"]) > depth for other in details
        )
        if not is_echo and detail["type"] != "default_factory_not_called":
            yield detail


def dotted(location: Location) -> str:
    """Write a location as it is read: environment.prod.policy[0].dns[1]."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_NAME.fullmatch(part) else f'"{part}"')
    return text


def did_you_mean(seen: str, known: Sequence[str]) -> str:
    """Return a hint at the known name that `seen` resembles, else the list of known names."""
    if close := difflib.get_close_matches(seen, known, n=1, cutoff=_CLOSE):
        return f"did you mean {close[0]!r}?"
    return f"expected one of: {', '.join(known)}" if known else "nothing is known by that name"


def _syntax_mistake(path: Path, text: str, message: str) -> Mistake:
    found = _SYNTAX_PLACE.search(message)
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (text.count("\n") + 1, 0)
    return Mistake(str(path), line, column, "", f"not TOML: {_SYNTAX_PLACE.sub('', message)}")


def _line(lines: Mapping[Location, int], location: Location) -> int:
    """Return the line of a setting; of the nearest table around it when the setting is not there."""
    for length in range(len(location), 0, -1):
        if location[:length] in lines:
            return lines[location[:length]]
    return 1


def _in_document(detail: ErrorDetails, data: Any) -> Location:  # noqa: ANN401 - whatever TOML holds
    """Leave out what pydantic puts into a location and the file does not have: tags of unions, names of validators."""
    location: Location = ()
    for number, part in enumerate(detail["loc"], 1):
        if isinstance(data, dict) and part in data:
            below, after = data[str(part)], detail["loc"][number : number + 1]
            if not isinstance(below, dict | list) and after and after[0] in data:
                continue  # the tag of this table has the name of one of its settings
            data = below
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif number < len(detail["loc"]) or detail["type"] != "missing":
            continue
        location += (part,)
    return location


def _reason(detail: ErrorDetails, location: Location, schema: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        seen = str(location[-1])
        known = [name for name in _known_settings(schema, location[:-1]) if name != seen]  # of another kind of table
        return f"there is no such setting; {did_you_mean(seen, known)}"
    if detail["type"] in {"missing", "union_tag_not_found"}:
        return "is missing and has no default"
    if detail["type"] == "union_tag_invalid":
        tags = str(detail.get("ctx", {})["expected_tags"]).replace("'", "").split(", ")
        tag = str(detail.get("ctx", {})["tag"])
        return f"there is no kind {_shown(tag)}; {did_you_mean(tag, tags)}"
    message = detail["msg"]
    for theirs, ours in _WORDING:
        message = message.replace(theirs, ours)
    value = detail["input"]
    if (
        detail["type"] in {"mistake", "value_error", "secret"}
        or isinstance(value, dict | list)
        or _is_private(location)
    ):
        return message
    return f"{message}, not {_shown(value)}"


def _is_private(location: Location) -> bool:
    return any(isinstance(part, str) and part.lower().endswith(_PRIVATE) for part in location)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _known_settings(schema: Mapping[str, Any], location: Location) -> list[str]:
    """Return the settings of the table at `location`, read from the JSON Schema of the configuration."""
    nodes = [schema]
    for part in location:
        nodes = [below for node in nodes for below in _below(schema, node, part)]
    return sorted({name for node in nodes for inner in _resolved(schema, node) for name in inner.get("properties", {})})


def _below(schema: Mapping[str, Any], node: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    for inner in _resolved(schema, node):
        if isinstance(part, int):
            step = inner.get("items")
        else:
            step = inner.get("properties", {}).get(part) or inner.get("additionalProperties")
            step = step or next(iter(inner.get("patternProperties", {}).values()), None)
        if isinstance(step, dict):
            yield step


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that `node` stands for: through references and alternatives."""
    if reference := node.get("$ref"):
        yield from _resolved(schema, schema["$defs"][reference.rpartition("/")[2]])
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _resolved(schema, alternative)
    yield node
