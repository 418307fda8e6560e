"""Rules tried on cases in this process: `acme-ca policy test`, and `policy explain` for a workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from acme_ca.authority import terms_of, workload_policy
from acme_ca.cli.opening import load_or_refuse
from acme_ca.cli.options import print_json, refuse
from acme_ca.cli.policy_cases import Case, CaseError, read_any, read_cases, try_out
from acme_ca.cli.policy_files import read_document
from acme_ca.cli.policy_lint import lint_file, settings_of
from acme_ca.cli.policy_name_cases import NameCase
from acme_ca.config import Config, ConfigError, Environment
from acme_ca.config.mistakes import did_you_mean
from acme_ca.pki.profile import BUILTIN
from acme_ca.policies_in_force import policy_of
from acme_ca.policy.document import Document
from acme_ca.policy.engine import Policy
from acme_ca.policy.petitions import Terms
from acme_ca.policy.workloads import Grant, Outcome, WorkloadPolicy

SIGNS = {True: "yes", False: "no ", None: "?  "}


def results_of(
    config_path: Path, environment: str, document: Path | None, files: Sequence[Path]
) -> list[dict[str, Any]]:
    """Return what came of each case in the files: `differences` is empty where all is as expected.

    Ends with exit code 1 when the configuration, the policy in `document` or a case cannot be used.
    """
    config = load_or_refuse(config_path, files=False)
    settings, rules = _rules_of(config, environment)
    terms = terms_of(settings, {**BUILTIN, **config.profile}, rules)
    try:
        own = policy_of(environment, settings, _document_of(document, settings))
        cases = [case for path in files for case in read_any(path)]
    except (ConfigError, CaseError) as error:
        refuse(str(error))
    return [
        _name_result(case, own, terms) if isinstance(case, NameCase) else _result(case, settings, rules)
        for case in cases
    ]


def explain_workload(config_path: Path, environment: str, provider: str | None, path: Path, *, as_json: bool) -> None:
    """Print what each rule says of the workload in a file with one case, and what is granted in the end."""
    settings, rules = _rules_of(load_or_refuse(config_path, files=False), environment)
    case = one_case(path)
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


def one_case(path: Path) -> Case:
    """Return the only case of a file, or end with exit code 1."""
    cases = _cases(path)
    if len(cases) > 1:
        refuse(f"{path} has {len(cases)} cases; expected one")
    return cases[0]


def _rules_of(config: Config, environment: str) -> tuple[Environment, WorkloadPolicy]:
    settings = settings_of(config, environment)
    return settings, workload_policy(environment, settings)


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
    lint_file(path, settings)
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
