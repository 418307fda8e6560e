"""Policies in files: TOML, each mistake with its line, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from acme_ca.config.mistakes import ConfigError, Location, Mistake, dotted, explain, parse, place, read
from acme_ca.policy.document import Document


def read_document(path: Path) -> Document:
    """Return the policy of a file; raises ConfigError with every mistake in it."""
    text = read(path)
    data = _json(text, path) if path.suffix == ".json" else parse(text, path)
    try:
        return Document.from_json(data)
    except ValidationError as error:
        raise misplaced(path, explain(error, data, Document.model_json_schema())) from error


def misplaced(path: Path, found: Iterable[tuple[Location, str]]) -> ConfigError:
    """Return the error for mistakes in a good document, with their lines where it is TOML."""
    if path.suffix == ".json":
        return ConfigError(Mistake(str(path), 0, 0, dotted(location), text) for location, text in found)
    return ConfigError(place(path, read(path), found))


def refused(path: Path, problem: Mapping[str, Any]) -> str:
    """Return what the API refused, with the lines of the file where the API named places."""
    errors = [
        (tuple(int(part) if part.isdigit() else part for part in error["place"].split(".")), error["reason"])
        for error in problem.get("errors", ())
    ]
    return str(misplaced(path, errors)) if errors else str(problem["detail"])


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([Mistake(str(path), 0, 0, "", f"not JSON: {error}")]) from error
    if not isinstance(data, dict):
        raise ConfigError([Mistake(str(path), 0, 0, "", "expected one JSON object, with rules")])
    return data
