"""`acme-ca workload`: who is bound to which account, and the end of it. docs/workload-identity-00.md §8."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table

from acme_ca.authority import workload_policy
from acme_ca.cli.options import SETTINGS, config_option, json_option, open_database, print_json, refuse
from acme_ca.clock import now, rfc3339
from acme_ca.models.binding import Binding
from acme_ca.services import workloads

environment_option = click.option("--environment", required=True, help="The environment that the workloads are of.")
FINDERS = {
    "binding": workloads.by_id,
    "subject": workloads.by_subject,
    "rule": workloads.by_rule,
    "provider": workloads.by_provider,
}


@click.group(**SETTINGS)
def workload() -> None:
    """List and revoke what workloads are bound to; admit one by hand."""


@workload.command("list", **SETTINGS)
@config_option
@environment_option
@click.option("--all", "everything", is_flag=True, help="Those that ended too.")
@json_option
def list_(config_path: Path, environment: str, everything: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes them by name
    """List an environment's bindings, newest first."""
    with open_database(config_path, environment) as (_, database):
        rows = [_row(binding) for binding in workloads.bindings(database, environment, live=not everything)]
    if as_json:
        print_json(rows)
        return
    table = Table("binding", "workload", "provider", "rule", "SPIFFE ID", "account", "status", "until")
    for row in rows:
        shown = ("id", "subject", "provider", "rule", "spiffe_id", "account_id", "status", "expires_at")
        table.add_row(*(str(row[name] or "") for name in shown))
    Console().print(table)


@workload.command(**SETTINGS)
@config_option
@environment_option
@click.option("--binding", help="One binding, by its identifier.")
@click.option("--subject", help="Every binding of one workload.")
@click.option("--rule", help="All that one rule granted.")
@click.option("--provider", help="All that one provider vouched for.")
@click.option("--reason", required=True, help="Why, for the audit.")
def revoke(config_path: Path, environment: str, reason: str, **wanted: str | None) -> None:
    """End bindings at once: no order gets a certificate by them any more. Certificates go on to their end.

    A workload that can still prove itself may be bound again: change the policy too if it shall not.
    """
    chosen = [(name, value) for name, value in wanted.items() if value is not None]
    if len(chosen) != 1:
        raise click.UsageError("give one of --binding, --subject, --rule and --provider")
    (name, value) = chosen[0]
    with open_database(config_path, environment) as (_, database):
        ended = workloads.revoke(database, environment, FINDERS[name](value), reason)
    click.echo(f"{ended} binding(s) ended.")


@workload.command(**SETTINGS)
@config_option
@environment_option
@click.option("--provider", required=True, help="The provider whose rules decide.")
@click.option("--subject", required=True, help="What stands in the token of such a workload as `sub`.")
@click.option("--claims", type=click.File(), required=True, help="A JSON file with the claims that rules look at.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long the key can be used.",
)
@json_option
def admit(
    config_path: Path,
    environment: str,
    provider: str,
    subject: str,
    claims: IO[str],
    minutes: float,
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Vouch for one workload yourself: a one-time key for a machine that has no credential yet.

    The rules decide what it gets, as if the provider had vouched for these claims.
    """
    with open_database(config_path, environment) as (config, database):
        settings = config.environment[environment]
        if not settings.provider:
            refuse(f"environment {environment} has no provider of workload identity")
        policy = workload_policy(environment, settings)
        lifetime = timedelta(minutes=minutes)
        made = workloads.admit(database, policy, provider, subject, _claims(claims), lifetime)
    directory = f"{config.external_url}/acme/{environment}/directory"
    if as_json:
        print_json(
            {
                "kid": made.kid,
                "hmac_key": made.mac_key,
                "expires": rfc3339(made.key_expires_at),
                "binding": made.binding.id,
                "binding_expires": rfc3339(made.binding.expires_at),
                "directory": directory,
                "identity": {"spiffe_id": made.grant.spiffe_id, "dns": list(made.grant.dns)},
            }
        )
        return
    click.echo(f"Key identifier  {made.kid}\nMAC key         {made.mac_key}")
    click.echo(
        f"Good once, until {rfc3339(made.key_expires_at)}, for {made.grant.spiffe_id or ', '.join(made.grant.dns)}"
    )
    click.echo(f"certbot         --server {directory} --eab-kid {made.kid} --eab-hmac-key {made.mac_key}")


def _claims(file: IO[str]) -> dict[str, Any]:
    try:
        found = json.load(file)
    except (ValueError, RecursionError) as error:
        refuse(f"{file.name} is not JSON: {error}")
    if not isinstance(found, dict):
        refuse(f"{file.name} is not a JSON object of claims")
    return found


def _row(binding: Binding) -> dict[str, str | None]:
    moment = now()
    status = "revoked" if binding.revoked_at is not None else "live" if binding.expires_at > moment else "ended"
    return {
        "id": binding.id,
        "subject": binding.subject,
        "provider": binding.provider,
        "instance": binding.instance,
        "mode": binding.mode,
        "rule": binding.rule,
        "spiffe_id": binding.grant.get("spiffe_id"),
        "account_id": binding.account_id,
        "status": status,
        "reason": binding.revoked_reason,
        "created_at": rfc3339(binding.created_at),
        "expires_at": rfc3339(binding.expires_at),
    }
