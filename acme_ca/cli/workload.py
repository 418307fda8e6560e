"""`acme-ca workload`: who is bound to which account, and the end of it. docs/workload-identity-00.md §8."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import IO, Any

import click

from acme_ca.cli.client import Api, api_options, at
from acme_ca.cli.options import (
    SETTINGS,
    WORDS,
    SpanType,
    counted,
    json_option,
    print_done,
    print_json,
    refuse,
)
from acme_ca.cli.tables import print_table

COLUMNS = {
    "id": "binding",
    "subject": "workload",
    "provider": "provider",
    "rule": "rule",
    "spiffe_id": "SPIFFE ID",
    "account_id": "account",
    "status": "status",
    "expires_at": "until",
}
environment_option = click.option("--environment", required=True, help="The environment that the workloads are of.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")


def chosen_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose bindings, one of which has to be given."""
    for add in (
        click.option("--provider", type=WORDS, help="All that one provider vouched for."),
        click.option("--rule", type=WORDS, help="All that one rule granted."),
        click.option("--subject", type=WORDS, help="Every binding of one workload."),
        click.option("--binding", type=WORDS, help="One binding, by its identifier."),
    ):
        command = add(command)
    return command


@click.group(**SETTINGS)
def workload() -> None:
    """List, revoke and release what workloads are bound to; admit one by hand."""


@workload.command("list", **SETTINGS)
@api_options
@environment_option
@click.option("--all", "everything", is_flag=True, help="Those that ended too.")
@click.option("--subject", help="Only those of one workload.")
@click.option("--rule", help="Only those by one rule.")
@click.option("--provider", help="Only those of one provider.")
@click.option("--account", help="Only those of one account.")
@json_option
def list_(api: Api, *, environment: str, everything: bool, as_json: bool, **wanted: str | None) -> None:
    """List an environment's bindings, newest first."""
    rows = list(api.pages(_path(environment), live=not everything, **wanted))
    if as_json:
        print_json(rows)
        return
    nothing = f"There are no bindings in environment {environment}{'' if everything else ' that stand'}."
    print_table(tuple(COLUMNS.values()), [tuple(row[name] for name in COLUMNS) for row in rows], nothing)


@workload.command(**SETTINGS)
@api_options
@environment_option
@chosen_options
@click.option("--reason", type=WORDS, required=True, help="Why, for the audit.")
@dry_run_option
@json_option
def revoke(api: Api, *, environment: str, reason: str, dry_run: bool, as_json: bool, **chosen: str | None) -> None:
    """End bindings at once: no order gets a certificate by them any more. Certificates go on to their end.

    A workload that can still prove itself may be bound again: change the policy too if it shall not.
    """
    body = {**_chosen(chosen), "reason": reason}
    done = api.call("POST", f"{_path(environment)}/revoke", body=body, query={"dry_run": dry_run}).document
    print_done(done, f"{counted(done['ended'], 'binding')} {'would end' if dry_run else 'ended'}.", as_json=as_json)


@workload.command(**SETTINGS)
@api_options
@environment_option
@chosen_options
@dry_run_option
@json_option
def release(api: Api, *, environment: str, dry_run: bool, as_json: bool, **chosen: str | None) -> None:
    """Let another account key speak for a workload's instance, when the one that does was lost.

    This is for a workload whose token has no bound audience: its instance (a pod, a machine) belongs to the account key
    that showed the token first. Its bindings go on.
    """
    path, query = f"{_path(environment)}/release", {"dry_run": dry_run}
    done = api.call("POST", path, body=_chosen(chosen), query=query).document
    text = f"{counted(done['released'], 'instance')} released: the next account key that proves itself for one has it."
    print_done(
        done, text if not dry_run else f"{counted(done['released'], 'instance')} would be free.", as_json=as_json
    )


@workload.command(**SETTINGS)
@api_options
@environment_option
@click.option("--provider", required=True, help="The provider whose rules decide.")
@click.option("--subject", type=WORDS, required=True, help="What stands in the token of such a workload as `sub`.")
@click.option(
    "--claims", type=click.File(lazy=True), required=True, help="A JSON file with the claims that rules look at."
)
@click.option(
    "--minutes",
    "lifetime",
    type=SpanType("minutes"),
    default="10",
    show_default=True,
    help="How long the key can be used.",
)
@json_option
def admit(
    api: Api,
    *,
    environment: str,
    provider: str,
    subject: str,
    claims: IO[str],
    lifetime: timedelta,
    as_json: bool,
) -> None:
    """Vouch for one workload yourself: a one-time key for a machine that has no credential yet.

    The rules decide what it gets, as if the provider had vouched for these claims.
    """
    minutes = lifetime.total_seconds() / 60
    body = {"provider": provider, "subject": subject, "claims": _claims(claims), "minutes": minutes}
    made = api.call("POST", _path(environment), body=body).document
    binding, directory = made["binding"], made["directory"]
    if as_json:
        print_json(
            {
                "kid": made["kid"],
                "hmac_key": made["mac_key"],
                "expires": made["expires_at"],
                "binding": binding["id"],
                "binding_expires": binding["expires_at"],
                "directory": directory,
                "identity": {"spiffe_id": binding["spiffe_id"], "dns": made["dns"]},
            }
        )
        return
    click.echo(f"Key identifier  {made['kid']}\nMAC key         {made['mac_key']}")
    click.echo(f"Good once, until {made['expires_at']}, for {binding['spiffe_id'] or ', '.join(made['dns'])}")
    click.echo(f"certbot         --server {directory} --eab-kid {made['kid']} --eab-hmac-key {made['mac_key']}")


def _path(environment: str) -> str:
    return at("environments", environment, "bindings")


def _chosen(wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return the one option by which bindings are chosen, and its value."""
    given = {name: value for name, value in wanted.items() if value is not None}
    if len(given) != 1:
        raise click.UsageError("give one of --binding, --subject, --rule and --provider")
    return given


def _claims(file: IO[str]) -> dict[str, Any]:
    try:
        found = json.load(file)
    except (ValueError, RecursionError) as error:
        refuse(f"{file.name} is not JSON: {error}")
    if not isinstance(found, dict):
        refuse(f"{file.name} is not a JSON object of claims")
    return found
