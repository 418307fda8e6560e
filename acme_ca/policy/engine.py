"""The policy of one environment: what an account may have for the names of an order. RFC 8555 §7.4, §10.2.

For each identifier, the first rule that selects the account and speaks about the name decides; no rule means no. An
order is allowed when each of its identifiers is, under the bounds of all the rules that decided. What a rule denies no
workload may have either, whatever the rules for workloads grant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acme_ca.identifiers import Identifier, combine
from acme_ca.policy.conditions import Applicant as Applicant
from acme_ca.policy.conditions import Facts, condition
from acme_ca.policy.grants import Grant
from acme_ca.policy.matchers import Index, Matcher, Said, Saying, address_of
from acme_ca.policy.rules import Rule as Rule
from acme_ca.policy.rules import default_rules as default_rules
from acme_ca.policy.rules import dump, version_of
from acme_ca.problems import BadCsr, InvalidProfile, RejectedIdentifier
from acme_ca.vocabulary import KEY_TYPES
from acme_ca.workload.base import WORKLOAD_CHALLENGE

# RFC 8555 §8.3, RFC 8737 §3: only the DNS can prove a wildcard; RFC 8738 §4, §7: DNS cannot prove an address.
WILDCARD_CHALLENGES = frozenset({"dns-01", "dns-account-01", "dns-persist-01"})
IP_CHALLENGES = frozenset({"http-01", "tls-alpn-01"})
Provable = Callable[[Identifier], bool]
_MAX_SHOWN = 10  # patterns in the detail of a refusal
_DENIALS = frozenset({Said.DENIES, Said.FAILED})
_DECIDE = frozenset({Said.ALLOWS, *_DENIALS})


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was decided on one name, by which rule and why; without a rule none speaks about it."""

    identifier: Identifier
    said: Said
    rule: Rule | None
    reason: str
    challenges: tuple[str, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether the rule allows the name, and some challenge can prove it."""
        return self.said is Said.ALLOWS and bool(self.challenges)

    @property
    def is_denied(self) -> bool:
        """Whether a rule refuses the name: that binds workloads too."""
        return self.said in _DENIALS


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
        self._matchers = tuple(Matcher(rule) for rule in self.rules)
        self._index = Index(self._matchers)
        self._challenges = tuple(challenges)
        self._profiles = frozenset(profiles)
        conditions = [condition(rule.condition) for rule in self.rules if rule.condition is not None]
        self.claims = frozenset(path for found in conditions for path in found.claim_paths())
        """The paths of the claims that conditions look at."""
        self.is_about_workloads = any(rule.workloads for rule in self.rules) or any(
            found.is_about_workloads for found in conditions
        )
        """Whether an answer may depend on the workload that the account is bound to."""
        self.has_conditions = bool(conditions)
        """Whether an answer may depend on the profile or the key."""

    def document(self) -> dict[str, Any]:
        """Render as a JSON object, to be stored with its version."""
        return {"environment": self.environment, "rules": dump(self.rules)}

    def decide(
        self,
        applicant: Applicant,
        identifiers: Sequence[Identifier],
        provable: Provable | None = None,
        order: Sequence[Identifier] | None = None,
    ) -> Decision:
        """Return what the applicant may have for these identifiers, which are all of the order unless that is given.

        `provable` tells which of them a workload may prove instead, unless a rule denies them; what it gets then is
        decided with its proof. Raises RejectedIdentifier, with a subproblem for each identifier when several are
        refused (§6.7.1).
        """
        facts = Facts(applicant, identifiers if order is None else order)
        deciding: dict[str, Rule] = {}
        challenges: dict[Identifier, tuple[str, ...]] = {}
        refused: list[RejectedIdentifier] = []
        for identifier in identifiers:
            by_workload = (WORKLOAD_CHALLENGE,) if provable is not None and provable(identifier) else ()
            ruling = self._ruling(applicant, identifier, facts)
            if ruling.rule is not None and ruling.is_allowed:
                challenges[identifier] = ruling.challenges + by_workload
                deciding[ruling.rule.name] = ruling.rule
            elif by_workload and not ruling.is_denied:
                challenges[identifier] = by_workload
            else:
                refused.append(RejectedIdentifier(ruling.reason, identifier=identifier.wire()))
        if refused:
            raise combine(tuple(refused))
        return self._combined(tuple(deciding.values()), challenges, len(identifiers if order is None else order))

    def ruling(self, applicant: Applicant, identifier: Identifier, order: Sequence[Identifier]) -> Ruling:
        """Return what the rules say of one name of an order."""
        return self._ruling(applicant, identifier, Facts(applicant, order))

    def sayings(
        self, applicant: Applicant, identifier: Identifier, order: Sequence[Identifier]
    ) -> Iterator[tuple[Rule, Saying]]:
        """Yield what each rule says of one name up to the one that decides, in their order."""
        facts, address = Facts(applicant, order), address_of(identifier)
        for matcher in self._matchers:
            saying = matcher.hear(identifier, address, applicant, facts)
            yield matcher.rule, saying
            if saying.said in _DECIDE:
                return

    def require_undenied(
        self, applicant: Applicant, identifiers: Iterable[Identifier], order: Sequence[Identifier]
    ) -> None:
        """Raise RejectedIdentifier when a rule denies one of the identifiers that a workload's own rule grants."""
        facts = Facts(applicant, order)
        refused: list[RejectedIdentifier] = []
        for identifier in identifiers:
            ruling = self._ruling(applicant, identifier, facts)
            if ruling.is_denied:
                refused.append(RejectedIdentifier(ruling.reason, identifier=identifier.wire()))
        if refused:
            raise combine(tuple(refused))

    def decide_for_workload(self, grant: Grant | None, identifiers: Sequence[Identifier]) -> Decision:
        """Return what a proved workload may have for identifiers that its grant covers; raises RejectedIdentifier.

        Without the grant, nobody knows its bounds any more.
        """
        wanted = None if grant is None else grant.profiles
        profiles = self._profiles if wanted is None else self._profiles.intersection(wanted)
        if grant is not None and not profiles:
            raise RejectedIdentifier(f"workload rule {grant.rule} leaves no profile that is offered here")
        return Decision(
            rules=() if grant is None else (f"workload rule {grant.rule}",),
            challenges=dict.fromkeys(identifiers, (WORKLOAD_CHALLENGE,)),
            profiles=profiles,
            key_types=frozenset(KEY_TYPES),
            max_lifetime=None if grant is None else grant.lifetime,
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

    def _ruling(self, applicant: Applicant, identifier: Identifier, facts: Facts) -> Ruling:
        """Return what the first rule that speaks about the identifier says, or why none allows it.

        What the account's external key is not for is denied before any rule is heard.
        """
        if applicant.scope is not None and (obstacle := applicant.scope.obstacle(identifier)) is not None:
            return Ruling(identifier, Said.DENIES, None, obstacle)
        narrow: Rule | None = None
        unmet: list[str] = []
        address = address_of(identifier)
        for matcher in self._index.speaking(identifier):
            saying = matcher.hear(identifier, address, applicant, facts)
            if saying.said is Said.ALLOWS:
                return self._allowed(matcher.rule, identifier)
            if saying.said in _DENIALS:
                return Ruling(identifier, saying.said, matcher.rule, self._denial(matcher.rule, identifier, saying))
            if saying.said is Said.NO_WILDCARDS:
                narrow = narrow or matcher.rule
            elif saying.said is Said.UNMET:
                unmet.append(matcher.rule.name)
        if narrow is not None:
            return Ruling(identifier, Said.NO_WILDCARDS, narrow, self._too_narrow(narrow, identifier))
        return Ruling(identifier, Said.SILENT, None, self._silence(applicant, identifier, unmet))

    def _denial(self, rule: Rule, identifier: Identifier, saying: Saying) -> str:
        by = f"rule {rule.name} of environment {self.environment}"
        if saying.said is Said.DENIES:
            return f"{by} denies {identifier}"
        return f"{by} cannot decide about {identifier}, and refuses it: its condition has no answer ({saying.reason})"

    def _too_narrow(self, rule: Rule, identifier: Identifier) -> str:
        which = "no wildcards" if not rule.wildcards else f"wildcards {rule.wildcard_depth} labels deep at most"
        return (
            f"rule {rule.name} of environment {self.environment} allows the names of {identifier}, but {which}; "
            "order the names one by one"
        )

    def _silence(self, applicant: Applicant, identifier: Identifier, unmet: Sequence[str]) -> str:
        if identifier.type == "uri":
            return f"{identifier} is no identity that a workload of environment {self.environment} can prove here"
        selecting = [matcher.rule for matcher in self._matchers if matcher.selects(applicant)]
        hint = f"; the condition of {_by(unmet)} is false" if unmet else ""
        return (
            f"no rule of environment {self.environment} allows {identifier} for this account{hint}; "
            f"{_allowed(selecting, identifier)}"
        )

    def _allowed(self, rule: Rule, identifier: Identifier) -> Ruling:
        """Return the ruling that allows an identifier, unless no challenge type could prove it."""
        granted = self._challenges
        if rule.challenges is not None:
            granted = tuple(challenge for challenge in granted if challenge in rule.challenges)
        suitable = granted
        if identifier.type == "ip":
            suitable = tuple(challenge for challenge in granted if challenge in IP_CHALLENGES)
        elif identifier.wildcard:
            suitable = tuple(challenge for challenge in granted if challenge in WILDCARD_CHALLENGES)
        if suitable:
            return Ruling(identifier, Said.ALLOWS, rule, f"rule {rule.name} allows {identifier}", suitable)
        reason = (
            f"no challenge type that rule {rule.name} of environment {self.environment} allows "
            f"({', '.join(granted) or 'none'}) can prove control of {identifier}"
        )
        return Ruling(identifier, Said.ALLOWS, rule, reason)

    def _combined(
        self, rules: tuple[Rule, ...], challenges: dict[Identifier, tuple[str, ...]], ordered: int
    ) -> Decision:
        """Return the bounds of all deciding rules together; raises RejectedIdentifier when nothing is left."""
        names = tuple(rule.name for rule in rules)
        for rule in rules:
            if rule.max_names is not None and ordered > rule.max_names:
                raise RejectedIdentifier(
                    f"the order has {ordered} identifiers; {_by((rule.name,))} allows {rule.max_names}"
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
