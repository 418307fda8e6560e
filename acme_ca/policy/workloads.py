"""The policy for workloads of one environment: which names a proven workload may have.

Of the rules for a workload's provider the first whose conditions all hold decides; no rule means no. When a claim does
not fit where that rule wants to put it, the rule refuses the workload: no later rule is asked.
docs/workload-identity-00.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from acme_ca.identifiers import Identifier, parse_spiffe_id
from acme_ca.policy.claims import FIXED, ClaimNotKeptError, Facts, needed, shown, subset
from acme_ca.policy.grants import Grant as Grant
from acme_ca.policy.matching import Condition
from acme_ca.policy.rules import dump, version_of
from acme_ca.policy.templates import DnsTemplate, SpiffeTemplate, UnfitError
from acme_ca.policy.workload_rules import SpiffeRule as SpiffeRule
from acme_ca.policy.workload_rules import WorkloadRule as WorkloadRule
from acme_ca.problems import Problem
from acme_ca.workload.base import Workload, refusal

Place = tuple[str | int, ...]
"""The way to a setting from the list of rules: positions and names."""

_MAX_RULES_SHOWN = 10
_NOT_KEPT = "not kept: the workload was recorded under an earlier policy; prove it again"


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one condition; `holds` is None when the claim was not kept in the record of the workload."""

    path: str
    expected: str
    seen: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule says of a workload: a grant, nothing (`unmatched`), or a refusal with its reason."""

    rule: str
    result: Literal["granted", "unmatched", "refused"]
    checks: tuple[Check, ...]
    reason: str | None = None
    grant: Grant | None = None


class WorkloadPolicy:
    """The rules for workloads of an environment, ready for use.

    `version` identifies the rules: 16 hexadecimal digits of SHA-256, equal for equal rules. Raises ValueError with
    everything that `misfits` finds.
    """

    def __init__(
        self,
        environment: str,
        *,
        trust_domain: str | None,
        zones: Sequence[str],
        rules: Sequence[WorkloadRule],
        providers: Iterable[str],
        profiles: Iterable[str],
    ) -> None:
        found = misfits(rules, trust_domain=trust_domain, zones=zones, providers=providers, profiles=profiles)
        if texts := [f"rule {rules[int(number)].name}: {text}" for (number, *_), text in found]:
            raise ValueError(f"workload rules of environment {environment}: {'; '.join(texts)}")
        self.environment = environment
        self.trust_domain = trust_domain
        self._zones = tuple(zones)
        self.rules = tuple(rules)
        self.version = version_of(self.rules)
        self._ready: dict[str, list[_Ready]] = {}
        for rule in self.rules:
            self._ready.setdefault(rule.provider, []).append(_Ready(rule))

    def provable(self, identifier: Identifier) -> bool:
        """Tell whether a workload could prove the identifier at all: its own ID, or a name in the zones."""
        if identifier.type == "uri":
            return parse_spiffe_id(identifier.value).trust_domain == self.trust_domain and bool(self.rules)
        if identifier.type != "dns" or identifier.wildcard or not self.rules:
            return False
        return any(identifier.value == zone or identifier.value.endswith(f".{zone}") for zone in self._zones)

    def grant(self, workload: Workload, *, kept: bool = False) -> Grant:
        """Return what the workload may have; raises the problem no_policy.

        With `kept`, the workload is made from a record and its claims are what `subset` returned then. A rule that
        needs to know a claim which was not kept refuses the workload: it has to be proved again.
        """
        facts = Facts(workload, kept=kept)
        failed: list[str] = []
        for ready in self._ready.get(workload.provider, ()):
            missed = next((check for check in ready.checks(facts) if not check.holds), None)
            if missed is None:
                return self._granted(ready, facts, workload)
            if missed.holds is None:
                raise self._refused(ready.rule, workload, f"{missed.path} is {missed.seen}")
            failed.append(f"rule {ready.rule.name}: {missed.path} is {missed.seen}")
        more = "; ..." if len(failed) > _MAX_RULES_SHOWN else ""
        raise refusal(
            "no_policy",
            f"no rule of environment {self.environment} is for {_named(workload)}: "
            f"{'; '.join(failed[:_MAX_RULES_SHOWN]) or 'there is none for this provider'}{more}",
        )

    def explain(self, workload: Workload) -> tuple[Outcome, ...]:
        """Return what each rule for the workload's provider says of it, in order: the first not unmatched decides."""
        facts = Facts(workload)
        return tuple(self._outcome(ready, facts, workload) for ready in self._ready.get(workload.provider, ()))

    def claims_of_interest(self, provider: str) -> frozenset[str]:
        """Return the paths of all claims that rules for the provider look at."""
        return needed(path for ready in self._ready.get(provider, ()) for path in ready.paths)

    def subset(self, workload: Workload, others: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the claims of interest, nested again and fit to be stored as JSON: null where there was none.

        `others` are the paths of claims to be kept besides; `sub`, `issuer` and `instance` are the workload's own.
        """
        found = subset(workload.claims, self.claims_of_interest(workload.provider) | needed(others))
        facts = Facts(workload)
        return found | {path: facts.value(path) for path in others & FIXED}

    def document(self) -> dict[str, Any]:
        """Render as a JSON object, to be stored with its version."""
        return {"environment": self.environment, "trust_domain": self.trust_domain, "rules": dump(self.rules)}

    def shadowed(self) -> Iterator[tuple[str, str]]:
        """Yield each rule that can never decide, with an earlier one that matches all its workloads."""
        for rules in self._ready.values():
            for number, later in enumerate(rules):
                by = (earlier.rule for earlier in rules[:number] if _is_broader(earlier.rule, later.rule))
                if (earlier := next(by, None)) is not None:
                    yield later.rule.name, earlier.name

    def _granted(self, ready: _Ready, facts: Facts, workload: Workload) -> Grant:
        try:
            return ready.grant(facts, self.version)
        except UnfitError as error:
            raise self._refused(ready.rule, workload, str(error)) from error
        except ClaimNotKeptError as error:
            raise self._refused(ready.rule, workload, f"{error} is {_NOT_KEPT}") from error

    def _outcome(self, ready: _Ready, facts: Facts, workload: Workload) -> Outcome:
        name, checks = ready.rule.name, tuple(ready.checks(facts))
        if not all(check.holds for check in checks):
            return Outcome(name, "unmatched", checks)
        try:
            return Outcome(name, "granted", checks, grant=self._granted(ready, facts, workload))
        except Problem as problem:
            return Outcome(name, "refused", checks, reason=problem.detail)

    def _refused(self, rule: WorkloadRule, workload: Workload, reason: str) -> Problem:
        return refusal(
            "no_policy", f"rule {rule.name} of environment {self.environment} refuses {_named(workload)}: {reason}"
        )


class _Ready:
    """A rule with its templates taken apart."""

    __slots__ = ("_allow", "_dns", "_spiffe", "paths", "rule")

    def __init__(self, rule: WorkloadRule) -> None:
        self.rule = rule
        self._dns = tuple(map(DnsTemplate, rule.dns))
        self._spiffe = SpiffeTemplate(rule.spiffe.id) if rule.spiffe and rule.spiffe.id else None
        self._allow = tuple(SpiffeTemplate(text, pattern=True) for text in (rule.spiffe and rule.spiffe.allow) or ())
        templates = (*self._dns, *self._allow, *((self._spiffe,) if self._spiffe else ()))
        self.paths = frozenset(rule.match).union(*(template.paths for template in templates))

    def checks(self, facts: Facts) -> Iterator[Check]:
        """Yield what becomes of each condition, in the order of the rule."""
        for path, condition in self.rule.match.items():
            yield _check(path, condition, facts)

    def grant(self, facts: Facts, version: str) -> Grant:
        """Fill the templates; raises UnfitError or ClaimNotKeptError."""
        rule = self.rule
        return Grant(
            rule=rule.name,
            policy_version=version,
            spiffe_id=None if self._spiffe is None else self._spiffe.fill(facts.value),
            add="never" if rule.spiffe is None else rule.spiffe.add,
            spiffe_allow=tuple(template.fill(facts.value) for template in self._allow),
            dns=tuple(template.fill(facts.value) for template in self._dns),
            profiles=rule.profiles,
            lifetime=rule.lifetime,
            binding_ttl=rule.binding_ttl,
            liveness=rule.liveness,
        )


def misfits(
    rules: Sequence[WorkloadRule],
    *,
    trust_domain: str | None,
    zones: Sequence[str],
    providers: Iterable[str],
    profiles: Iterable[str],
) -> Iterator[tuple[Place, str]]:
    """Yield what rules grant or name that their environment does not have, each with its place in the list."""
    offered: Mapping[str, frozenset[str]] = {"provider": frozenset(providers), "profiles": frozenset(profiles)}
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.name in seen:
            yield (number, "name"), f"there are two workload rules named {rule.name!r}"
        seen.add(rule.name)
        if rule.provider not in offered["provider"]:
            yield (number, "provider"), f"there is no provider {rule.provider!r}; {_list(offered['provider'])}"
        for position, profile in enumerate(rule.profiles or ()):
            if profile not in offered["profiles"]:
                yield (
                    (number, "profiles", position),
                    f"profile {profile!r} is not offered; {_list(offered['profiles'])}",
                )
        for place, text in (*_outside_zones(rule, zones), *_outside_trust_domain(rule, trust_domain)):
            yield (number, *place), text


def _outside_zones(rule: WorkloadRule, zones: Sequence[str]) -> Iterator[tuple[Place, str]]:
    for position, text in enumerate(rule.dns):
        template = DnsTemplate(text)
        if not any(template.is_within(zone) for zone in zones):
            reason = f"{text!r} can give names outside the zones of this environment ({', '.join(zones)})"
            yield ("dns", position), f"{reason}; its last labels have to be those of a zone, written out"


def _outside_trust_domain(rule: WorkloadRule, trust_domain: str | None) -> Iterator[tuple[Place, str]]:
    if rule.spiffe is None:
        return
    if trust_domain is None:
        yield ("spiffe",), "the environment has no trust_domain, so that no rule can grant SPIFFE IDs"
        return
    templates: list[tuple[Place, str]] = [
        (("allow", position), text) for position, text in enumerate(rule.spiffe.allow or ())
    ]
    if rule.spiffe.id is not None:
        templates.append((("id",), rule.spiffe.id))
    for place, text in templates:
        if SpiffeTemplate(text, pattern=True).trust_domain != trust_domain:
            yield ("spiffe", *place), f"{text!r} is outside the environment's trust domain {trust_domain}"


def _check(path: str, condition: Condition, facts: Facts) -> Check:
    try:
        value = facts.value(path)
    except ClaimNotKeptError:
        return Check(path, str(condition), _NOT_KEPT, None)
    return Check(path, str(condition), shown(value), condition.holds(value))


def _is_broader(earlier: WorkloadRule, later: WorkloadRule) -> bool:
    return all(
        path in later.match and later.match[path].implies(condition) for path, condition in earlier.match.items()
    )


def _named(workload: Workload) -> str:
    return f"workload {shown(workload.subject)} of provider {workload.provider}"


def _list(known: Iterable[str]) -> str:
    return f"there are: {', '.join(sorted(known)) or 'none'}"
