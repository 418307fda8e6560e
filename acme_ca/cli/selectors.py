"""Options that say which certificates a command means, and how an act on them is counted, asked for and watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import click

from acme_ca.cli.client import Api
from acme_ca.cli.options import counted, refuse
from acme_ca.vocabulary import SELECTORS

Function = TypeVar("Function", bound=Callable[..., Any])
PATIENCE = 10.0  # seconds without progress; the worker looks every second
INTERVAL = 0.5  # seconds between two looks

environment_option = click.option("--environment", required=True, help="The environment of the certificates.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only count; do nothing.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
expect_option = click.option("--expect", type=click.IntRange(0), help="Refuse unless so many certificates fit.")
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


def count(api: Api, path: str, body: Mapping[str, object], expect: int | None) -> dict[str, Any]:
    """Return what an act would do; refuses when that is nothing, or not as many as expected."""
    found: dict[str, Any] = api.call("POST", path, body=body, query={"dry_run": True}).document
    if not found["total"]:
        refuse(f"no valid certificate of environment {found['environment']} fits")
    if expect is not None and found["total"] != expect:
        refuse(f"{counted(found['total'], 'valid certificate')} fit, not {expect}; nothing was done")
    return found


def start(api: Api, path: str, body: Mapping[str, object], preview: Mapping[str, Any]) -> dict[str, Any]:
    """Begin an act on just the certificates that were counted."""
    counts = {"expect": preview["total"], "as_of": preview["as_of"], "digest": preview["digest"]}
    begun: dict[str, Any] = api.call("POST", path, body={**body, **counts}).document
    return begun


def watch(
    api: Api,
    path: str,
    act: dict[str, Any],
    done: Callable[[Mapping[str, Any]], int],
    patience: float | None = None,
) -> dict[str, Any]:
    """Show how far an act is until all is done, or nothing moved for `patience` seconds; return how it stands then."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("Certificates", total=act["total"], completed=done(act))
        moved_at = time.monotonic()
        while act["status"] == "running" and done(act) < act["total"]:
            if patience is not None and time.monotonic() - moved_at > patience:
                break
            time.sleep(INTERVAL)
            before, act = done(act), api.get(path)
            if done(act) != before:
                moved_at = time.monotonic()
            progress.update(bar, completed=done(act))
    return act
