"""From the text of a configuration file to a checked tree, or to the list of everything that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from acme_ca.config import algorithms
from acme_ca.config.mistakes import ConfigError, Location, did_you_mean, explain, parse, place, read
from acme_ca.config.tables import Config
from acme_ca.pki.profile import BUILTIN

_DEFAULT_PATHS: dict[str, Any] = {"state": "state", "database": {}}  # so that they start at the file's folder too


def load(path: Path, *, files: bool = True) -> Config:
    """Read a configuration file; raises ConfigError with every mistake, each with its line.

    With `files`, the certificate and key files that it names have to exist.
    """
    return loads(read(path), path, files=files)


def loads(text: str, path: Path, *, files: bool = True) -> Config:
    """Like `load`, for a text that stands or will stand in the file `path`."""
    data = parse(text, path)
    mistakes = list(_across_tables(data))
    context = {"folder": path.absolute().parent, "files": files}
    try:
        # Strict JSON takes a list for a tuple and a string for a path or an address, and nothing else but the type.
        config = Config.model_validate_json(json.dumps(_DEFAULT_PATHS | data, default=str), context=context)
    except ValidationError as error:
        mistakes += explain(error, data, json_schema())
        raise ConfigError(place(path, text, mistakes)) from error
    if files and not mistakes:
        mistakes += algorithms.misfits(config)
    if mistakes:
        raise ConfigError(place(path, text, mistakes))
    return config


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()


def _across_tables(data: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Yield what no table shows by itself; on the plain data, so that it is found beside other mistakes."""
    yield from _profiles_not_to_be_had(data)
    yield from _issuers_of_one_name(data)
    yield from _lists_of_one_name(data)


def _profiles_not_to_be_had(data: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    own = _table(data.get("profile"))
    known = sorted({*BUILTIN, *own})
    for name, environment in _table(data.get("environment")).items():
        for position, profile in enumerate(_list(_table(environment).get("profiles"))):
            location = ("environment", name, "profiles", position)
            if not isinstance(profile, str):
                continue  # pydantic says so
            if profile not in known:
                yield location, f"there is no profile {profile!r}; {did_you_mean(profile, known)}"


def _issuers_of_one_name(data: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Issuers are told apart by name in URLs and in the ledger, whatever their environment."""
    taken: set[str] = set()
    for location, issuer in _issuers(data):
        issuer_name = issuer.get("name")
        if isinstance(issuer_name, str):
            if issuer_name in taken:
                yield (*location, "name"), f"{issuer_name!r} is the name of another issuer; each needs one of its own"
            taken.add(issuer_name)


def _lists_of_one_name(data: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Tell apart the lists of roots and of issuers: they are published side by side, by the names of the files."""
    names = {issuer.get("name") for _, issuer in _issuers(data)}
    taken: dict[str, str] = {}
    for location, issuer in _issuers(data):
        path = issuer.get("root_crl")
        if not isinstance(path, str):
            continue
        name = Path(path).name
        if name.removesuffix(".crl") in names:
            yield (*location, "root_crl"), f"{name} is where the list of the issuer of that name is published"
        if taken.setdefault(name, path) != path:
            yield (*location, "root_crl"), f"{name} is published already, from {taken[name]}; give it another name"


def _issuers(data: Mapping[str, Any]) -> Iterator[tuple[Location, dict[str, Any]]]:
    yield ("service", "issuer"), _table(_table(data.get("service")).get("issuer"))
    for name, environment in _table(data.get("environment")).items():
        for position, issuer in enumerate(_list(_table(environment).get("issuer"))):
            yield ("environment", name, "issuer", position), _table(issuer)
        sub_ca = _table(_table(environment).get("sub_ca"))
        yield ("environment", name, "sub_ca"), sub_ca
        for position, issuer in enumerate(_list(sub_ca.get("former"))):
            yield ("environment", name, "sub_ca", "former", position), _table(issuer)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
