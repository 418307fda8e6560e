"""`acme-ca cert revoke|revocations`: the end of certificates, however many. RFC 5280 §5.3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from acme_ca.cli.acts import PATIENCE, Asking, Telling, Wish, asking_options, begin, list_or_show, watch
from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, json_option, print_done
from acme_ca.cli.selectors import environment_option, everything_option, require_selection, selector_options
from acme_ca.vocabulary import OPERATOR_REASONS

REASONS = {name: code for code, name in OPERATOR_REASONS.items()}
COLUMNS = {
    "id": "id",
    "status": "status",
    "reason": "reason",
    "revoked": "revoked",
    "skipped": "skipped",
    "total": "of",
    "ordered_by": "by",
    "as_of": "as of",
}


@click.command(**SETTINGS)
@api_options
@environment_option
@selector_options
@click.argument("number", metavar="[SERIAL]", required=False)
@everything_option
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True, help="Why.")
@asking_options
@json_option
def revoke(  # noqa: PLR0913 - the command's options
    api: Api,
    *,
    environment: str,
    selection: dict[str, str],
    number: str | None,
    everything: bool,
    reason: str,
    asking: Asking,
    as_json: bool,
) -> None:
    """Revoke the valid certificates that fit all selectors, or the one of SERIAL.

    They are counted first, and just those that were counted are revoked. The reason keyCompromise blocks their keys.
    """
    selection = _with_serial(selection, number)
    require_selection(selection, everything=everything)
    path, body = at("environments", environment, "revocations"), {"selection": selection, "reason": REASONS[reason]}
    wish = Wish(path, body, f"Revoke {{what}} ({reason})?", f"{{what}} would be revoked ({reason}).")
    begun = begin(api, wish, asking, as_json=as_json)
    if begun is not None:
        done = watch(api, path, begun, _looked_at, PATIENCE)
        print_done(done, _text(done), as_json=as_json)


@click.command(**SETTINGS)
@api_options
@environment_option
@click.argument("number", metavar="[ID]", required=False)
@json_option
def revocations(api: Api, environment: str, number: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the revocations by operators, the newest first; or show how far one is."""
    path = at("environments", environment, "revocations")
    nothing = f"Nothing was revoked by operators in environment {environment}."
    list_or_show(api, path, number, Telling(COLUMNS, _text, _row), nothing, as_json=as_json)


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


def _row(act: Mapping[str, Any]) -> dict[str, Any]:
    return {**act, "reason": OPERATOR_REASONS.get(act["reason"], act["reason"])}
