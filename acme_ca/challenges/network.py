"""What validation may reach, by which resolvers, and for how long. The `validation` table of an environment.

The defaults suit an internal CA: private addresses are reached, this host and its links are not.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from acme_ca import identifiers
from acme_ca.paths import ExistingFile
from acme_ca.problems import Problem

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network
Port = Annotated[int, Field(ge=1, le=65535)]

DNS_PORT = 53
DNS_OVER_TLS_PORT = 853  # RFC 7858 §3.1

_RESOLVER = re.compile(
    r"(?:(?P<protocol>udp|tcp|tls)://)?"
    r"(?:(?:\[(?P<bracketed>[0-9a-fA-F:.]+)\]|(?P<ipv4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?|(?P<ipv6>[0-9a-fA-F:.]+))"
    r"(?:#(?P<tls_name>[a-z0-9.-]+))?"
)

# Addresses that no validation target has (IANA special-purpose registries, RFC 6890), and IPv6 addresses that carry an
# IPv4 address in them: dialling those would walk around the rules for IPv4.
_REFUSED: tuple[tuple[IpNetwork, str], ...] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("0.0.0.0/8", "unspecified"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("192.0.0.0/24", "reserved"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("fd00:ec2::254/128", "a cloud's metadata service"),
        ("100::/64", "discard-only"),
        ("2001::/32", "Teredo"),
        ("2002::/16", "6to4"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("::/96", "unspecified or IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
    )
)


class Resolver(BaseModel):
    """A resolver to ask. In text: `10.0.0.53`, `10.0.0.53:5353`, `tcp://[fd00::53]:53`, `tls://10.0.0.53#dns.corp`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: IpAddress
    port: Port = DNS_PORT
    protocol: Literal["udp", "tcp", "tls"] = "udp"
    tls_name: str | None = None
    """The name in the resolver's certificate; without one the certificate must carry the address. RFC 8310 §8."""
    ca_file: ExistingFile | None = None
    """PEM file of the roots that a `tls` resolver's certificate is verified by; without one the system's."""
    zones: tuple[str, ...] = ()
    """The zones this resolver is asked for, with all names below; none means every name no other zone covers."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the file holds
        if isinstance(value, str):
            if not (match := _RESOLVER.fullmatch(value)):
                raise ValueError(f"{value!r} is not a resolver; expected e.g. 10.0.0.53, or tls://10.0.0.53:853#name")
            parts = match.groupdict()
            address = parts.pop("bracketed") or parts.pop("ipv4") or parts["ipv6"]
            named = {name: parts[name] for name in ("protocol", "port", "tls_name") if parts[name]}
            value = {"address": address} | named
        if isinstance(value, dict) and value.get("protocol") == "tls":
            return {"port": DNS_OVER_TLS_PORT} | value
        return value

    @field_validator("zones")
    @classmethod
    def _names(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_zone(zone) for zone in zones)

    @model_validator(mode="after")
    def _tls_only(self) -> Resolver:
        if self.protocol != "tls" and (self.tls_name or self.ca_file):
            raise ValueError("tls_name and ca_file need protocol = 'tls'")
        return self

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else f"{self.address}"  # noqa: PLR2004 - IP version
        return f"{host}:{self.port}/{self.protocol}"


class Network(BaseModel):
    """Where validation may go. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolvers: tuple[Resolver, ...] = ()
    http_port: Port = 80
    tls_port: Port = 443
    redirect_ports: tuple[Port, ...] = ()
    """Ports that an http-01 redirect may go to, besides 80, 443, `http_port` and `tls_port`."""
    allow: tuple[IpNetwork, ...] = ()
    """Networks that are reached although they are loopback, link-local or otherwise special."""
    deny: tuple[IpNetwork, ...] = ()
    """Networks that are never reached; they win over `allow`."""
    timeout: Annotated[float, Field(gt=0, le=60)] = 10
    """The end of one attempt, with all its names, connections and redirects."""
    dns_timeout: Annotated[float, Field(gt=0, le=30)] = 3
    """What one resolver gets for one question."""
    max_redirects: Annotated[int, Field(ge=0, le=10)] = 10
    max_body: Annotated[int, Field(ge=256, le=1 << 20)] = 65536

    def resolvers_for(self, name: str) -> tuple[Resolver, ...]:
        """Return the resolvers of the longest zone that the name is in, or else those without zones."""
        best, found = -1, []
        for resolver in self.resolvers:
            fits = max((len(zone) for zone in resolver.zones if _inside(name, zone)), default=-1)
            length = fits if resolver.zones else 0
            if length > best:
                best, found = length, [resolver]
            elif length == best >= 0:
                found.append(resolver)
        return tuple(found)

    def refusal(self, address: IpAddress) -> str | None:
        """Say why the address is not reached, or return None if it may be."""
        if any(address in network for network in self.deny):
            return "denied by configuration"
        why = next((why for network, why in _REFUSED if address in network), None)
        if why is None or any(address in network for network in self.allow):
            return None
        return why

    def permits_redirect_to(self, port: int) -> bool:
        """Tell whether an http-01 redirect may go to the port."""
        return port in (80, 443, self.http_port, self.tls_port) or port in self.redirect_ports


def _inside(name: str, zone: str) -> bool:
    return name == zone or name.endswith("." + zone)


def _zone(text: str) -> str:
    try:
        return identifiers.parse("dns", text.strip(".")).base
    except Problem as problem:
        raise ValueError(problem.detail) from problem
