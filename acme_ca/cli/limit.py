"""`acme-ca limit`: what was used of the rate limits, and a new start for one client. RFC 8555 §6.6."""

from __future__ import annotations

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, json_option, print_json
from acme_ca.cli.tables import print_table

COLUMNS = {
    "limit": "limit",
    "subject": "used by",
    "used": "used",
    "count": "of",
    "limited": "limited",
    "next_at": "next may come",
}
environment_option = click.option("--environment", required=True, help="The environment.")


@click.group(**SETTINGS)
def limit() -> None:
    """Show what was used of the rate limits, and forget it."""


@limit.command("list", **SETTINGS)
@api_options
@environment_option
@click.option("--limit", "limit_name", help="Only those of this limit, such as new_account_per_address.")
@click.option("--all", "everything", is_flag=True, help="Also where something is left.")
@json_option
def list_(
    api: Api,
    environment: str,
    limit_name: str | None,
    everything: bool,  # noqa: FBT001 - click passes it by name
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """List who is limited now."""
    path = at("environments", environment, "limits")
    rows = list(api.pages(path, limit_name=limit_name, limited=not everything))
    if as_json:
        print_json(rows)
        return
    lines = [tuple(row[name] for name in COLUMNS) for row in rows]
    print_table(tuple(COLUMNS.values()), lines, f"Nobody is limited in environment {environment}.")


@limit.command(**SETTINGS)
@api_options
@environment_option
@click.argument("limit_name", metavar="LIMIT")
@click.argument("subject")
@json_option
def reset(api: Api, environment: str, limit_name: str, subject: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Forget what SUBJECT used of LIMIT: as the list has it, or a client's IP address."""
    path = at("environments", environment, "limits", limit_name)
    done = api.call("DELETE", path, query={"subject": subject}).document
    if as_json:
        print_json(done)
    else:
        click.echo(f"What {subject} had used of {limit_name} is forgotten.")
