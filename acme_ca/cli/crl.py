"""`acme-ca crl`: how the revocation lists stand, and new ones before their time. RFC 5280 §5."""

from __future__ import annotations

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, WORDS, json_option, print_json
from acme_ca.cli.tables import print_table

COLUMNS = {
    "environment": "environment",
    "issuer": "issuer",
    "shard": "shard",
    "number": "number",
    "this_update": "made",
    "next_update": "good until",
    "entries": "entries",
    "size": "bytes",
}


@click.group(**SETTINGS)
def crl() -> None:
    """List the revocation lists, and have them made anew."""


@crl.command("list", **SETTINGS)
@api_options
@json_option
def list_(api: Api, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the revocation lists of all issuers, as they were published last."""
    rows = list(api.pages("/crls"))
    if as_json:
        print_json(rows)
        return
    lines = [tuple(row[name] for name in COLUMNS) for row in rows]
    print_table(tuple(COLUMNS.values()), lines, "There are no revocation lists yet; the worker makes them.")


@crl.command(**SETTINGS)
@api_options
@click.argument("issuer", type=WORDS)
@json_option
def regenerate(api: Api, issuer: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Have the lists of ISSUER made anew: the worker does it within seconds."""
    done = api.call("POST", at("crls", issuer, "regenerate")).document
    if as_json:
        print_json(done)
        return
    click.echo(f"The worker makes anew: {', '.join(done['crls'])}")
