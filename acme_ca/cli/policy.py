"""`acme-ca policy`: are the rules good, what do they say of whom, and which are in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from acme_ca.cli import policy_versions
from acme_ca.cli.options import SETTINGS, config_option, counted, json_option, print_json
from acme_ca.cli.policy_explain import API_PARAMETERS, names_explained
from acme_ca.vocabulary import KEY_TYPES

environment_option = click.option("--environment", required=True, help="The environment whose rules are asked.")
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(**SETTINGS)
def policy() -> None:
    """Check and try rules; show, apply and bring back the policy of an environment."""


for command in policy_versions.COMMANDS:
    policy.add_command(command)


@policy.command(**SETTINGS)
@config_option
@click.option("--environment", help="The environment that the policy in FILE is for.")
@click.argument("file", type=FILE, required=False)
@json_option
@click.pass_context
def lint(ctx: click.Context, config_path: Path, environment: str | None, file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Name every mistake in the configuration file, and warn of rules that can never decide.

    With FILE, the mistakes of that policy, as `acme-ca policy apply` would find them. Certificate and key files need
    not be there. A warning leaves the exit code 0.
    """
    if (file is None) != (environment is None):
        raise click.UsageError("FILE and --environment go together")
    from acme_ca.cli import policy_lint
    from acme_ca.config import ConfigError

    try:
        if file is not None and environment is not None:
            counts, warnings = policy_lint.lint_for(config_path, environment, file)
        else:
            counts, warnings = policy_lint.lint(config_path)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "mistakes": [mistake.document() for mistake in error.mistakes], "warnings": []})
        else:
            click.echo(str(error), err=True)
        ctx.exit(1)
    if as_json:
        print_json({"ok": True, "mistakes": [], "warnings": [warning.document() for warning in warnings]})
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{file or config_path}: {counts}, {counted(len(warnings), 'warning')}.")


@policy.command(**SETTINGS)
@config_option
@environment_option
@click.option("--claims", "first", type=FILE, multiple=True, help="A file with cases; repeatable.")
@click.option("--policy", "document", type=FILE, help="A policy to try instead of the configuration's.")
@click.argument("files", type=FILE, nargs=-1)
@json_option
@click.pass_context
def test(
    ctx: click.Context,
    /,
    *,
    config_path: Path,
    environment: str,
    first: tuple[Path, ...],
    document: Path | None,
    files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Try the rules on the cases in FILES, and compare what they grant with what is expected.

    A case about a workload has `provider`, `subject`, `claims` and `expect` with some of `rule`, `spiffe_id`, `dns` and
    `refused` (true, or a part of the reason). One about `names` has some of `account`, `label`, `workload`, `claims`,
    `profile`, `key_type`, and `expect` with `rule` or `refused`. A file is JSON, an object or a list of them, or TOML
    with a list `case`.
    """
    if not (first or files):
        raise click.UsageError("no cases: expected --claims FILE, or FILES")
    from acme_ca.cli.policy_trying import results_of

    results = results_of(config_path, environment, document, (*first, *files))
    failed = [result for result in results if result["differences"]]
    if as_json:
        print_json({"ok": not failed, "cases": results})
    else:
        for result in results:
            click.echo(f"{'FAIL' if result['differences'] else 'pass'}  {result['case']}")
            for difference in result["differences"]:
                click.echo(f"      {difference}")
        click.echo(f"{len(results) - len(failed)} of {len(results)} cases pass.")
    ctx.exit(1 if failed else 0)


@policy.command(params=list(API_PARAMETERS), **SETTINGS)
@environment_option
@click.option("--account", help="The account that asks; its label and workload are looked up.")
@click.option("--label", help="The label of the external account key that it was bound by.")
@click.option("--workload", help="The rule for workloads that its workload has.")
@click.option("--profile", help="The profile that it asks for. Default: the environment's.")
@click.option("--key-type", type=click.Choice(KEY_TYPES), help="The kind of its key.")
@click.option("--provider", help="Without NAMES: who vouches for the workload; else the file says.")
@click.option("--claims", "path", type=FILE, help="A file with one case: a workload and its claims.")
@click.argument("names", nargs=-1)
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    /,
    *,
    config_path: Path,
    environment: str,
    provider: str | None,
    path: Path | None,
    names: tuple[str, ...],
    as_json: bool,
    **given: Any,  # noqa: ANN401 - who asks, and where the API is
) -> None:
    """Tell why an account would get NAMES or not: what each rule says, which one decides, and what to do next.

    The exit code is 1 when the order would be refused. Without NAMES, show what each rule for workloads says of the
    workload in --claims, condition by condition, and what is granted in the end; the file is one for `acme-ca policy
    test`, and nothing need be expected in it.
    """
    if names:
        who = {name: given.pop(name) for name in ("account", "label", "workload", "profile", "key_type")}
        claims = {} if path is None else _claims(path)
        what = {"environment": environment, "names": names, "claims": claims, "who": who, "as_json": as_json}
        asking: Any = names_explained  # which takes the options that say where the API is, and makes the API of them
        ctx.exit(0 if asking(config_path=config_path, **given, **what) else 1)
    if path is None:
        raise click.UsageError("expected NAMES, or a workload in --claims FILE")
    from acme_ca.cli.policy_trying import explain_workload

    explain_workload(config_path, environment, provider, path, as_json=as_json)


def _claims(path: Path) -> dict[str, Any]:
    from acme_ca.cli.policy_trying import one_case

    return one_case(path).claims
