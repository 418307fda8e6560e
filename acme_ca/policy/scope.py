"""What an external account key is for: names and profiles that its accounts may have, of those that the rules allow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from acme_ca.identifiers import Identifier
from acme_ca.policy.patterns import NamePattern, NamePatterns

MAX_ENTRIES = 100  # patterns, networks or profiles: a key is for one thing


class Scope(BaseModel):
    """The names, addresses and profiles that an external account key is for. It allows nothing that no rule allows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dns: tuple[NamePattern, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Names: NAME, *.NAME (one label below), **.NAME (all below), .NAME (itself and all below)."""
    ip: tuple[IPv4Network | IPv6Network, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Networks whose addresses it is for."""
    profiles: tuple[str, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Profiles; when empty, all that the rules allow."""

    @cached_property
    def _names(self) -> NamePatterns:
        return NamePatterns(self.dns)

    @property
    def is_everything(self) -> bool:
        """Whether it bounds nothing."""
        return not (self.dns or self.ip or self.profiles)

    def obstacle(self, identifier: Identifier) -> str | None:
        """Return why the accounts of the key cannot have a name, or None when it is for it."""
        if not (self.dns or self.ip) or self._covers(identifier):
            return None
        allowed = ", ".join((*self.dns, *map(str, self.ip)))
        return f"the external account key of this account is not for {identifier}; it is for {allowed}"

    def document(self) -> dict[str, Any] | None:
        """Render as a JSON object, to be stored; None when it bounds nothing."""
        return None if self.is_everything else self.model_dump(mode="json", exclude_defaults=True)

    def _covers(self, identifier: Identifier) -> bool:
        if identifier.type == "dns":
            return self._names.cover(identifier.value)
        if identifier.type == "ip":
            address = ip_address(identifier.value)
            return any(address in network for network in self.ip)
        return False


def stored(document: Mapping[str, Any] | None) -> Scope | None:
    """Return the scope that `document` rendered."""
    if document is None:
        return None
    found = (tuple(document.get(name, ())) for name in ("dns", "ip", "profiles"))
    return _stored(*found)


@lru_cache(maxsize=1000)
def _stored(dns: tuple[str, ...], ip: tuple[str, ...], profiles: tuple[str, ...]) -> Scope:
    return Scope.model_validate({"dns": dns, "ip": ip, "profiles": profiles})
