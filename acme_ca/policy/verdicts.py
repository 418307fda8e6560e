"""What another policy would have said: orders judged by two policies, name by name and as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from acme_ca.identifiers import Identifier
from acme_ca.policy.conditions import Applicant
from acme_ca.policy.engine import Policy
from acme_ca.problems import Problem

Outcome = Literal["deny", "allow", "shorten"]
"""What another policy would do that the first does not: refuse, allow, or give a shorter life."""


@dataclass(frozen=True, slots=True)
class Petition:
    """What an order asks for. `covered` are the names that a workload's own rule grants; `lifetime` is in seconds."""

    applicant: Applicant
    names: tuple[Identifier, ...]
    covered: frozenset[Identifier] = frozenset()
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a policy says of one name, by which rule (None: by none) and why."""

    allowed: bool
    rule: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of an order. `whole` is why it refuses what is good name by name; seconds bound its life."""

    names: Mapping[Identifier, Opinion]
    rules: tuple[str, ...]
    whole: str | None
    max_lifetime: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What another policy would do to a name, or to the order as a whole where `name` is empty."""

    outcome: Outcome
    name: str
    rule: str | None
    reason: str


def judge(policy: Policy, petition: Petition) -> Verdict:
    """Return what a policy says of an order."""
    opinions: dict[Identifier, Opinion] = {}
    for name in petition.names:
        ruling = policy.ruling(petition.applicant, name, petition.names)
        rule = None if ruling.rule is None else ruling.rule.name
        if name in petition.covered and not ruling.is_denied:
            opinions[name] = Opinion(allowed=True, rule=petition.applicant.workload_rule, reason="granted to workloads")
        else:
            opinions[name] = Opinion(allowed=ruling.is_allowed, rule=rule, reason=ruling.reason)
    if not all(opinion.allowed for opinion in opinions.values()):
        return Verdict(opinions, (), None, None)
    return _as_a_whole(policy, petition, opinions)


def differences(present: Policy, other: Policy, petition: Petition) -> tuple[Difference, ...]:
    """Return what the other policy would do differently to an order."""
    return compare(judge(present, petition), judge(other, petition), petition.lifetime)


def compare(before: Verdict, after: Verdict, lifetime: int | None) -> tuple[Difference, ...]:
    """Return what is different in the second of two verdicts on one order."""
    found = [
        Difference("allow" if opinion.allowed else "deny", str(name), opinion.rule, opinion.reason)
        for name, opinion in after.names.items()
        if opinion.allowed != before.names[name].allowed
    ]
    if not found and (before.whole is None) != (after.whole is None):
        rule = ", ".join(after.rules) or None
        found.append(Difference("allow" if after.whole is None else "deny", "", rule, after.whole or "allowed"))
    if not found and _is_shorter(before, after, lifetime):
        reason = f"it would live {after.max_lifetime} seconds at most"
        found.append(Difference("shorten", "", ", ".join(after.rules) or None, reason))
    return tuple(found)


def _as_a_whole(policy: Policy, petition: Petition, opinions: Mapping[Identifier, Opinion]) -> Verdict:
    others: Sequence[Identifier] = [name for name in petition.names if name not in petition.covered]
    rules = tuple(dict.fromkeys(opinions[name].rule or "" for name in others))
    if not others:
        return Verdict(opinions, rules, None, None)
    try:
        decision = policy.decide(petition.applicant, others, order=petition.names)
        policy.check_profile(decision, petition.applicant.profile)
        if petition.applicant.key_type:
            policy.check_key(decision, petition.applicant.key_type)
    except Problem as problem:
        return Verdict(opinions, rules, problem.detail, None)
    return Verdict(opinions, rules, None, decision.max_lifetime)


def _is_shorter(before: Verdict, after: Verdict, lifetime: int | None) -> bool:
    if after.max_lifetime is None or lifetime is None or lifetime <= after.max_lifetime:
        return False
    return before.max_lifetime is None or after.max_lifetime < before.max_lifetime
