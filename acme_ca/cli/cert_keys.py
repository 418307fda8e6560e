"""`acme-ca cert block|unblock|blocked`: keys that nobody may use, in any environment."""

from __future__ import annotations

from pathlib import Path

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, WORDS, json_option, print_json, refuse
from acme_ca.cli.tables import print_table

COLUMNS = {
    "key_sha256": "key (SHA-256)",
    "serial": "of serial",
    "reason": "reason",
    "blocked_by": "by",
    "blocked_at": "blocked",
}
reason_option = click.option("--reason", type=WORDS, required=True, help="Why, for the audit.")


@click.command(**SETTINGS)
@api_options
@click.argument("which", metavar="KEY")
@reason_option
@json_option
def block(api: Api, which: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Block KEY everywhere: a PEM file with it or a certificate of it, or SHA-256 of its SubjectPublicKeyInfo."""
    done = api.call("POST", "/blocked-keys", body={"key": _hash(which), "reason": reason}).document
    if as_json:
        print_json(done)
    else:
        click.echo(f"The key {done['key_sha256']} is blocked in all environments.")


@click.command(**SETTINGS)
@api_options
@click.argument("which", metavar="KEY")
@reason_option
@json_option
def unblock(api: Api, which: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Let KEY be used again: named as for `acme-ca cert block`."""
    done = api.call("DELETE", at("blocked-keys", _hash(which)), query={"reason": reason}).document
    if as_json:
        print_json(done)
    else:
        click.echo(f"The key {done['key_sha256']} may be used again.")


@click.command(**SETTINGS)
@api_options
@json_option
def blocked(api: Api, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the blocked keys of all environments."""
    rows = list(api.pages("/blocked-keys"))
    if as_json:
        print_json(rows)
        return
    print_table(tuple(COLUMNS.values()), [tuple(row[name] for name in COLUMNS) for row in rows], "No key is blocked.")


COMMANDS = (block, unblock, blocked)


def _hash(key: str) -> str:
    """Return the hash of the key in a file, which need not leave this host; what is no file is for the API to judge."""
    path = Path(key)
    try:
        text = path.read_text() if path.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{key} cannot be read: {error}")
    if text is None:
        return key
    from acme_ca.named import key_hash_of
    from acme_ca.problems import Problem

    try:
        return key_hash_of(text).hex()
    except Problem as problem:
        refuse(f"{key}: {problem.detail}")
