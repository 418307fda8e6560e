"""Acts on many certificates, as `cert revoke` and `cert replace` are: counted, confirmed, begun, watched, listed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import click

from acme_ca.cli.client import Api, at
from acme_ca.cli.options import counted, print_done, print_json, refuse
from acme_ca.cli.tables import print_table

Act = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])
PATIENCE = 10.0  # seconds without progress; the worker looks every second
INTERVAL = 0.5  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Asking:
    """How an operator makes sure of what an act will be about."""

    expect: int | None
    dry_run: bool
    yes: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """An act that an operator wishes for. In `question` and `trial`, {what} stands for the certificates."""

    path: str
    body: Mapping[str, object]
    question: str
    trial: str


@dataclass(frozen=True, slots=True)
class Telling:
    """How acts of one kind are told: each in a sentence, and many in a table."""

    columns: Mapping[str, str]
    text: Callable[[Mapping[str, Any]], str]
    row: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


def asking_options(function: Function) -> Function:
    """Add the options by which an operator makes sure; the command gets them as `asking`."""

    @click.option("--expect", type=click.IntRange(0), help="Refuse unless so many certificates fit.")
    @click.option("--dry-run", is_flag=True, help="Only count; do nothing.")
    @click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    @wraps(function)
    def with_asking(*arguments: Any, expect: int | None, dry_run: bool, yes: bool, **given: Any) -> Any:  # noqa: ANN401 - the command's own
        return function(*arguments, asking=Asking(expect, dry_run, yes), **given)

    return cast("Function", with_asking)


def begin(api: Api, wish: Wish, asking: Asking, *, as_json: bool) -> Act | None:
    """Count, confirm, and begin the act on just the certificates that were counted; None after a dry run."""
    preview = _count(api, wish, asking.expect)
    what = f"{counted(preview['total'], 'valid certificate')} of environment {preview['environment']}"
    if asking.dry_run:
        print_done(preview, wish.trial.format(what=what), as_json=as_json)
        return None
    if not asking.yes:
        click.confirm(wish.question.format(what=what), abort=True, err=True)
    counts = {"expect": preview["total"], "as_of": preview["as_of"], "digest": preview["digest"]}
    begun: Act = api.call("POST", wish.path, body={**wish.body, **counts}).document
    return begun


def watch(
    api: Api,
    path: str,
    act: Act,
    done: Callable[[Mapping[str, Any]], int],
    patience: float | None = None,
) -> Act:
    """Show how far an act is until all is done, or nothing moved for `patience` seconds; return how it stands then."""
    from rich.console import Console
    from rich.progress import Progress

    path += at(act["id"])
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


def list_or_show(api: Api, path: str, number: str | None, telling: Telling, nothing: str, *, as_json: bool) -> None:
    """Print the acts at a path, the newest first, or `nothing`; with a number, how far that one is."""
    if number is not None:
        found = api.get(f"{path}{at(number)}")
        print_done(found, telling.text(found), as_json=as_json)
        return
    rows = list(api.pages(path))
    if as_json:
        print_json(rows)
        return
    told = [telling.row(row) for row in rows]
    lines = [tuple(row[name] for name in telling.columns) for row in told]
    print_table(tuple(telling.columns.values()), lines, nothing)


def _count(api: Api, wish: Wish, expect: int | None) -> Act:
    """Return what an act would do; refuses when that is nothing, or not as many as expected."""
    found: Act = api.call("POST", wish.path, body=wish.body, query={"dry_run": True}).document
    if not found["total"]:
        refuse(f"no valid certificate of environment {found['environment']} fits")
    if expect is not None and found["total"] != expect:
        refuse(f"{counted(found['total'], 'valid certificate')} fit, not {expect}; nothing was done")
    return found
