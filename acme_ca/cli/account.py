"""`acme-ca account`: accounts searched, shown, ended and noted; and the names that they have to wait for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import click

from acme_ca.cli.cert_revoke import REASONS
from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, WORDS, counted, json_option, print_done, print_json
from acme_ca.cli.tables import print_table

COLUMNS = {
    "id": "account",
    "status": "status",
    "eab_kid": "external key",
    "eab_label": "label",
    "created_at": "made",
    "note": "note",
}
PAUSE_COLUMNS = {
    "id": "pause",
    "account_id": "account",
    "name": "name",
    "reason": "reason",
    "failures": "failures",
    "paused_until": "until",
}
FIGURES = {"certificates": "certificates", "valid_certificates": "of them valid", "orders": "open orders"}
SEARCHED = {
    "thumbprint": "The thumbprint of its key (RFC 7638), base64url.",
    "eab_kid": "The external account key that it was bound by.",
    "eab_label": "The label of that key.",
    "status": "valid, deactivated (by its client) or revoked.",
    "subject": "A workload that spoke for it.",
    "since": "When it was made, or later: 2026-01-31T12:00:00Z.",
    "until": "Before when it was made.",
}
environment_option = click.option("--environment", required=True, help="The environment of the accounts.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only tell what would come of it.")


@click.group(**SETTINGS)
def account() -> None:
    """Search, show, end and note accounts; list and end the pauses of those that keep failing."""


def search_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each condition of the search."""
    for name, text in reversed(SEARCHED.items()):
        function = click.option(f"--{name.replace('_', '-')}", name, help=text)(function)
    return function


@account.command("list", **SETTINGS)
@api_options
@environment_option
@search_options
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at most.")
@json_option
def list_(api: Api, *, environment: str, limit: int, as_json: bool, **wanted: str | None) -> None:
    """List the accounts that fit all options, the newest first."""
    found = list(islice(api.pages(at("environments", environment, "accounts"), **wanted), limit + 1))
    _print_rows(found[:limit], COLUMNS, f"No account of environment {environment} fits.", as_json=as_json)
    if len(found) > limit:
        click.echo(f"There are more than {limit}; --limit shows them.", err=True)


@account.command(**SETTINGS)
@api_options
@environment_option
@click.argument("account_id", metavar="ACCOUNT", type=WORDS)
@json_option
def show(api: Api, environment: str, account_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Show an account with what it has."""
    found = api.get(at("environments", environment, "accounts", account_id))
    if as_json:
        print_json(found)
        return
    for name, title in {**COLUMNS, **FIGURES}.items():
        if found[name] is not None:
            click.echo(f"{title:16}{found[name]}")
    if found["pauses"]:
        click.echo()
        _print_rows(found["pauses"], PAUSE_COLUMNS, "", as_json=False)


@account.command(**SETTINGS)
@api_options
@environment_option
@click.argument("account_id", metavar="ACCOUNT", type=WORDS)
@click.option("--revoke", "reason", type=click.Choice(list(REASONS)), help="Revoke its certificates too, for this.")
@dry_run_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def deactivate(
    api: Api, *, environment: str, account_id: str, reason: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """End an account: it can do nothing any more. Its certificates stay valid without --revoke."""
    path = at("environments", environment, "accounts", account_id, "deactivate")
    body = {"revoke": None if reason is None else REASONS[reason]}
    told = api.call("POST", path, body=body, query={"dry_run": True}).document
    certificates = "" if reason is None else f" and {counted(told['certificates'], 'valid certificate')} ({reason})"
    if dry_run:
        print_done(told, f"Account {account_id}{certificates} would be revoked.", as_json=as_json)
        return
    if not yes:
        click.confirm(f"Revoke account {account_id}{certificates}?", abort=True, err=True)
    done = api.call("POST", path, body=body).document
    text = f"Account {account_id} is {done['account']['status']}."
    if done["revocation"] is not None:
        text += f" Revocation {done['revocation']} is about {counted(done['certificates'], 'certificate')} of it."
    print_done(done, text, as_json=as_json)


@account.command(**SETTINGS)
@api_options
@environment_option
@click.argument("account_id", metavar="ACCOUNT", type=WORDS)
@click.argument("text")
@json_option
def note(api: Api, environment: str, account_id: str, text: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Set what is to be known of an account; an empty TEXT removes it."""
    path = at("environments", environment, "accounts", account_id)
    tag = api.call("GET", path).headers["ETag"]
    done = api.call("PATCH", path, body={"note": text or None}, headers={"If-Match": tag}).document
    print_done(done, f"The note of account {account_id} is {'set' if text else 'removed'}.", as_json=as_json)


@account.command(**SETTINGS)
@api_options
@environment_option
@json_option
def pauses(api: Api, environment: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the names that accounts cannot order for some time."""
    rows = list(api.pages(at("environments", environment, "pauses")))
    _print_rows(rows, PAUSE_COLUMNS, f"Nothing is paused in environment {environment}.", as_json=as_json)


@account.command(**SETTINGS)
@api_options
@environment_option
@click.argument("pause", type=WORDS)
@dry_run_option
@json_option
def unpause(api: Api, environment: str, pause: str, dry_run: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes them by name
    """Let an account order a name again: PAUSE is what `pauses` lists."""
    path = at("environments", environment, "pauses", pause)
    done = api.call("DELETE", path, query={"dry_run": dry_run}).document
    may = "could" if dry_run else "can"
    print_done(done, f"Account {done['account_id']} {may} order {done['name']} again.", as_json=as_json)


def _print_rows(rows: list[dict[str, Any]], columns: dict[str, str], nothing: str, *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    print_table(tuple(columns.values()), [tuple(row[name] for name in columns) for row in rows], nothing)
