"""Rules that can never decide, because an earlier one always does. For a warning: what is found is certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from acme_ca.policy.patterns import NamePatterns
from acme_ca.policy.rules import IpNetwork, Rule


def shadowed(rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Yield each rule that can never decide, with the earlier one that speaks about all its names for all its accounts.

    Only single earlier rules are looked at, not what several do together.
    """
    for number, later in enumerate(rules):
        by = next((earlier for earlier in rules[:number] if _speaks_for(earlier, later)), None)
        if by is not None:
            yield later.name, by.name


def _speaks_for(earlier: Rule, later: Rule) -> bool:
    if earlier.condition is not None and earlier.condition != later.condition:
        return False
    return _selects_all(earlier, later) and _speaks_of_all(earlier, later)


def _selects_all(earlier: Rule, later: Rule) -> bool:
    """Whether the earlier rule is for every account that the later one is for."""
    return all(
        not wide or (bool(narrow) and set(narrow) <= set(wide))
        for wide, narrow in (
            (earlier.eab, later.eab),
            (earlier.accounts, later.accounts),
            (earlier.workloads, later.workloads),
        )
    )


def _speaks_of_all(earlier: Rule, later: Rule) -> bool:
    if earlier.deny and not earlier.dns and not earlier.ip:
        return True
    if later.deny and not later.dns and not later.ip:
        return False
    # A rule that takes no wildcards is silent about them, so that a later one may allow them.
    if (later.wildcards or later.deny or later.deny_dns) and not _takes_all_wildcards(earlier):
        return False
    names = NamePatterns((*earlier.dns, *earlier.deny_dns))
    if not all(_covers(names, pattern) for pattern in (*later.dns, *later.deny_dns)):
        return False
    denied = NamePatterns(earlier.dns if earlier.deny else earlier.deny_dns)
    if not all(_touches(names, denied, pattern) for pattern in (later.dns if later.deny else later.deny_dns)):
        return False
    networks = (*earlier.ip, *earlier.deny_ip)
    return all(_within(network, networks) for network in (*later.ip, *later.deny_ip))


def _takes_all_wildcards(rule: Rule) -> bool:
    return rule.deny or (rule.wildcards and rule.wildcard_depth is None)


def _covers(names: NamePatterns, pattern: str) -> bool:
    """Whether all names of a pattern are among the names, single ones and wildcards."""
    if pattern.startswith("**."):
        return names.cover_all_below(pattern[3:])
    if pattern.startswith("."):
        return names.cover(pattern[1:]) and names.cover_all_below(pattern[1:])
    return names.cover(pattern)


def _touches(names: NamePatterns, denied: NamePatterns, pattern: str) -> bool:
    """Whether the wildcard beside a denied name, which is denied with it, is spoken of too."""
    if pattern.startswith("*"):
        return True
    name = pattern.removeprefix(".")
    return denied.cover(name) or names.cover(f"*.{name.partition('.')[2]}")


def _within(network: IpNetwork, networks: Sequence[IpNetwork]) -> bool:
    return any(
        network.version == other.version
        and int(other.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(other.broadcast_address)
        for other in networks
    )
