"""`acme-ca cert`: search and show certificates, revoke them, have them replaced, and block keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import click

from acme_ca.cli import cert_inventory, cert_keys, cert_replace, cert_revoke
from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, json_option, print_json
from acme_ca.cli.selectors import environment_option, selector_options
from acme_ca.cli.tables import print_table
from acme_ca.vocabulary import MAX_PAGE, OPERATOR_REASONS, Standing

COLUMNS = ("serial", "standing", "names", "profile", "account", "not after")
FIRST, LAST = ("serial", "standing"), ("profile", "account_id", "not_after")
FIELDS = {
    "serial": "Serial",
    "standing": "Standing",
    "profile": "Profile",
    "issuer_id": "Issuer",
    "account_id": "Account",
    "eab_kid": "External key",
    "subject": "Workload",
    "provider": "Provider",
    "rule": "Rule",
    "binding_id": "Binding",
    "key_sha256": "Key (SHA-256)",
    "not_before": "Not before",
    "not_after": "Not after",
    "revoked_at": "Revoked",
}


@click.group(**SETTINGS)
def cert() -> None:
    """Search, show, count, revoke and replace certificates; block keys."""


for command in (*cert_inventory.COMMANDS, *cert_revoke.COMMANDS, *cert_replace.COMMANDS, *cert_keys.COMMANDS):
    cert.add_command(command)


@cert.command(**SETTINGS)
@api_options
@environment_option
@selector_options
@click.option("--standing", type=click.Choice([one.value for one in Standing]), help="How they stand now.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at most.")
@json_option
def search(
    api: Api,
    *,
    environment: str,
    selection: dict[str, str],
    standing: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the certificates that fit all selectors, the newest first."""
    query: dict[str, object] = {**selection, "standing": standing, "limit": min(limit + 1, MAX_PAGE)}
    found = list(islice(api.pages(at("environments", environment, "certificates"), **query), limit + 1))
    rows = found[:limit]
    if as_json:
        print_json(rows)
    else:
        lines = [
            (*(row[name] for name in FIRST), ", ".join(row["names"]), *(row[name] for name in LAST)) for row in rows
        ]
        print_table(COLUMNS, lines, f"No certificate of environment {environment} fits.")
    if len(found) > limit:
        click.echo(f"There are more than {limit}; --limit shows them.", err=True)


@cert.command(**SETTINGS)
@api_options
@environment_option
@click.argument("serial")
@click.option("--pem", "as_pem", is_flag=True, help="Print the certificate and its chain in PEM.")
@json_option
def show(api: Api, environment: str, serial: str, as_pem: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes them by name
    """Show all there is to know of the certificate with a SERIAL number."""
    if as_pem and as_json:
        raise click.UsageError("--pem and --json contradict each other")
    found = api.get(at("environments", environment, "certificates", serial))
    if as_json:
        print_json(found)
    elif as_pem:
        click.echo((found["pem"] or "") + found["chain"], nl=False)
    else:
        for line in _lines(found):
            click.echo(line)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    pairs = [*_own(found["certificate"]), *_around(found)]
    width = max(len(title) for title, _ in pairs) + 2
    for title, value in pairs:
        yield f"{title:{width}}{value}"


def _own(certificate: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name in certificate["names"]:
        yield "Name", name
    for name, title in FIELDS.items():
        if certificate[name] is not None:
            yield title, certificate[name]
    if (reason := certificate["revocation_reason"]) is not None:
        yield "Reason", OPERATOR_REASONS.get(reason, reason)


def _around(found: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if found["key_blocked"]:
        yield "Key", "is blocked"
    if (order := found["order"]) is not None:
        yield "Order", f"{order['id']}, {order['status']}"
    for title, lineage in (("Replaces", found["replaces"]), ("Replaced by", found["replaced_by"])):
        for other in lineage:
            yield title, f"{other['serial']}, {other['standing']}"
    for name, value in (found["evidence"] or {}).items():
        yield "Evidence", f"{name}: {value}"
