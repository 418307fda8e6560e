"""What one rule says of one name, and which rules can say anything of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from acme_ca.identifiers import Identifier
from acme_ca.policy.conditions import Applicant, ConditionFailedError, Facts, condition
from acme_ca.policy.patterns import NamePatterns
from acme_ca.policy.rules import IpNetwork, Rule

Address = IPv4Address | IPv6Address


class Said(StrEnum):
    """What a rule says of a name for an account. `FAILED` refuses it as `DENIES` does."""

    ALLOWS = "allows"
    DENIES = "denies"
    FAILED = "condition has no answer"
    UNMET = "condition is false"
    NO_WILDCARDS = "allows no such wildcard"
    SILENT = "says nothing of the name"
    OTHERS = "is for other accounts"


_UNCONDITIONAL = frozenset({Said.SILENT, Said.NO_WILDCARDS})  # where a condition would change nothing


@dataclass(frozen=True, slots=True)
class Saying:
    """What was said, and where that needs one, the reason."""

    said: Said
    reason: str = ""


class Matcher:
    """A rule, made ready for fast answers."""

    __slots__ = ("_accounts", "_condition", "_denied_names", "_denied_networks", "_eab", "_names", "_networks", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._names = NamePatterns(rule.dns)
        self._denied_names = NamePatterns(rule.dns if rule.deny else rule.deny_dns)
        self._networks = _Networks(rule.ip)
        self._denied_networks = _Networks(rule.ip if rule.deny else rule.deny_ip)
        self._eab = frozenset(rule.eab)
        self._accounts = frozenset(rule.accounts)
        self._condition = None if rule.condition is None else condition(rule.condition)

    @property
    def denies_everything(self) -> bool:
        """Whether it refuses whatever is asked for."""
        return self.rule.deny and not self.rule.dns and not self.rule.ip

    def selects(self, applicant: Applicant) -> bool:
        """Whether the rule is for the account."""
        return (
            (not self._eab or applicant.eab_label in self._eab)
            and (not self._accounts or applicant.account_id in self._accounts)
            and (not self.rule.workloads or applicant.workload_rule in self.rule.workloads)
        )

    def hear(self, identifier: Identifier, address: Address | None, applicant: Applicant, facts: Facts) -> Saying:
        """Return what the rule says; its condition is looked at only where the rest fits."""
        if not self.selects(applicant):
            return Saying(Said.OTHERS)
        said = self._said(identifier, address)
        if self._condition is None or said in _UNCONDITIONAL:
            return Saying(said)
        try:
            met = self._condition.holds(facts, identifier)
        except ConditionFailedError as error:
            return Saying(Said.FAILED, str(error))
        return Saying(said if met else Said.UNMET)

    def _said(self, identifier: Identifier, address: Address | None) -> Said:
        if self.denies_everything:
            return Said.DENIES
        if identifier.type == "uri":
            return Said.SILENT
        return self._of_name(identifier) if address is None else self._of_address(address)

    def _of_address(self, address: Address) -> Said:
        if self._denied_networks.contain(address):
            return Said.DENIES
        return Said.ALLOWS if not self.rule.deny and self._networks.contain(address) else Said.SILENT

    def _of_name(self, identifier: Identifier) -> Said:
        if self._denied_names.touch(identifier.value):
            return Said.DENIES
        if self.rule.deny or not self._names.cover(identifier.value):
            return Said.SILENT
        return Said.ALLOWS if not identifier.wildcard or self._takes_wildcard(identifier) else Said.NO_WILDCARDS

    def _takes_wildcard(self, identifier: Identifier) -> bool:
        deepest = self.rule.wildcard_depth
        return self.rule.wildcards and (deepest is None or self._names.depth(identifier.base) <= deepest)


class Index:
    """All rules of an environment, found by the names that they speak of: an answer takes time by those alone."""

    __slots__ = ("_addresses", "_matchers", "_names", "_universal")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._matchers = tuple(matchers)
        self._names: dict[str, list[int]] = {}
        self._addresses: list[int] = []
        self._universal: list[int] = []
        for number, matcher in enumerate(self._matchers):
            rule = matcher.rule
            if matcher.denies_everything:
                self._universal.append(number)
            if rule.ip or rule.deny_ip:
                self._addresses.append(number)
            for key in {key for pattern in (*rule.dns, *rule.deny_dns) for key in _keys(pattern)}:
                self._names.setdefault(key, []).append(number)

    def speaking(self, identifier: Identifier) -> Sequence[Matcher]:
        """Return the rules that may say something of the name, in their order; the others say nothing."""
        if identifier.type == "uri":
            return [self._matchers[number] for number in self._universal]
        if identifier.type == "ip":
            found = {*self._universal, *self._addresses}
        else:
            found = set(self._universal)
            name = identifier.base
            if identifier.wildcard:
                found.update(self._names.get(f"*.{name}", ()))
            while name:
                found.update(self._names.get(name, ()))
                name = name.partition(".")[2]
        return [self._matchers[number] for number in sorted(found)]


def address_of(identifier: Identifier) -> Address | None:
    """Return the address that an identifier is, or None."""
    return ip_address(identifier.value) if identifier.type == "ip" else None


def _keys(pattern: str) -> Iterator[str]:
    """Yield the names under which a rule with the pattern is found: its own, and the wildcard beside it."""
    name = pattern.lstrip("*").removeprefix(".")
    yield name
    if not pattern.startswith("*"):  # `.NAME` is about NAME itself too
        yield f"*.{name.partition('.')[2]}"


class _Networks:
    """Networks as pairs of numbers, which compare faster than addresses."""

    __slots__ = ("_ranges",)

    def __init__(self, networks: Sequence[IpNetwork]) -> None:
        self._ranges = tuple(
            (network.version, int(network.network_address), int(network.broadcast_address)) for network in networks
        )

    def contain(self, address: Address) -> bool:
        """Whether an address is in one of them."""
        if not self._ranges:
            return False
        version, number = address.version, int(address)
        return any(own == version and first <= number <= last for own, first, last in self._ranges)
