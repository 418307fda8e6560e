"""What sub-CAs may be signed: the rules of [environment.NAME.sub_ca]. Without one that fits, nothing is signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from acme_ca.config.base import DAY, HOUR, Settings
from acme_ca.config.fields import DomainName, Name, TrustDomain
from acme_ca.config.mistakes import Location, refuse
from acme_ca.pki.ca import IPNetwork
from acme_ca.pki.profile import Usage
from acme_ca.vocabulary import AuthorityKeyType

LONGEST = 5 * 366 * DAY  # seconds; the issuer itself is made for five years

CommonName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[ -~]+$")]
"""Printable ASCII of up to 64 characters: RFC 5280 appendix A.1 (ub-common-name)."""


class SubCaRule(Settings):
    """What one mesh, or one cluster of it, gets: everything in its certificate but the key."""

    name: Name
    """The rule's name, by which a CSR is signed."""
    common_name: CommonName | None = None
    """The subject's common name; when left out, the rule's name. A CSR that has one has to have this one."""
    dns: tuple[DomainName, ...] = ()
    """Zones whose names the sub-CA may certify, within those of the environment; none: no DNS names at all."""
    ip: tuple[IPNetwork, ...] = ()
    """Networks whose addresses the sub-CA may certify; none: no addresses at all."""
    trust_domain: TrustDomain | None = None
    """The SPIFFE trust domain that it is for: the certificate names it as its own URI. It constrains nothing."""
    dns_names: tuple[DomainName, ...] = ()
    """DNS names of the sub-CA's own certificate, for meshes that look for one; within `dns`."""
    path_length: int = Field(default=0, ge=0, le=1)
    """How many CAs there may be below the sub-CA: 0, or 1 where the mesh makes intermediates of its own."""
    key_types: tuple[AuthorityKeyType, ...] = Field(default=("ec-p256", "ec-p384"), min_length=1)
    """Kinds of keys that are signed."""
    lifetime: int = Field(default=90 * DAY, ge=HOUR, le=LONGEST)
    """How long a sub-CA lives, in seconds; a shorter time can be asked for, a longer one is refused."""
    extended_key_usages: tuple[Usage, ...] = Field(
        default=("serverAuth", "clientAuth"), min_length=1, json_schema_extra={"uniqueItems": True}
    )
    """What the certificates below it may be used for."""

    @field_validator("dns_names", mode="after")
    @classmethod
    def _within_its_own(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        zones = info.data.get("dns", names)
        outside = f"is outside of the rule's dns ({', '.join(zones) or 'none'})"
        refuse(
            "dns_names",
            (((place,), f"{name!r} {outside}") for place, name in enumerate(names) if not within(name, zones)),
        )
        return names

    @model_validator(mode="after")
    def _means_something(self) -> SubCaRule:
        if not self.dns and not self.ip and self.trust_domain is None:
            raise ValueError("the rule permits nothing; give it dns, ip or a trust_domain")
        return self

    @property
    def subject(self) -> str:
        """The common name of the certificates."""
        return self.common_name or self.name

    @property
    def uris(self) -> tuple[str, ...]:
        """The URI of the certificates themselves: that of the trust domain, or none."""
        return () if self.trust_domain is None else (f"spiffe://{self.trust_domain}",)


def within(name: str, zones: Sequence[str]) -> bool:
    """Whether a domain is one of the zones or below one."""
    return any(name == zone or name.endswith(f".{zone}") for zone in zones)


def misfits(rules: Sequence[SubCaRule], zones: Sequence[str], max_lifetime: int) -> Iterator[tuple[Location, str]]:
    """Yield what rules say that their environment or issuer cannot give, each with its place in the list."""
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.name in seen:
            yield (number, "name"), f"there are two rules for sub-CAs named {rule.name!r}"
        seen.add(rule.name)
        if rule.lifetime > max_lifetime:
            yield (number, "lifetime"), f"expected at most max_lifetime ({max_lifetime} s), not {rule.lifetime} s"
        for position, zone in enumerate(rule.dns):
            if not within(zone, zones):
                known = ", ".join(zones)
                yield (number, "dns", position), f"{zone!r} is outside the zones of this environment ({known})"
