"""`acme-ca audit`: the audit trail. docs/audit.md."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json, printable
from acme_ca.vocabulary import FORMAT_NAMES, FormatName

PAGE = 1000  # events that are shown, at most
SERIAL_DIGITS = 34  # as the ledger writes serials
PAUSE = 0.5  # seconds between looks of `tail --follow`


format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMAT_NAMES),
    default="native",
    show_default=True,
    help="How each event is written, on a line of its own.",
)


@click.group(**SETTINGS)
def audit() -> None:
    """Show, search, export and verify the audit trail."""


@audit.command(**SETTINGS)
@config_option
@click.option(
    "--lines", "-n", type=click.IntRange(0, PAGE), default=20, show_default=True, help="Events to begin with."
)
@click.option("--follow", "-f", is_flag=True, help="Go on as further events are sealed, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def tail(config_path: Path, lines: int, follow: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes them by name
    """Print the newest sealed events, oldest first."""
    from acme_ca.cli import audit_trail
    from acme_ca.cli.opening import open_whole_database
    from acme_ca.sinks.formats import native

    with open_whole_database(config_path) as (_, database):
        seq = max(0, audit_trail.end(database) - lines)
        while True:
            for event in audit_trail.sealed(database, seq):
                click.echo(native.render(event) if as_json else _line(native.document(event)))
                seq = event.seq
            if not follow:
                return
            sys.stdout.flush()
            time.sleep(PAUSE)


@audit.command(**SETTINGS)
@api_options
@click.option("--since", help="The first moment, e.g. 2026-01-31T12:00:00Z.")
@click.option("--until", help="The first moment that is too late.")
@click.option("--environment", help="The environment.")
@click.option("--event", help="The event, e.g. certificate.issued, or its noun alone.")
@click.option("--actor", help="Who did it: an account's id, admin:NAME, system.")
@click.option("--account", help="The account that it is about.")
@click.option("--subject", help="The id of the order, certificate, … that it is about.")
@click.option("--about", help="The id of an order, account, … that events are of, by or about.")
@click.option("--name", help="A name in a sealed event: of an order, authorization or certificate.")
@click.option("--serial", help="The serial of a certificate in a sealed event, in hexadecimal.")
@click.option("--after", help="The cursor that the page before ended with.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=100, show_default=True, help="Events on the page.")
@json_option
def search(api: Api, serial: str | None, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401, FBT001 - click's
    """Print a page of events that meet all conditions, newest first."""
    padded = None if serial is None else serial.replace(":", "").lower().rjust(SERIAL_DIGITS, "0")
    page = api.get(at("audit"), serial=padded, **wanted)
    if as_json:
        print_json(page)
        return
    for event in page["items"]:
        click.echo(_line(event))
    if not page["items"]:
        click.echo("No event meets all conditions.")
    if page["next"] is not None:
        click.echo(f"There is more: --after {page['next']}", err=True)


@audit.command(**SETTINGS)
@config_option
@format_option
@click.option("--from", "first", type=click.IntRange(1), default=1, show_default=True, help="The first place.")
@click.option("--to", "last", type=click.IntRange(1), help="The last place. Default: the end of the chain.")
def export(config_path: Path, format_name: FormatName, first: int, last: int | None) -> None:
    """Print sealed events in the order of the chain."""
    from acme_ca.cli import audit_trail
    from acme_ca.cli.opening import open_whole_database
    from acme_ca.sinks.formats import FORMATS

    render = FORMATS[format_name]
    with open_whole_database(config_path) as (_, database):
        for event in audit_trail.sealed(database, first - 1):
            if last is not None and event.seq > last:
                break
            click.echo(render(event))


@audit.command(**SETTINGS)
@config_option
def checkpoint(config_path: Path) -> None:
    """Print the newest checkpoint. Kept elsewhere, `verify --checkpoint` finds a trail that was cut off as a whole."""
    from acme_ca.cli import audit_trail
    from acme_ca.cli.opening import open_whole_database

    with open_whole_database(config_path) as (_, database):
        found = audit_trail.newest_checkpoint(database)
    print_json(found)


@audit.command(**SETTINGS)
@config_option
@click.option(
    "--checkpoint",
    "kept",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="A checkpoint that was exported earlier; repeatable.",
)
@click.option(
    "--key",
    "key_files",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="A public key (PEM) that signed checkpoints; repeatable. Default: those of [audit].",
)
@json_option
def verify(config_path: Path, kept: tuple[Path, ...], key_files: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Read the whole trail and find every edit, gap, reorder and wrong signature; exit code 1 if there is any."""
    from acme_ca.cli import audit_trail
    from acme_ca.cli.opening import open_whole_database

    with open_whole_database(config_path) as (config, database), _progress() as progress:
        verdict = audit_trail.verify(config, database, key_files, kept, progress)
    if as_json:
        print_json(audit_trail.document(verdict))
    else:
        for line in audit_trail.lines(verdict):
            click.echo(line)
    if not verdict.is_good:
        sys.exit(1)


def _line(event: Mapping[str, Any]) -> str:
    """Return an event, as native.document renders it, on one line for people."""
    details = " ".join(
        f"{key}={_word(value)}" for key, value in event["details"].items() if value not in (None, [], {})
    )
    who = "" if event["actor"] == event["subject"] else f" by {event['actor']}"
    what = f"{event['environment'] or '-'} {event['event']} {event['subject']}{who}"
    return printable(f"{event['seq'] or 'unsealed'} {event['time'][:19]}Z {what} {details}".rstrip())


def _word(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and " " not in value else json.dumps(value)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show how far it got, if somebody looks."""
    bar: Any = None

    def show(done: int, all_: int) -> None:
        nonlocal bar
        if bar is None:
            bar = click.progressbar(length=all_, label="Verifying", file=sys.stderr)
        bar.update(done - bar.pos)

    yield show
    if bar is not None:
        bar.render_finish()
