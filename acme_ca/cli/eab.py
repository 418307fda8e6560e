"""`acme-ca eab`: keys for external account binding. RFC 8555 §7.3.4."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from acme_ca.cli.options import SETTINGS, SpanType, config_option, counted, json_option, open_database, print_json
from acme_ca.cli.tables import print_table
from acme_ca.clock import now, rfc3339
from acme_ca.models.external_key import ExternalKey
from acme_ca.services import external_keys

environment_option = click.option("--environment", required=True, help="The environment whose accounts the key binds.")


@click.group(**SETTINGS)
def eab() -> None:
    """Make, list and revoke keys for external account binding (EAB)."""


@eab.command(**SETTINGS)
@config_option
@environment_option
@click.option("--label", help="What policy rules select by (`eab = [LABEL]`).")
@click.option("--reusable", is_flag=True, help="Good for any number of accounts; otherwise for one.")
@click.option("--hours", "lifetime", type=SpanType("hours"), help="How long it can bind accounts. Default: for ever.")
@json_option
def create(
    config_path: Path,
    environment: str,
    label: str | None,
    reusable: bool,  # noqa: FBT001 - click passes it by name
    lifetime: timedelta | None,
    as_json: bool,  # noqa: FBT001 - click passes them by name
) -> None:
    """Make a key. Its MAC key is shown now and never again."""
    with open_database(config_path, environment) as (config, database):
        key = external_keys.create(database, environment, label=label, reusable=reusable, lifetime=lifetime)
    directory = f"{config.external_url}/acme/{environment}/directory"
    if as_json:
        expires = None if key.expires_at is None else rfc3339(key.expires_at)
        print_json({"kid": key.kid, "mac_key": key.mac_key, "expires_at": expires, "directory": directory})
        return
    click.echo(f"Key identifier  {key.kid}\nMAC key         {key.mac_key}")
    click.echo(f"certbot         --server {directory} --eab-kid {key.kid} --eab-hmac-key {key.mac_key}")
    click.echo(f"lego            --server {directory} --eab --kid {key.kid} --hmac {key.mac_key}")


@eab.command("list", **SETTINGS)
@config_option
@environment_option
@json_option
def list_(config_path: Path, environment: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List an environment's keys, without what is secret."""
    with open_database(config_path, environment) as (_, database):
        rows = [_row(key) for key in external_keys.all_of(database, environment)]
    if as_json:
        print_json(rows)
        return
    columns = ("key identifier", "label", "status", "reusable", "made", "expires")
    print_table(columns, [tuple(row.values()) for row in rows], f"There are no keys in environment {environment}.")


@eab.command(**SETTINGS)
@config_option
@environment_option
@click.argument("kid")
@click.option("--keep-accounts", is_flag=True, help="Let the accounts that were made with it go on.")
def revoke(config_path: Path, environment: str, kid: str, keep_accounts: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Make a key unusable, and end the accounts that were made with it."""
    with open_database(config_path, environment) as (_, database):
        ended = external_keys.revoke(database, environment, kid, keep_accounts=keep_accounts)
    click.echo(f"The key {kid} binds no more accounts; {counted(ended, 'account')} that it had bound ended.")


def _row(key: ExternalKey) -> dict[str, str | bool | None]:
    return {
        "kid": key.kid,
        "label": key.label,
        "status": _status(key),
        "reusable": key.reusable,
        "created_at": rfc3339(key.created_at),
        "expires_at": None if key.expires_at is None else rfc3339(key.expires_at),
    }


def _status(key: ExternalKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now():
        return "expired"
    return "used" if key.used_at is not None and not key.reusable else "usable"
