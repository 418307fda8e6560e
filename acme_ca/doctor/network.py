"""What this host reaches: resolvers, validation targets, providers; and whether its clock agrees with theirs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from acme_ca import clock, https
from acme_ca.challenges import dns
from acme_ca.challenges.base import Unanswered
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.network import IpNetwork
from acme_ca.doctor.findings import Finding, Host
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.problems import Problem
from acme_ca.workload import Provider
from acme_ca.workload.jwks import Discovery, Url, keys_for
from acme_ca.workload.spiffe import Spiffe
from acme_ca.workload.spiffe_bundle import WebBundle, bundle_of
from acme_ca.workload.tokens import TokenProvider

NOBODY = "acme-ca-doctor.invalid"  # RFC 6761 §6.4: every resolver says that it does not exist
ELSEWHERE = "192.0.2.1"  # RFC 5737: stands for any address that is not on this host's networks
DISCARD = 9  # no packet is sent there
SKEW = 30  # seconds; certificates are backdated by a minute
HTTP, HTTPS = 80, 443


def resolvers(host: Host) -> Iterator[Finding]:
    """Ask each resolver for a zone of its environment."""
    for name in host.environments:
        settings = host.config.environment[name]
        place = f"environment.{name}.validation.resolvers"
        if not settings.validation.resolvers:
            yield Finding("DNS001", place, "none", "a resolver that knows the zones of the environment")
        for number, resolver in enumerate(settings.validation.resolvers):
            zone = (*resolver.zones, *settings.zones)[0]
            asked = NOBODY if dns.is_localhost(zone) else zone
            alone = resolver.model_copy(update={"zones": ()})
            network = settings.validation.model_copy(update={"resolvers": (alone,)})
            try:
                dns.texts(network, asked, Deadline.after(min(host.timeout, settings.validation.dns_timeout)))
            except (Unanswered, Problem, TimeoutError) as error:
                seen = error.problem.detail if isinstance(error, Unanswered) else str(error)
                yield Finding("DNS002", f"{place}[{number}]", seen, f"an answer from {resolver} about {asked}")


def targets(host: Host) -> Iterator[Finding]:
    """Look at the ports and networks that validations go to; nothing is sent."""
    for name in host.environments:
        network = host.config.environment[name].validation
        place = f"environment.{name}.validation"
        if (network.http_port, network.tls_port) != (HTTP, HTTPS):
            seen = f"http-01 at port {network.http_port}, tls-alpn-01 at port {network.tls_port}"
            yield Finding("NET001", place, seen, f"{HTTP} and {HTTPS} (RFC 8555 §8.3, RFC 8737 §3)")
        addresses = [_first(allowed) for allowed in network.allow] or [ELSEWHERE]
        for address in addresses:
            if (reason := _no_route(address)) is not None:
                yield Finding("NET002", place, f"{address}: {reason}", "a route")


def providers(host: Host) -> Iterator[Finding]:
    """Read the keys of those who vouch for workloads."""
    for name in host.environments:
        for provider in host.config.environment[name].provider:
            place = f"environment.{name}.provider.{provider.name}"
            try:
                seen = _keys_of(provider)
            except (Problem, FetchFailedError) as error:
                yield Finding("PRV001", place, str(error), "usable keys")
            else:
                if seen is not None:
                    yield Finding("PRV002", place, seen, "usable keys")


def clocks(host: Host) -> Iterator[Finding]:
    """Compare the clock with those of providers, by the Date of their answers."""
    urls = {url for name in host.environments for url in _urls(host, name)}
    compared = False
    for endpoint in urls:
        try:
            before = clock.now()
            answer = https.request(endpoint)
            theirs = parsedate_to_datetime(answer.headers["date"])
        except (FetchFailedError, KeyError, ValueError, TypeError):
            continue
        compared = True
        if (apart := _apart(before, theirs)) > SKEW:
            yield Finding("CLK001", endpoint.url, f"{apart:.0f} seconds apart", f"at most {SKEW} seconds")
    if not compared:
        yield Finding("CLK002", "clock", "no provider of an environment told its time over HTTPS", "one that does")


def _apart(before: datetime, theirs: datetime) -> float:
    """Return the seconds between two clocks, less the time that the answer took."""
    after = clock.now()
    return max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)


def _urls(host: Host, environment: str) -> Iterator[Endpoint]:
    for provider in host.config.environment[environment].provider:
        if isinstance(provider, TokenProvider) and isinstance(provider.jwks, Discovery | Url):
            url = provider.jwks.url if isinstance(provider.jwks, Url) else provider.issuer
            yield Endpoint(url, provider.jwks.ca_file, min(host.timeout, provider.jwks.timeout))
        if isinstance(provider, Spiffe) and isinstance(provider.bundle, WebBundle):
            yield Endpoint(provider.bundle.url, provider.bundle.ca_file, min(host.timeout, provider.bundle.timeout))


def _keys_of(provider: Provider) -> str | None:
    """Say how many keys a provider has; None for one that keeps no keys to be fetched."""
    if isinstance(provider, TokenProvider):
        return f"{len(keys_for(provider.jwks, provider.issuer, None))} keys"
    if isinstance(provider, Spiffe):
        bundle = bundle_of(provider.bundle, provider.trust_domain, lambda _: True)
        return f"a bundle with {len(bundle.x509_authorities)} authorities and {len(bundle.jwt_keys)} keys"
    return None


def _first(network: IpNetwork) -> str:
    return str(network[1] if network.num_addresses > 1 else network[0])


def _no_route(address: str) -> str | None:
    """Say why the kernel has no way to an address. A datagram socket that is connected sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, DISCARD))
    except OSError as error:
        return error.strerror or str(error)
    return None
