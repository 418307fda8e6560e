"""The intermediates that a configuration asks for: whose they are, and the names that each may sign for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from acme_ca.config import Config, Issuer
from acme_ca.config.fields import is_address
from acme_ca.config.tables import SERVICE
from acme_ca.pki.profile import BUILTIN, Profile, Usage
from acme_ca.services.listener import PROFILE
from acme_ca.vocabulary import AUTHORITY_KEY_TYPES, LISTENER_KEY_TYPES, AuthorityKeyType

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_NAME = 64  # characters of a common name, RFC 5280 appendix A.1 (ub-common-name)
LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An intermediate that the configuration asks for, the names it may sign for, and what leafs it has to."""

    place: str
    issuer: Issuer
    common_name: str
    dns: tuple[str, ...]
    ips: tuple[IpNetwork, ...]
    longest: timedelta
    usages: frozenset[Usage]
    path_length: int = 0
    """How many CAs may be below it."""
    kinds: tuple[AuthorityKeyType, ...] = AUTHORITY_KEY_TYPES
    """Kinds of key that do what it is for."""

    def __str__(self) -> str:
        """Name it as commands do."""
        return f"{self.place}/{self.issuer.name}"


def wanted(config: Config) -> Iterator[Wanted]:
    """Yield what the configuration asks for: constraints follow the zones and the policy's networks."""
    service = config.service.issuer
    names, own_needs = _own_names(config), _needs([PROFILE])
    yield Wanted(SERVICE, service, common_name(config, service.name), *names, *own_needs, kinds=LISTENER_KEY_TYPES)
    profiles = {**BUILTIN, **config.profile}
    for name, environment in config.environment.items():
        networks = tuple(network for rule in environment.policy if not rule.deny for network in rule.ip)
        needs = _needs([profiles[profile] for profile in environment.profiles])
        for issuer in environment.issuer:
            own = common_name(config, issuer.name)
            yield Wanted(name, issuer, own, environment.zones, networks, *needs)
        if (sub_ca := environment.sub_ca) is not None:
            networks = tuple(dict.fromkeys(network for rule in sub_ca.rule for network in rule.ip))
            longest = timedelta(seconds=max((rule.lifetime for rule in sub_ca.rule), default=0))
            needs = longest, frozenset(usage for rule in sub_ca.rule for usage in rule.extended_key_usages)
            own = common_name(config, sub_ca.name)
            yield Wanted(name, sub_ca, own, environment.zones, networks, *needs, sub_ca.path_length)


def common_name(config: Config, role: str) -> str:
    """Name a certificate of the CA by its host, so that one sees in a trust store whose it is."""
    return f"{_host(config)[: LONGEST_NAME - len(role) - 1]} {role}"


def _needs(profiles: Sequence[Profile]) -> tuple[timedelta, frozenset[Usage]]:
    usages = frozenset(usage for profile in profiles for usage in profile.extended_key_usages)
    return timedelta(seconds=max(profile.lifetime for profile in profiles)), usages


def _own_names(config: Config) -> tuple[tuple[str, ...], tuple[IpNetwork, ...]]:
    host = _host(config)
    if is_address(host):
        return (), (ipaddress.ip_network(host),)
    is_here = host == "localhost" or host.endswith(".localhost")
    return (host,), LOOPBACK if is_here else ()


def _host(config: Config) -> str:
    return urlsplit(config.external_url).hostname or ""
