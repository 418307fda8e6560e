"""Connections to validation targets. RFC 8555 §8.3, §10.2; RFC 8738 §4.

Whoever asks for a certificate chooses where these go, so each is made to an address that was looked up by the
configured resolvers, checked against the configured networks, and is dialled as such: nothing is resolved twice.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from acme_ca.challenges import dns
from acme_ca.challenges.base import Unanswered
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.dns import Addresses
from acme_ca.challenges.network import IpAddress, Network
from acme_ca.problems import ConnectionFailed, DnsFailed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_DIALLED = 4
BROKEN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""How a connection that the peer broke off looks in TLS; which of them it is depends on Python and on the moment."""
NO_LOOKUP = "none asked: an address"


class Oversized(Exception):
    """The peer sent more octets than it may."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection, and how it came about."""

    sock: socket.socket
    hostname: str
    port: int
    resolved: tuple[IpAddress, ...]
    used: IpAddress
    resolver: str

    def record(self) -> dict[str, Any]:
        """Return how it came about, in the terms that CAs use in the `validationRecord` of a challenge object."""
        return {
            "hostname": self.hostname,
            "port": self.port,
            "addressesResolved": [str(address) for address in self.resolved],
            "addressUsed": str(self.used),
            "resolver": self.resolver,
        }


class BoundedReader(io.RawIOBase):
    """The octets of a socket until the deadline and up to a number, however the peer cuts or delays them."""

    def __init__(self, sock: socket.socket, deadline: Deadline, octets: int) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self._octets = octets

    def readable(self) -> bool:
        """Tell io.BufferedReader that this can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read once; raises TimeoutError at the deadline and Oversized after the octets."""
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer)
        self._octets -= count
        if self._octets < 0:
            raise Oversized
        return count


@contextmanager
def connect(network: Network, host: str, port: int, deadline: Deadline) -> Iterator[Connection]:
    """Connect to a name or address, IPv6 first, then the others.

    Raises Unanswered when nobody is there, DnsFailed when the name has no address, and ConnectionFailed when the
    configuration allows none of its addresses.
    """
    resolution = resolve(network, host, deadline)
    allowed = _allowed(network, host, resolution)
    sock, used = _dial(_in_turns(allowed)[:MAX_DIALLED], host, port, deadline)
    try:
        yield Connection(sock, host, port, resolution.found, used, resolution.resolver)
    finally:
        sock.close()


def resolve(network: Network, host: str, deadline: Deadline) -> Addresses:
    """Return the addresses of a name, or the address itself; raises DnsFailed if there is none, and Unanswered."""
    try:
        return Addresses((ip_address(host),), NO_LOOKUP)
    except ValueError:
        resolution = dns.addresses(network, host, deadline)
    if not resolution.found:
        raise DnsFailed(f"{host} has no A or AAAA record, says resolver {resolution.resolver}")
    return resolution


def _allowed(network: Network, host: str, resolution: Addresses) -> list[IpAddress]:
    refusals = {address: network.refusal(address) for address in resolution.found}
    allowed = [address for address, why in refusals.items() if why is None]
    if not allowed:
        reasons = ", ".join(f"{address} ({why})" for address, why in refusals.items())
        raise ConnectionFailed(f"{host} is at {reasons}, where this CA does not connect; see validation.allow")
    return allowed


def _in_turns(addresses: list[IpAddress]) -> list[IpAddress]:
    """Order addresses IPv6, IPv4, IPv6, …, so that the first tries include both families. RFC 8305 §4."""
    seen = {4: 0, 6: 0}
    turns = []
    for address in addresses:
        turns.append((seen[address.version], -address.version, address))
        seen[address.version] += 1
    return [address for _, _, address in sorted(turns, key=lambda turn: turn[:2])]


def _dial(addresses: list[IpAddress], host: str, port: int, deadline: Deadline) -> tuple[socket.socket, IpAddress]:
    """Try the addresses in order, each with its share of the time that is left."""
    failures = []
    for index, address in enumerate(addresses):
        try:
            share = deadline.left() / (len(addresses) - index)
            return socket.create_connection((str(address), port), timeout=share), address
        except OSError as error:
            failures.append(f"{address} {describe(error)}")
    raise Unanswered(ConnectionFailed(f"cannot connect to {host} port {port}: {'; '.join(failures)}"))


def describe(error: OSError) -> str:
    """Say what happened to a connection, without numbers that differ between systems."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, (ConnectionError, *BROKEN_TLS)):
        return "broke the connection off"
    return f"failed: {(error.strerror or str(error)).lower()}"
