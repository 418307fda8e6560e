"""`acme-ca workload`: who is bound to which account, and the end of it. docs/workload-identity-00.md §8."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from acme_ca.cli.options import SETTINGS, WORDS, SpanType, config_option, counted, json_option, print_json, refuse
from acme_ca.cli.tables import print_table
from acme_ca.clock import now, rfc3339

if TYPE_CHECKING:
    from acme_ca.models.binding import Binding

environment_option = click.option("--environment", required=True, help="The environment that the workloads are of.")


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
@config_option
@environment_option
@click.option("--all", "everything", is_flag=True, help="Those that ended too.")
@json_option
def list_(config_path: Path, environment: str, everything: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes them by name
    """List an environment's bindings, newest first."""
    from acme_ca.cli.opening import open_database
    from acme_ca.services import workloads

    with open_database(config_path, environment) as (_, database):
        rows = [_row(binding) for binding in workloads.bindings(database, environment, live=not everything)]
    if as_json:
        print_json(rows)
        return
    columns = ("binding", "workload", "provider", "rule", "SPIFFE ID", "account", "status", "until")
    shown = ("id", "subject", "provider", "rule", "spiffe_id", "account_id", "status", "expires_at")
    nothing = f"There are no bindings in environment {environment}{'' if everything else ' that stand'}."
    print_table(columns, [[row[name] for name in shown] for row in rows], nothing)


@workload.command(**SETTINGS)
@config_option
@environment_option
@chosen_options
@click.option("--reason", type=WORDS, required=True, help="Why, for the audit.")
@json_option
def revoke(
    config_path: Path,
    environment: str,
    reason: str,
    as_json: bool,  # noqa: FBT001 - click passes it by name
    **chosen: str | None,
) -> None:
    """End bindings at once: no order gets a certificate by them any more. Certificates go on to their end.

    A workload that can still prove itself may be bound again: change the policy too if it shall not.
    """
    from acme_ca.cli.opening import open_database
    from acme_ca.services import workloads

    name, value = _chosen(chosen)
    with open_database(config_path, environment) as (_, database):
        ended = workloads.revoke(database, environment, workloads.FINDERS[name](value), reason)
    if not ended:
        refuse(f"nothing to end: no binding in environment {environment} stands with --{name} {value}")
    if as_json:
        print_json({"ended": ended})
        return
    click.echo(f"{counted(ended, 'binding')} ended.")


@workload.command(**SETTINGS)
@config_option
@environment_option
@chosen_options
@json_option
def release(
    config_path: Path,
    environment: str,
    as_json: bool,  # noqa: FBT001 - click passes it by name
    **chosen: str | None,
) -> None:
    """Let another account key speak for a workload's instance, when the one that does was lost.

    This is for a workload whose token has no bound audience: its instance (a pod, a machine) belongs to the account key
    that showed the token first. Its bindings go on.
    """
    from acme_ca.cli.opening import open_database
    from acme_ca.services import workloads

    name, value = _chosen(chosen)
    with open_database(config_path, environment) as (_, database):
        released = workloads.release(database, environment, workloads.FINDERS[name](value))
    if not released:
        refuse(f"nothing to release: no binding in environment {environment} with --{name} {value} has an instance")
    if as_json:
        print_json({"released": released})
        return
    click.echo(f"{counted(released, 'instance')} released: the next account key that proves itself for one has it.")


@workload.command(**SETTINGS)
@config_option
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
    config_path: Path,
    environment: str,
    provider: str,
    subject: str,
    claims: IO[str],
    lifetime: timedelta,
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Vouch for one workload yourself: a one-time key for a machine that has no credential yet.

    The rules decide what it gets, as if the provider had vouched for these claims.
    """
    from acme_ca.authority import workload_policy
    from acme_ca.cli.opening import open_database
    from acme_ca.services import workloads

    with open_database(config_path, environment) as (config, database):
        settings = config.environment[environment]
        if not settings.provider:
            refuse(f"environment {environment} has no provider of workload identity")
        policy = workload_policy(environment, settings)
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


def _chosen(wanted: Mapping[str, str | None]) -> tuple[str, str]:
    """Return the one option by which bindings are chosen, and its value."""
    given = [(name, value) for name, value in wanted.items() if value is not None]
    if len(given) != 1:
        raise click.UsageError("give one of --binding, --subject, --rule and --provider")
    return given[0]


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
