"""`acme-ca policy`: are the rules good, what do they say of whom, and which are in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from acme_ca.authority import terms_of, workload_policy
from acme_ca.cli import policy_versions
from acme_ca.cli.options import SETTINGS, config_option, counted, json_option, load_or_refuse, print_json, refuse
from acme_ca.cli.policy_cases import Case, CaseError, read_any, read_cases, try_out
from acme_ca.cli.policy_explain import API_PARAMETERS, names_explained
from acme_ca.cli.policy_files import misplaced, read_document
from acme_ca.cli.policy_name_cases import NameCase
from acme_ca.config import Config, ConfigError, Environment, Location, load, locate
from acme_ca.config.mistakes import Mistake, did_you_mean
from acme_ca.config.policies import misfits_of
from acme_ca.pki.profile import BUILTIN
from acme_ca.policies_in_force import policy_of
from acme_ca.policy.document import Document
from acme_ca.policy.engine import Policy
from acme_ca.policy.petitions import Terms
from acme_ca.policy.rules import Rule
from acme_ca.policy.shadowing import shadowed
from acme_ca.policy.workloads import Grant, Outcome, WorkloadPolicy
from acme_ca.vocabulary import KEY_TYPES

environment_option = click.option("--environment", required=True, help="The environment whose rules are asked.")
FILE = click.Path(path_type=Path, dir_okay=False)
SIGNS = {True: "yes", False: "no ", None: "?  "}


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
    try:
        config = load(config_path, files=False)
        if file is not None and environment is not None:
            count, warnings = _lint_file(file, _settings(config, environment))
            counts = counted(count, "rule")
        else:
            warnings = locate(config_path, _warnings(config)).mistakes
            counts = _counts(config)
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
    config = load_or_refuse(config_path, files=False)
    settings, rules = _policy_of(config, environment)
    terms = terms_of(settings, {**BUILTIN, **config.profile}, rules)
    try:
        own = policy_of(environment, settings, _document_of(document, settings))
        cases = [case for path in (*first, *files) for case in read_any(path)]
    except (ConfigError, CaseError) as error:
        refuse(str(error))
    results = [
        _name_result(case, own, terms) if isinstance(case, NameCase) else _result(case, settings, rules)
        for case in cases
    ]
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
        claims = {} if path is None else _one_case(path).claims
        what = {"environment": environment, "names": names, "claims": claims, "who": who, "as_json": as_json}
        asking: Any = names_explained  # which takes the options that say where the API is, and makes the API of them
        ctx.exit(0 if asking(config_path=config_path, **given, **what) else 1)
    if path is None:
        raise click.UsageError("expected NAMES, or a workload in --claims FILE")
    _explain_workload(config_path, environment, provider, path, as_json=as_json)


def _explain_workload(config_path: Path, environment: str, provider: str | None, path: Path, *, as_json: bool) -> None:
    settings, rules = _policy_of(load_or_refuse(config_path, files=False), environment)
    case = _one_case(path)
    name = _provider(settings, provider or case.provider, case)
    outcomes = rules.explain(case.workload(name))
    grant, refused = try_out(rules, case, name)
    if as_json:
        granted = None if grant is None else grant.document()
        print_json(
            {"rules": [_document(outcome) for outcome in outcomes], "grant": granted, "refused": refused or None}
        )
        return
    for line in (*_lines(outcomes), *_conclusion(grant, refused)):
        click.echo(line)


def _one_case(path: Path) -> Case:
    cases = _cases(path)
    if len(cases) > 1:
        refuse(f"{path} has {len(cases)} cases; expected one")
    return cases[0]


def _settings(config: Config, environment: str) -> Environment:
    settings = config.environment.get(environment)
    if settings is None:
        refuse(f"there is no environment {environment!r}; there are {', '.join(config.environment)}")
    return settings


def _policy_of(config: Config, environment: str) -> tuple[Environment, WorkloadPolicy]:
    settings = _settings(config, environment)
    return settings, workload_policy(environment, settings)


def _counts(config: Config) -> str:
    rules = sum(len(settings.policy) for settings in config.environment.values())
    for_workloads = sum(len(settings.workload) for settings in config.environment.values())
    return f"{counted(rules, 'rule')}, {counted(for_workloads, 'rule')} for workloads"


def _lint_file(file: Path, settings: Environment) -> tuple[int, tuple[Mistake, ...]]:
    """Return how many rules a policy's file has, and the warnings; raises ConfigError for mistakes."""
    rules = read_document(file).rules
    if found := [(("rules", *place), text) for place, text in misfits_of(rules, settings)]:
        raise misplaced(file, found)
    return len(rules), misplaced(file, _never_deciding(rules, ("rules",))).mistakes


def _warnings(config: Config) -> Iterator[tuple[Location, str]]:
    profiles = {**BUILTIN, **config.profile}
    for name, settings in config.environment.items():
        for number, rule in enumerate(settings.workload):
            allowed = rule.profiles or settings.profiles
            if rule.spiffe is not None and not any(profiles[profile].may_carry_uri for profile in allowed):
                text = f"rule {rule.name!r} grants SPIFFE IDs, and no profile that it allows carries one"
                yield ("environment", name, "workload", number), f"{text}: {', '.join(allowed)}"
        yield from _never_deciding(settings.policy, ("environment", name, "policy"))
        position = {rule.name: number for number, rule in enumerate(settings.workload)}
        for later, earlier in workload_policy(name, settings).shadowed():
            text = f"rule {later!r} never decides: rule {earlier!r} before it matches all its workloads"
            yield ("environment", name, "workload", position[later]), text


def _never_deciding(rules: Sequence[Rule], where: Location) -> Iterator[tuple[Location, str]]:
    position = {rule.name: number for number, rule in enumerate(rules)}
    for later, earlier in shadowed(rules):
        text = (
            f"rule {later!r} never decides: rule {earlier!r} before it speaks about all its names for all its accounts"
        )
        yield (*where, position[later]), text


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


def _document_of(path: Path | None, settings: Environment) -> Document:
    if path is None:
        return Document(rules=settings.policy)
    _lint_file(path, settings)
    return read_document(path)


def _name_result(case: NameCase, own: Policy, terms: Terms) -> dict[str, Any]:
    return {"case": case.name, "differences": list(case.differences(own, terms))}


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
