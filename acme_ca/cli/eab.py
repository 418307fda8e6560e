"""`acme-ca eab`: keys for external account binding. RFC 8555 §7.3.4."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click

from acme_ca.cli.cert_revoke import REASONS
from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, SpanType, counted, json_option, print_json
from acme_ca.cli.tables import print_table

COLUMNS = {
    "kid": "key identifier",
    "label": "label",
    "status": "status",
    "uses": "accounts",
    "for": "for",
    "created_at": "made",
    "expires_at": "expires",
}
environment_option = click.option("--environment", required=True, help="The environment whose accounts the key binds.")


@click.group(**SETTINGS)
def eab() -> None:
    """Make, list and revoke keys for external account binding (EAB)."""


@eab.command(**SETTINGS)
@api_options
@environment_option
@click.option("--label", help="What policy rules select by (`eab = [LABEL]`).")
@click.option("--reusable", is_flag=True, help="Good for any number of accounts; otherwise for one.")
@click.option("--uses", type=click.IntRange(1), help="Good for so many accounts.")
@click.option("--name", "dns", multiple=True, help="Only for names: NAME, *.NAME, **.NAME, .NAME. Repeat for more.")
@click.option("--network", "ip", multiple=True, help="Only for addresses in it. Repeat for more.")
@click.option("--profile", "profiles", multiple=True, help="Only for this profile. Repeat for more.")
@click.option("--hours", "lifetime", type=SpanType("hours"), help="How long it can bind accounts. Default: for ever.")
@json_option
def create(
    api: Api,
    *,
    environment: str,
    label: str | None,
    reusable: bool,
    uses: int | None,
    lifetime: timedelta | None,
    as_json: bool,
    **scope: tuple[str, ...],
) -> None:
    """Make a key. Its MAC key is shown now and never again.

    What it is for bounds its accounts further than the policy does, and allows them nothing more.
    """
    hours = None if lifetime is None else lifetime.total_seconds() / 3600
    wanted = {"label": label, "reusable": reusable, "uses": uses, "scope": scope, "hours": hours}
    made = api.call("POST", at("environments", environment, "eab"), body=wanted).document
    if as_json:
        print_json(made)
        return
    directory, kid, mac_key = made["directory"], made["kid"], made["mac_key"]
    click.echo(f"Key identifier  {kid}\nMAC key         {mac_key}")
    click.echo(f"certbot         --server {directory} --eab-kid {kid} --eab-hmac-key {mac_key}")
    click.echo(f"lego            --server {directory} --eab --kid {kid} --hmac {mac_key}")


@eab.command("list", **SETTINGS)
@api_options
@environment_option
@click.option("--label", help="Only those with this label.")
@json_option
def list_(api: Api, environment: str, label: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List an environment's keys, without what is secret."""
    rows = list(api.pages(at("environments", environment, "eab"), label=label))
    if as_json:
        print_json(rows)
        return
    lines = [tuple({**row, "uses": _uses(row), "for": _scope(row["scope"])}[name] for name in COLUMNS) for row in rows]
    print_table(tuple(COLUMNS.values()), lines, f"There are no keys in environment {environment}.")


@eab.command(**SETTINGS)
@api_options
@environment_option
@click.argument("kid")
@click.option("--keep-accounts", is_flag=True, help="Let the accounts that were made with it go on.")
@click.option("--revoke", "reason", type=click.Choice(list(REASONS)), help="Revoke their certificates too, for this.")
@click.option("--dry-run", is_flag=True, help="Only tell how many accounts would end.")
@json_option
def revoke(
    api: Api, *, environment: str, kid: str, keep_accounts: bool, reason: str | None, dry_run: bool, as_json: bool
) -> None:
    """Make a key unusable, and end the accounts that were made with it."""
    query = {"keep_accounts": keep_accounts, "revoke": None if reason is None else REASONS[reason], "dry_run": dry_run}
    done = api.call("DELETE", at("environments", environment, "eab", kid), query=query).document
    if as_json:
        print_json(done)
        return
    ended, certificates = counted(done["accounts"], "account"), counted(done["certificates"], "certificate")
    if dry_run:
        click.echo(f"The key {kid} would bind no more accounts; {ended} that it had bound would end.")
        click.echo(f"{certificates} would be revoked." if reason else "No certificate would be revoked.")
    else:
        click.echo(f"The key {kid} binds no more accounts; {ended} that it had bound ended.")
        if reason is not None:
            click.echo(f"Revocation {done['revocation']} is about {certificates} ({reason}).")


def _uses(row: Mapping[str, Any]) -> str:
    if not row["reusable"]:
        return "one"
    return "any number" if row["uses_left"] is None else f"{row['uses_left']} more"


def _scope(scope: Mapping[str, Any]) -> str:
    return ", ".join(value for name in ("dns", "ip", "profiles") for value in scope.get(name, ())) or "everything"
