"""The policy of one environment: what an account may have for the names of an order. RFC 8555 §7.4, §10.2.

For each identifier, the first rule that selects the account and speaks about the name decides; no rule means no. An
order is allowed when each of its identifiers is, under the bounds of all the rules that decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from acme_ca.identifiers import Identifier, combine
from acme_ca.policy.grants import Grant
from acme_ca.policy.patterns import NamePatterns
from acme_ca.policy.rules import Rule as Rule
from acme_ca.policy.rules import default_rules as default_rules
from acme_ca.policy.rules import dump, version_of
from acme_ca.problems import BadCsr, InvalidProfile, RejectedIdentifier
from acme_ca.public_keys import KEY_TYPES
from acme_ca.workload.base import WORKLOAD_CHALLENGE

# RFC 8555 §8.3, RFC 8737 §3: only the DNS can prove a wildcard; RFC 8738 §4, §7: DNS cannot prove an address.
WILDCARD_CHALLENGES = frozenset({"dns-01", "dns-account-01", "dns-persist-01"})
IP_CHALLENGES = frozenset({"http-01", "tls-alpn-01"})
Provable = Callable[[Identifier], bool]
_MAX_SHOWN = 10  # patterns in the detail of a refusal


@dataclass(frozen=True, slots=True)
class Applicant:
    """The account that asks; `eab_label` is the label of the external account key it was bound by."""

    account_id: str
    eab_label: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What an order may have. `rules` names those that decided; `max_lifetime` is in seconds."""

    rules: tuple[str, ...]
    challenges: Mapping[Identifier, tuple[str, ...]]
    profiles: frozenset[str]
    key_types: frozenset[str]
    max_lifetime: int | None

    def together_with(self, other: Decision) -> Decision:
        """Return the bounds of both; raises RejectedIdentifier when no profile is left."""
        profiles, key_types = self.profiles & other.profiles, self.key_types & other.key_types
        if not profiles or not key_types:
            raise RejectedIdentifier(
                f"no profile is left by {', '.join((*self.rules, *other.rules))} together; order their names apart"
            )
        lifetimes = [bound.max_lifetime for bound in (self, other) if bound.max_lifetime is not None]
        return Decision(
            rules=self.rules + other.rules,
            challenges={**self.challenges, **other.challenges},
            profiles=profiles,
            key_types=key_types,
            max_lifetime=min(lifetimes, default=None),
        )


class Policy:
    """The rules of an environment, with the challenge types and profiles that it offers.

    `version` identifies the rules: 16 hexadecimal digits of SHA-256, equal for equal rules.
    """

    def __init__(
        self, environment: str, rules: Sequence[Rule], challenges: Sequence[str], profiles: Iterable[str]
    ) -> None:
        names = [rule.name for rule in rules]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"environment {environment} has two policy rules named {twice[0]}")
        self.environment = environment
        self.rules = tuple(rules)
        self.version = version_of(self.rules)
        self._matchers = tuple(_Matcher(rule) for rule in self.rules)
        self._challenges = tuple(challenges)
        self._profiles = frozenset(profiles)

    def document(self) -> dict[str, Any]:
        """Render as a JSON object, to be stored with its version."""
        return {"environment": self.environment, "rules": dump(self.rules)}

    def decide(
        self, applicant: Applicant, identifiers: Sequence[Identifier], provable: Provable | None = None
    ) -> Decision:
        """Return what the applicant may have for these identifiers.

        `provable` tells which of them a workload may prove instead, whatever the rules say; what it gets then is
        decided with its proof. Raises RejectedIdentifier, with a subproblem for each identifier when several are
        refused (§6.7.1).
        """
        matchers = [matcher for matcher in self._matchers if matcher.selects(applicant)]
        deciding: dict[str, Rule] = {}
        challenges: dict[Identifier, tuple[str, ...]] = {}
        refused: list[RejectedIdentifier] = []
        for identifier in identifiers:
            by_workload = (WORKLOAD_CHALLENGE,) if provable is not None and provable(identifier) else ()
            try:
                rule = self._first(matchers, identifier)
                challenges[identifier] = self._suitable_challenges(rule, identifier) + by_workload
                deciding[rule.name] = rule
            except RejectedIdentifier as problem:
                if by_workload:
                    challenges[identifier] = by_workload
                else:
                    refused.append(RejectedIdentifier(problem.detail, identifier=identifier.wire()))
        if refused:
            raise combine(tuple(refused))
        return self._combined(tuple(deciding.values()), challenges)

    def decide_for_workload(self, grant: Grant, identifiers: Sequence[Identifier]) -> Decision:
        """Return what a proved workload may have for identifiers that its grant covers; raises RejectedIdentifier."""
        profiles = self._profiles if grant.profiles is None else self._profiles.intersection(grant.profiles)
        if not profiles:
            raise RejectedIdentifier(f"workload rule {grant.rule} leaves no profile that is offered here")
        return Decision(
            rules=(f"workload rule {grant.rule}",),
            challenges=dict.fromkeys(identifiers, (WORKLOAD_CHALLENGE,)),
            profiles=profiles,
            key_types=frozenset(KEY_TYPES),
            max_lifetime=grant.lifetime,
        )

    def check_profile(self, decision: Decision, profile: str) -> None:
        """Raise InvalidProfile unless the decision allows the profile. draft-ietf-acme-profiles §4."""
        if profile in decision.profiles:
            return
        shown = ascii(profile[:80])
        allowed = ", ".join(sorted(decision.profiles))
        if profile not in self._profiles:
            raise InvalidProfile(f"profile {shown} is not offered here; for these names there are: {allowed}")
        raise InvalidProfile(
            f"profile {shown} is not allowed for these names by {_by(decision.rules)}; allowed: {allowed}"
        )

    def check_key(self, decision: Decision, key_type: str) -> None:
        """Raise BadCsr unless the decision allows certificate keys of this kind."""
        if key_type not in decision.key_types:
            allowed = ", ".join(kind for kind in KEY_TYPES if kind in decision.key_types)
            raise BadCsr(
                f"{key_type} keys are not allowed for these names by {_by(decision.rules)}; allowed: {allowed}"
            )

    def _first(self, matchers: Sequence[_Matcher], identifier: Identifier) -> Rule:
        """Return the rule that allows the identifier, or raise what refuses it."""
        if identifier.type == "uri":
            raise RejectedIdentifier(
                f"{identifier} is no identity that a workload of environment {self.environment} can prove here"
            )
        for matcher in matchers:
            if matcher.denies(identifier):
                raise RejectedIdentifier(
                    f"rule {matcher.rule.name} of environment {self.environment} denies {identifier}"
                )
            if matcher.allows(identifier):
                return matcher.rule
        for matcher in matchers:
            if identifier.wildcard and matcher.names.cover(identifier.value):
                raise RejectedIdentifier(
                    f"rule {matcher.rule.name} of environment {self.environment} allows the names of {identifier}, "
                    "but no wildcards; order the names one by one"
                )
        raise RejectedIdentifier(
            f"no rule of environment {self.environment} allows {identifier} for this account; "
            f"{_allowed([matcher.rule for matcher in matchers], identifier)}"
        )

    def _suitable_challenges(self, rule: Rule, identifier: Identifier) -> tuple[str, ...]:
        granted = self._challenges
        if rule.challenges is not None:
            granted = tuple(challenge for challenge in granted if challenge in rule.challenges)
        suitable = granted
        if identifier.type == "ip":
            suitable = tuple(challenge for challenge in granted if challenge in IP_CHALLENGES)
        elif identifier.wildcard:
            suitable = tuple(challenge for challenge in granted if challenge in WILDCARD_CHALLENGES)
        if not suitable:
            raise RejectedIdentifier(
                f"no challenge type that rule {rule.name} of environment {self.environment} allows "
                f"({', '.join(granted) or 'none'}) can prove control of {identifier}"
            )
        return suitable

    def _combined(self, rules: tuple[Rule, ...], challenges: dict[Identifier, tuple[str, ...]]) -> Decision:
        """Return the bounds of all deciding rules together; raises RejectedIdentifier when nothing is left."""
        names = tuple(rule.name for rule in rules)
        for rule in rules:
            if rule.max_names is not None and len(challenges) > rule.max_names:
                raise RejectedIdentifier(
                    f"the order has {len(challenges)} identifiers; {_by((rule.name,))} allows {rule.max_names}"
                )
        profiles = self._profiles.intersection(*(rule.profiles for rule in rules if rule.profiles is not None))
        key_types = frozenset[str](KEY_TYPES).intersection(
            *(rule.key_types for rule in rules if rule.key_types is not None)
        )
        for left, what in ((profiles, "profile"), (key_types, "key type")):
            if not left:
                raise RejectedIdentifier(f"no {what} is left by {_by(names)} together; order their names apart")
        lifetimes = [rule.max_lifetime for rule in rules if rule.max_lifetime is not None]
        return Decision(names, challenges, profiles, key_types, min(lifetimes, default=None))


class _Matcher:
    """A rule, made ready for fast answers."""

    __slots__ = ("_accounts", "_denied_names", "_eab", "names", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.names = NamePatterns(rule.dns)
        self._denied_names = NamePatterns(rule.dns if rule.deny else rule.deny_dns)
        self._eab = frozenset(rule.eab)
        self._accounts = frozenset(rule.accounts)

    def selects(self, applicant: Applicant) -> bool:
        """Whether the rule is for this account."""
        return (not self._eab or applicant.eab_label in self._eab) and (
            not self._accounts or applicant.account_id in self._accounts
        )

    def denies(self, identifier: Identifier) -> bool:
        """Whether the rule refuses the identifier, a wildcard for any name that it stands for."""
        rule = self.rule
        if rule.deny and not rule.dns and not rule.ip:
            return True
        if identifier.type == "ip":
            denied = rule.ip if rule.deny else rule.deny_ip
            return any(ip_address(identifier.value) in network for network in denied)
        return self._denied_names.touch(identifier.value)

    def allows(self, identifier: Identifier) -> bool:
        """Whether the rule grants the identifier, a wildcard for all the names that it stands for."""
        rule = self.rule
        if rule.deny or (identifier.wildcard and not rule.wildcards):
            return False
        if identifier.type == "ip":
            return any(ip_address(identifier.value) in network for network in rule.ip)
        return self.names.cover(identifier.value)


def _by(rules: Sequence[str]) -> str:
    return f"policy rule {rules[0]}" if len(rules) == 1 else f"policy rules {', '.join(rules)}"


def _allowed(rules: Sequence[Rule], identifier: Identifier) -> str:
    """Say which names the rules that are for an account allow, or which addresses if it asks for one."""
    granting = [rule for rule in rules if not rule.deny]
    if identifier.type == "ip":
        what, found = "networks", [str(network) for rule in granting for network in rule.ip]
    else:
        what, found = "names", [pattern for rule in granting for pattern in rule.dns]
    if not found:
        return f"no {what} are allowed to it at all"
    distinct = list(dict.fromkeys(found))
    return f"the allowed {what} are: {', '.join(distinct[:_MAX_SHOWN])}{', ...' if len(distinct) > _MAX_SHOWN else ''}"
