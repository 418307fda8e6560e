"""`acme-ca issuer sign-csr` and `acme-ca issuer sub-cas`: CAs of meshes, below the CA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import SETTINGS, WORDS, SpanType, json_option, print_json, refuse
from acme_ca.cli.tables import print_table

COLUMNS = ("serial", "standing", "rule", "common name", "names", "depth", "issuer", "not after")
_FILE = click.Path(path_type=Path, dir_okay=False)
_environment = click.option("--environment", required=True, help="The environment of the sub-CAs.")


@click.command("sign-csr", **SETTINGS)
@api_options
@click.argument("csr", type=click.File("r", encoding="utf-8", errors="replace"))
@_environment
@click.option("--rule", required=True, type=WORDS, help="The rule of [environment.NAME.sub_ca] to sign it under.")
@click.option("--lifetime", type=SpanType("days"), help="Days until its end, if not as many as the rule allows.")
@click.option("--out", type=_FILE, help="Write it there, and not to the output.")
@click.option("--root-out", type=_FILE, help="Write the root there: what the mesh trusts.")
@click.option("--dry-run", is_flag=True, help="Check everything and tell what it would be; sign nothing.")
@json_option
def sign_csr(  # noqa: PLR0913 - the command's options
    api: Api,
    *,
    csr: TextIO,
    environment: str,
    rule: str,
    lifetime: timedelta | None,
    out: Path | None,
    root_out: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Have the CSR of a mesh's CA signed: a constrained intermediate for the key in the file CSR (- is the input).

    Prints the certificate and what is above it in PEM, without the root. What it may certify, and for how long, is
    the rule's to say.
    """
    for path in (out, root_out):
        if path is not None and path.exists():
            refuse(f"{path} is there already; move it away, or name another file")
    body: dict[str, object] = {"csr": csr.read(), "rule": rule}
    if lifetime is not None:
        body["lifetime"] = int(lifetime.total_seconds())
    query = {"dry_run": True} if dry_run else None
    signed = api.call("POST", at("environments", environment, "sub-cas"), body=body, query=query).document
    if not dry_run:
        _write(out, signed["pem"] + signed["chain"], signed)
        _write(root_out, signed["root"], signed)
    if as_json:
        print_json(signed)
        return
    for line in _told(signed):
        click.echo(line, err=True)
    if out is None and not dry_run:
        click.echo(signed["pem"] + signed["chain"], nl=False)


@click.command("sub-cas", **SETTINGS)
@api_options
@_environment
@click.argument("serial", required=False)
@click.option("--pem", "as_pem", is_flag=True, help="Print the certificate of SERIAL and its chain in PEM.")
@json_option
def sub_cas(api: Api, *, environment: str, serial: str | None, as_pem: bool, as_json: bool) -> None:
    """List the sub-CAs that were signed, the newest first; with a SERIAL, show that one."""
    if as_pem and (serial is None or as_json):
        raise click.UsageError("--pem is for one SERIAL, and not together with --json")
    path = at("environments", environment, "sub-cas")
    if serial is not None:
        found = api.get(path + at(serial))
        if as_json:
            print_json(found)
        elif as_pem:
            click.echo(found["pem"] + found["chain"], nl=False)
        else:
            click.echo("\n".join(_told(found)))
        return
    rows = list(api.pages(path))
    if as_json:
        print_json(rows)
        return
    print_table(COLUMNS, [_row(row) for row in rows], f"No sub-CA of environment {environment} was signed.")


def _write(out: Path | None, pem: str, signed: Mapping[str, Any]) -> None:
    if out is None:
        return
    from acme_ca.ceremony.files import write_new

    try:
        write_new(out, pem.encode(), 0o644)
    except OSError as error:
        refuse(
            f"{out} cannot be written: {error.strerror}; the certificate is signed all the same: "
            f"`acme-ca issuer sub-cas {signed['serial']} --environment {signed['environment']} --pem` prints it"
        )


def _row(row: Mapping[str, Any]) -> tuple[object, ...]:
    names = ", ".join((*row["permitted_dns"], *row["permitted_ips"], *row["uris"]))
    known = ("serial", "standing", "rule", "common_name")
    return (*(row[name] for name in known), names, row["path_length"], row["issuer_id"], row["not_after"])


def _told(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a sub-CA is, one fact on a line."""
    facts = {
        "Serial": found["serial"],
        "Standing": found["standing"],
        "Rule": found["rule"],
        "Common name": found["common_name"],
        "May certify names": ", ".join(found["permitted_dns"]) or "none",
        "May certify addresses": ", ".join(found["permitted_ips"]) or "none",
        "Own names": ", ".join((*found["dns_names"], *found["uris"])) or None,
        "CAs below it": found["path_length"],
        "For": ", ".join(found["extended_key_usages"]),
        "Issuer": found["issuer_id"],
        "Key (SHA-256)": found["key_sha256"],
        "Not before": found["not_before"],
        "Not after": found["not_after"],
        "Ordered by": found["ordered_by"],
        "Revoked": found["revoked_at"],
    }
    width = max(map(len, facts)) + 2
    for title, value in facts.items():
        if value is not None:
            yield f"{title:{width}}{value}"


COMMANDS = (sign_csr, sub_cas)
