"""Options and ways to end that the commands share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypedDict

import click

from acme_ca.cli import EXIT_CODES

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("acme-ca.toml"),
    envvar="ACME_CA_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")


class Settings(TypedDict):
    """Arguments for click's decorators."""

    epilog: str


SETTINGS: Settings = {"epilog": EXIT_CODES}
"""Arguments of every command: its help ends with the exit codes."""


_LONGEST = timedelta(days=36500)


class SpanType(click.ParamType[timedelta]):
    """A positive number of some unit of time, 100 years at most: becomes a timedelta."""

    name = "number"

    def __init__(self, unit: str) -> None:
        """Take the numbers to be of `unit`, as timedelta names it."""
        self.unit = unit

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the time that a word of the command line stands for."""
        if isinstance(value, timedelta):
            return value
        try:
            number = float(str(value))
            span = timedelta(**{self.unit: number}) if math.isfinite(number) else timedelta()
        except (ValueError, OverflowError):
            span = timedelta()
        if not timedelta() < span <= _LONGEST:
            self.fail(f"expected a number of {self.unit} above 0 and up to 100 years, not {value}", param, ctx)
        return span


class WordsType(click.ParamType[str]):
    """Text that is not empty."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not str(value).strip():
            self.fail("expected some text, not an empty one", param, ctx)
        return str(value)


WORDS = WordsType()


def log_to_standard_error() -> None:
    """Let what the rest of this command logs be no part of its answer."""
    from acme_ca import logs

    click.get_current_context().with_resource(logs.on_standard_error())


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 binding, 2 bindings."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(line: str) -> str:
    """Return a line as a terminal may have it: a client may have made it up, control characters and all."""
    return line if line.isprintable() else json.dumps(line)[1:-1]


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, default=str))


def print_done(document: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Say what was done: in words, or as the JSON document that the API answered."""
    if as_json:
        print_json(document)
    else:
        click.echo(text)


def refuse(reason: str) -> NoReturn:
    """End with exit code 1 and the reason on standard error."""
    raise click.ClickException(reason)
