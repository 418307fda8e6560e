"""Options that say which certificates a command means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import click

from acme_ca.vocabulary import SELECTORS

Function = TypeVar("Function", bound=Callable[..., Any])

environment_option = click.option("--environment", required=True, help="The environment of the certificates.")
everything_option = click.option("--all", "everything", is_flag=True, help="Without selectors: the whole environment.")


def selector_options(function: Function) -> Function:
    """Add an option for each selector of the API; the command gets those that were given as `selection`."""

    @wraps(function)
    def selecting(*arguments: Any, **given: Any) -> Any:  # noqa: ANN401 - the command's own
        found = {name: given.pop(name) for name in SELECTORS}
        selection = {name: value for name, value in found.items() if value is not None}
        return function(*arguments, selection=selection, **given)

    command: Callable[..., Any] = selecting
    for name, text in reversed(SELECTORS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, help=text)(command)
    return cast("Function", command)


def require_selection(selection: Mapping[str, str], *, everything: bool) -> None:
    """Raise UsageError unless some certificates were chosen: to name none must not mean all."""
    if bool(selection) == everything:
        raise click.UsageError("say which certificates by selectors, or --all for the whole environment")
