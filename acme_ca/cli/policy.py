"""`acme-ca policy`: are the rules for workloads good, and what do they say of a workload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from acme_ca.authority import workload_policy
from acme_ca.cli.options import SETTINGS, config_option, counted, json_option, load_or_refuse, print_json, refuse
from acme_ca.cli.policy_cases import Case, CaseError, read_cases, try_out
from acme_ca.config import Config, ConfigError, Environment, Location, load, locate
from acme_ca.config.mistakes import did_you_mean
from acme_ca.pki.profile import BUILTIN
from acme_ca.policy.workloads import Grant, Outcome, WorkloadPolicy

environment_option = click.option("--environment", required=True, help="The environment whose rules are asked.")
FILE = click.Path(path_type=Path, dir_okay=False)
SIGNS = {True: "yes", False: "no ", None: "?  "}


@click.group(**SETTINGS)
def policy() -> None:
    """Check the rules for workloads, and try them out."""


@policy.command(**SETTINGS)
@config_option
@json_option
@click.pass_context
def lint(ctx: click.Context, config_path: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Name every mistake in the configuration file, and warn of rules that can never decide.

    Certificate and key files need not be there. A warning leaves the exit code 0.
    """
    try:
        config = load(config_path, files=False)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "mistakes": [mistake.document() for mistake in error.mistakes], "warnings": []})
        else:
            click.echo(str(error), err=True)
        ctx.exit(1)
    warnings = locate(config_path, _warnings(config)).mistakes
    if as_json:
        print_json({"ok": True, "mistakes": [], "warnings": [warning.document() for warning in warnings]})
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    rules = sum(len(settings.workload) for settings in config.environment.values())
    click.echo(f"{config_path}: {counted(rules, 'rule')} for workloads, {counted(len(warnings), 'warning')}.")


@policy.command(**SETTINGS)
@config_option
@environment_option
@click.option("--claims", "first", type=FILE, multiple=True, help="A file with cases; repeatable.")
@click.argument("files", type=FILE, nargs=-1)
@json_option
@click.pass_context
def test(
    ctx: click.Context,
    config_path: Path,
    environment: str,
    first: tuple[Path, ...],
    files: tuple[Path, ...],
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Try the rules on the cases in FILES, and compare what they grant with what is expected.

    A case has `provider`, `subject`, `claims` and `expect` with some of `rule`, `spiffe_id`, `dns` and `refused` (true,
    or a part of the reason). A file is JSON, an object or a list of them, or TOML with a list `case`.
    """
    if not (first or files):
        raise click.UsageError("no cases: expected --claims FILE, or FILES")
    settings, rules = _policy_of(load_or_refuse(config_path, files=False), environment)
    results = [_result(case, settings, rules) for path in (*first, *files) for case in _cases(path)]
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


@policy.command(**SETTINGS)
@config_option
@environment_option
@click.option("--provider", help="Who vouches for the workload; else the file says.")
@click.option("--claims", "path", type=FILE, required=True, help="A file with one case.")
@json_option
def explain(
    config_path: Path,
    environment: str,
    provider: str | None,
    path: Path,
    as_json: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Show what each rule says of a workload, condition by condition, and what is granted in the end.

    The file is one for `acme-ca policy test`; nothing need be expected in it.
    """
    settings, rules = _policy_of(load_or_refuse(config_path, files=False), environment)
    cases = _cases(path)
    if len(cases) > 1:
        refuse(f"{path} has {len(cases)} cases; expected one")
    name = _provider(settings, provider or cases[0].provider, cases[0])
    outcomes = rules.explain(cases[0].workload(name))
    grant, refused = try_out(rules, cases[0], name)
    if as_json:
        granted = None if grant is None else grant.document()
        print_json(
            {"rules": [_document(outcome) for outcome in outcomes], "grant": granted, "refused": refused or None}
        )
        return
    for line in (*_lines(outcomes), *_conclusion(grant, refused)):
        click.echo(line)


def _policy_of(config: Config, environment: str) -> tuple[Environment, WorkloadPolicy]:
    settings = config.environment.get(environment)
    if settings is None:
        refuse(f"there is no environment {environment!r}; there are {', '.join(config.environment)}")
    return settings, workload_policy(environment, settings)


def _warnings(config: Config) -> Iterator[tuple[Location, str]]:
    profiles = {**BUILTIN, **config.profile}
    for name, settings in config.environment.items():
        for number, rule in enumerate(settings.workload):
            allowed = rule.profiles or settings.profiles
            if rule.spiffe is not None and not any(profiles[profile].may_carry_uri for profile in allowed):
                text = f"rule {rule.name!r} grants SPIFFE IDs, and no profile that it allows carries one"
                yield ("environment", name, "workload", number), f"{text}: {', '.join(allowed)}"
        position = {rule.name: number for number, rule in enumerate(settings.workload)}
        for later, earlier in workload_policy(name, settings).shadowed():
            text = f"rule {later!r} never decides: rule {earlier!r} before it matches all its workloads"
            yield ("environment", name, "workload", position[later]), text


def _cases(path: Path) -> list[Case]:
    try:
        return read_cases(path)
    except CaseError as error:
        refuse(str(error))


def _provider(settings: Environment, name: str | None, case: Case) -> str:
    known = [provider.name for provider in settings.provider]
    if name is None:
        refuse(f"{case.name} names no provider; {did_you_mean('', known)}")
    if name not in known:
        refuse(f"{case.name}: there is no provider {name!r}; {did_you_mean(name, known)}")
    return name


def _result(case: Case, settings: Environment, rules: WorkloadPolicy) -> dict[str, Any]:
    if case.expect is None:
        refuse(f"{case.name} expects nothing; `acme-ca policy explain` shows what the rules say")
    grant, refused = try_out(rules, case, _provider(settings, case.provider, case))
    granted = None if grant is None else grant.document()
    differences = list(case.expect.differences(grant, refused))
    return {"case": case.name, "differences": differences, "grant": granted, "refused": refused or None}


def _document(outcome: Outcome) -> dict[str, Any]:
    granted = None if outcome.grant is None else outcome.grant.document()
    return asdict(outcome) | {"grant": granted}


def _lines(outcomes: tuple[Outcome, ...]) -> Iterator[str]:
    for outcome in outcomes:
        yield f"rule {outcome.rule}: {outcome.result}"
        for check in outcome.checks:
            yield f"  {SIGNS[check.holds]} {check.path} is {check.seen}; expected {check.expected}"
        if outcome.reason:
            yield f"  {outcome.reason}"


def _conclusion(grant: Grant | None, refused: str) -> Iterator[str]:
    if grant is None:
        yield f"Refused: {refused}"
        return
    yield f"Granted by rule {grant.rule}, the first that is not unmatched:"
    for name, value in grant.document().items():
        if name not in {"rule", "policy_version"} and value not in (None, []):
            yield f"  {name}: {', '.join(value) if isinstance(value, list) else value}"
