"""What another policy would have said: orders judged by two policies, name by name and as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from acme_ca.identifiers import Identifier
from acme_ca.policy.engine import Policy
from acme_ca.policy.petitions import Petition, Terms, entitle
from acme_ca.problems import Problem

Outcome = Literal["deny", "allow", "shorten"]
"""What another policy would do that the first does not: refuse, allow, or give a shorter life."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a policy says of one name, by which rule (None: by none) and why; `for_workloads`: to a workload alone."""

    allowed: bool
    rule: str | None
    reason: str
    for_workloads: bool = False

    @property
    def width(self) -> int:
        """How much it allows, to be compared."""
        return 0 if not self.allowed else 1 if self.for_workloads else 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of an order. `whole` is why it refuses what is good name by name.

    `lifetime` is how many seconds a certificate would live at most; None where there would be none.
    """

    names: Mapping[Identifier, Opinion]
    rules: tuple[str, ...] = ()
    whole: str | None = None
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What another policy would do to a name, or to the order as a whole where `name` is empty."""

    outcome: Outcome
    name: str
    rule: str | None
    reason: str


def judge(policy: Policy, terms: Terms, petition: Petition) -> Verdict:
    """Return what a policy says of an order: the same as newOrder and finalize would."""
    opinions = {name: _opinion(policy, terms, petition, name) for name in petition.names}
    if not all(opinion.allowed for opinion in opinions.values()):
        return Verdict(opinions)
    try:
        found = entitle(policy, terms, petition)
        if petition.applicant.key_type:
            policy.check_key(found.decision, petition.applicant.key_type)
    except Problem as problem:
        rules = tuple(dict.fromkeys(opinion.rule for opinion in opinions.values() if opinion.rule is not None))
        return Verdict(opinions, rules, problem.detail)
    lifetime = terms.lifetimes[found.profile]
    return Verdict(opinions, found.decision.rules, lifetime=min(lifetime, found.decision.max_lifetime or lifetime))


def differences(present: Policy, other: Policy, terms: Terms, petition: Petition) -> tuple[Difference, ...]:
    """Return what the other policy would do differently to an order."""
    return compare(judge(present, terms, petition), judge(other, terms, petition), petition.lifetime)


def compare(before: Verdict, after: Verdict, lifetime: int | None = None) -> tuple[Difference, ...]:
    """Return what is different in the second of two verdicts on one order; `lifetime`: what it asks for, or had."""
    found: list[Difference] = []
    for name, opinion in after.names.items():
        if opinion.width != (width := before.names[name].width):
            outcome: Outcome = "allow" if opinion.width > width else "deny"
            found.append(Difference(outcome, str(name), opinion.rule, opinion.reason))
    rule = ", ".join(after.rules) or None
    if not found and (before.whole is None) != (after.whole is None):
        found.append(Difference("allow" if after.whole is None else "deny", "", rule, after.whole or "allowed"))
    if not found and _is_shorter(before, after, lifetime):
        found.append(Difference("shorten", "", rule, f"it would live {after.lifetime} seconds at most"))
    return tuple(found)


def _opinion(policy: Policy, terms: Terms, petition: Petition, name: Identifier) -> Opinion:
    ruling = policy.ruling(petition.applicant, name, petition.names)
    rule = None if ruling.rule is None else ruling.rule.name
    if name in petition.covered and not ruling.is_denied:
        by = petition.applicant.workload_rule if petition.grant is None else petition.grant.rule
        return Opinion(allowed=True, rule=by, reason="granted to workloads", for_workloads=True)
    may_prove = petition.may_prove and not petition.covered and terms.provable is not None and terms.provable(name)
    if may_prove and not ruling.is_denied and not ruling.is_allowed:
        reason = f"only a workload may prove it: {ruling.reason}"
        return Opinion(allowed=True, rule=rule, reason=reason, for_workloads=True)
    return Opinion(allowed=ruling.is_allowed, rule=rule, reason=ruling.reason)


def _is_shorter(before: Verdict, after: Verdict, lifetime: int | None) -> bool:
    if before.lifetime is None or after.lifetime is None:
        return False
    return after.lifetime < (before.lifetime if lifetime is None else min(before.lifetime, lifetime))
