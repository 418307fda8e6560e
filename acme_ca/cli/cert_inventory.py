"""`acme-ca cert inventory`: what the live certificates are made of."""

from __future__ import annotations

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, json_option, print_json
from acme_ca.cli.selectors import environment_option, selector_options
from acme_ca.cli.tables import print_table

FIELDS = ("key_type", "signature", "issuer_id", "profile", "count", "earliest_not_after", "latest_not_after")
COLUMNS = ("key", "signed with", "issuer", "profile", "count", "first ends", "last ends")


@click.command(**SETTINGS)
@api_options
@environment_option
@selector_options
@json_option
def inventory(api: Api, environment: str, selection: dict[str, str], as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Count the live certificates that fit all selectors, by the kind of their keys and what they are signed with."""
    found = api.get(at("environments", environment, "inventory"), **selection)
    if as_json:
        print_json(found)
        return
    rows = [[one[name] for name in FIELDS] for one in found["items"]]
    print_table(COLUMNS, rows, f"Environment {environment} has no live certificate that fits.")
    for title, counts in (("Keys", found["by_key_type"]), ("Signatures", found["by_signature"])):
        if counts:
            click.echo(f"{title}: {', '.join(f'{name} {count}' for name, count in counts.items())}")


COMMANDS = (inventory,)
