"""What the rules of a policy grant or name that their environment does not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from acme_ca.config.mistakes import Location
from acme_ca.policy.conditions import condition
from acme_ca.policy.rules import Rule

CONDITION = "condition"
"""Where a rule has its condition. One with a mistake refuses what it is asked about: it gives nothing away."""


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name."""


class Offer(Protocol):
    """What of an environment bounds its policy."""

    @property
    def zones(self) -> Sequence[str]:
        """The zones whose names it issues for."""

    @property
    def challenges(self) -> Sequence[str]:
        """The challenge types that it offers."""

    @property
    def profiles(self) -> Sequence[str]:
        """The profiles that it offers."""

    @property
    def workload(self) -> Sequence[Named]:
        """Its rules for workloads."""


def misfits_of(rules: Sequence[Rule], settings: Offer) -> Iterator[tuple[Location, str]]:
    """Yield what rules grant or name that an environment does not have, each with its place in the list."""
    offer = {name: getattr(settings, name) for name in ("zones", "challenges", "profiles", "workload")}
    yield from misfits(rules, offer)


def misfits(rules: Sequence[Rule], offer: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Like `misfits_of`, for the settings of an environment by name, some of which may have mistakes of their own."""
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.name in seen:
            yield (number, "name"), f"there are two policy rules named {rule.name!r}"
        seen.add(rule.name)
        for place, text in (*_outside_zones(rule, offer.get("zones")), *_not_offered(rule, offer), *_mistaken(rule)):
            yield (number, *place), text


def _outside_zones(rule: Rule, zones: Sequence[str] | None) -> Iterator[tuple[Location, str]]:
    if not zones or rule.deny:
        return
    for position, pattern in enumerate(rule.dns):
        name = pattern.lstrip("*").lstrip(".")
        if not any(name == zone or name.endswith(f".{zone}") for zone in zones):
            known = ", ".join(zones)
            reason = f"{pattern!r} is outside the zones of this environment ({known}): its issuers cannot sign there"
            yield ("dns", position), reason


def _mistaken(rule: Rule) -> Iterator[tuple[Location, str]]:
    text = None if rule.condition is None else condition(rule.condition).mistake()
    if text is not None:
        yield (CONDITION,), text


def _not_offered(rule: Rule, offer: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    for setting, granted in (("challenges", rule.challenges), ("profiles", rule.profiles)):
        offered = offer.get(setting)
        for position, value in enumerate(granted or ()):
            if offered and value not in offered:
                reason = f"{value!r} is not among the {setting} of this environment ({', '.join(offered)})"
                yield (setting, position), reason
    workloads = offer.get("workload")
    for position, name in enumerate(rule.workloads if workloads is not None else ()):
        known = [found.name for found in workloads or ()]
        if name not in known:
            yield (
                ("workloads", position),
                f"there is no workload rule {name!r}; there are: {', '.join(known) or 'none'}",
            )
