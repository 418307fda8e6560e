"""`acme-ca cert revoke|revocations`: the end of certificates, however many. RFC 5280 §5.3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, counted, json_option, print_done, print_json
from acme_ca.cli.selectors import (
    PATIENCE,
    count,
    dry_run_option,
    environment_option,
    everything_option,
    expect_option,
    require_selection,
    selector_options,
    start,
    watch,
    yes_option,
)
from acme_ca.cli.tables import print_table
from acme_ca.vocabulary import OPERATOR_REASONS

REASONS = {name: code for code, name in OPERATOR_REASONS.items()}
COLUMNS = ("id", "status", "reason", "revoked", "skipped", "of", "by", "as of")


@click.command(**SETTINGS)
@api_options
@environment_option
@selector_options
@click.argument("number", metavar="[SERIAL]", required=False)
@everything_option
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True, help="Why.")
@expect_option
@dry_run_option
@yes_option
@json_option
def revoke(  # noqa: PLR0913 - the command's options
    api: Api,
    *,
    environment: str,
    selection: dict[str, str],
    number: str | None,
    everything: bool,
    reason: str,
    expect: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Revoke the valid certificates that fit all selectors, or the one of SERIAL.

    They are counted first, and just those that were counted are revoked. The reason keyCompromise blocks their keys.
    """
    selection = _with_serial(selection, number)
    require_selection(selection, everything=everything)
    path, body = at("environments", environment, "revocations"), {"selection": selection, "reason": REASONS[reason]}
    preview = count(api, path, body, expect)
    what = f"{counted(preview['total'], 'valid certificate')} of environment {environment}"
    if dry_run:
        print_done(preview, f"{what} would be revoked ({reason}).", as_json=as_json)
        return
    if not yes:
        click.confirm(f"Revoke {what} ({reason})?", abort=True, err=True)
    begun = start(api, path, body, preview)
    done = watch(api, f"{path}{at(begun['id'])}", begun, _looked_at, PATIENCE)
    print_done(done, _text(done), as_json=as_json)


@click.command(**SETTINGS)
@api_options
@environment_option
@click.argument("number", metavar="[ID]", required=False)
@json_option
def revocations(api: Api, environment: str, number: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the revocations by operators, the newest first; or show how far one is."""
    path = at("environments", environment, "revocations")
    if number is not None:
        found = api.get(f"{path}{at(number)}")
        print_done(found, _text(found), as_json=as_json)
        return
    rows = list(api.pages(path))
    if as_json:
        print_json(rows)
        return
    lines = [
        (
            *(row["id"], row["status"], OPERATOR_REASONS.get(row["reason"], row["reason"])),
            *(row["revoked"], row["skipped"], row["total"], row["ordered_by"], row["as_of"]),
        )
        for row in rows
    ]
    print_table(COLUMNS, lines, f"Nothing was revoked by operators in environment {environment}.")


COMMANDS = (revoke, revocations)


def _with_serial(selection: dict[str, str], number: str | None) -> dict[str, str]:
    if number is None:
        return selection
    if "serial" in selection:
        raise click.UsageError("SERIAL and --serial say the same; give one")
    return {**selection, "serial": number}


def _looked_at(act: Mapping[str, Any]) -> int:
    return int(act["revoked"]) + int(act["skipped"])


def _text(act: Mapping[str, Any]) -> str:
    skipped = f"; {act['skipped']} had expired or were revoked before" if act["skipped"] else ""
    text = f"Revocation {act['id']} is {act['status']}: {act['revoked']} of {act['total']} revoked{skipped}."
    if act["status"] == "running":
        text += " The server's worker goes on with it."
    return text
