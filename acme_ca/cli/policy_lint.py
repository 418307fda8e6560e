"""Mistakes in rules, and rules that can never decide: `acme-ca policy lint`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from acme_ca.authority import workload_policy
from acme_ca.cli.options import counted, refuse
from acme_ca.cli.policy_files import misplaced, read_document
from acme_ca.config import Config, Environment, Location, load, locate
from acme_ca.config.mistakes import Mistake
from acme_ca.config.policies import misfits_of
from acme_ca.pki.profile import BUILTIN
from acme_ca.policy.rules import Rule
from acme_ca.policy.shadowing import shadowed


def lint(config_path: Path) -> tuple[str, Sequence[Mistake]]:
    """Return how many rules a configuration file has, and the warnings; raises ConfigError for mistakes."""
    config = load(config_path, files=False)
    return _counts(config), locate(config_path, _warnings(config)).mistakes


def lint_for(config_path: Path, environment: str, file: Path) -> tuple[str, Sequence[Mistake]]:
    """Do the same for a policy's file, for an environment."""
    count, warnings = lint_file(file, settings_of(load(config_path, files=False), environment))
    return counted(count, "rule"), warnings


def lint_file(file: Path, settings: Environment) -> tuple[int, tuple[Mistake, ...]]:
    """Return how many rules a policy's file has, and the warnings; raises ConfigError for mistakes."""
    rules = read_document(file).rules
    if found := [(("rules", *place), text) for place, text in misfits_of(rules, settings)]:
        raise misplaced(file, found)
    return len(rules), misplaced(file, _never_deciding(rules, ("rules",))).mistakes


def settings_of(config: Config, environment: str) -> Environment:
    """Return the settings of an environment, or end with exit code 1."""
    settings = config.environment.get(environment)
    if settings is None:
        refuse(f"there is no environment {environment!r}; there are {', '.join(config.environment)}")
    return settings


def _counts(config: Config) -> str:
    rules = sum(len(settings.policy) for settings in config.environment.values())
    for_workloads = sum(len(settings.workload) for settings in config.environment.values())
    return f"{counted(rules, 'rule')}, {counted(for_workloads, 'rule')} for workloads"


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
