"""What name constraints permit, held against what is asked for: too little, or more. RFC 5280 §4.2.1.10."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from cryptography import x509

from acme_ca.pki.ca import EVERY_IPV4, EVERY_IPV6, IPNetwork

EVERY_NAME = ""  # every DNS name is below it


@dataclass(frozen=True, slots=True)
class Subtrees:
    """Names and networks, those of one list of a certificate."""

    zones: tuple[str, ...] = ()
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def read(cls, names: Iterable[x509.GeneralName] | None) -> Subtrees:
        """Take the kinds of name that certificates of this CA have."""
        found = tuple(names or ())
        return cls(
            tuple(name.value.lower() for name in found if isinstance(name, x509.DNSName)),
            tuple(
                name.value
                for name in found
                if isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Network | IPv6Network)
            ),
        )

    def of_kind(self, network: IPNetwork) -> list[IPNetwork]:
        """Return the networks that are of the same version."""
        return [one for one in self.networks if one.version == network.version]


def lacking(certificate: x509.Certificate, asked: Subtrees, *, named: bool) -> Iterator[str]:
    """Yield what is asked for and not permitted from end to end.

    With `named`, each kind of name has to be, as the CA wants it of its issuers; else what is not constrained is fine.
    """
    permitted, excluded = _constraints(certificate)
    for zone in asked.zones:
        inside = not (named or permitted.zones) or any(is_below(zone, name) for name in permitted.zones)
        if not inside or any(is_below(zone, name) or is_below(name, zone) for name in excluded.zones):
            yield f"DNS names below {zone}"
    for network in asked.networks:
        own = permitted.of_kind(network)
        inside = not (named or own) or any(_is_within(network, one) for one in own)
        if not inside or any(one.overlaps(network) for one in excluded.of_kind(network)):
            yield f"addresses in {network}"


def beyond(certificate: x509.Certificate, asked: Subtrees) -> Iterator[str]:
    """Yield what is permitted and not asked for. URIs are left out: intermediates of this CA constrain none either."""
    permitted, excluded = _constraints(certificate)
    if not permitted.zones and EVERY_NAME not in excluded.zones:
        yield "any DNS name"
    for name in permitted.zones:
        if not any(is_below(name, zone) for zone in asked.zones):
            yield f"DNS names below {name or 'the root of the DNS'}"
    for everything in (EVERY_IPV4, EVERY_IPV6):
        own = permitted.of_kind(everything)
        if not own and everything not in excluded.networks:
            yield f"any IPv{everything.version} address"
        wanted = _collapsed(asked.of_kind(everything))
        yield from (f"addresses in {one}" for one in own if not any(_is_within(one, network) for network in wanted))


def is_constrained(certificate: x509.Certificate) -> bool:
    """Whether there are name constraints at all."""
    return any(isinstance(extension.value, x509.NameConstraints) for extension in certificate.extensions)


def is_below(name: str, zone: str) -> bool:
    """Whether a DNS name is a zone or in it."""
    return zone in {EVERY_NAME, name} or name.endswith(f".{zone}")


def _constraints(certificate: x509.Certificate) -> tuple[Subtrees, Subtrees]:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.NameConstraints):
            return Subtrees.read(extension.value.permitted_subtrees), Subtrees.read(extension.value.excluded_subtrees)
    return Subtrees(), Subtrees()


def _is_within(network: IPNetwork, other: IPNetwork) -> bool:
    return network.subnet_of(other)  # type: ignore[arg-type]  # both are of one version, see of_kind


def _collapsed(networks: Collection[IPNetwork]) -> list[IPNetwork]:
    return list(collapse_addresses(networks))  # type: ignore[type-var]  # all are of one version, see of_kind
