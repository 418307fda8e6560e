"""Identifiers of orders: dns (RFC 8555 §9.7.7, RFC 5280 §4.2.1.6) and ip (RFC 8738). Normalised or refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

import idna

from acme_ca.problems import Compound, Malformed, Problem, RejectedIdentifier, UnsupportedIdentifier

IdentifierType = Literal["dns", "ip"]
IpAddress = IPv4Address | IPv6Address

MAX_NAME = 253  # octets of a name in text without the trailing dot, RFC 1035 §2.3.4
MAX_LABEL = 63
_MAX_SHOWN = 80

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SIMPLE_LABEL = re.compile(_LABEL)
_FOREIGN = re.compile(r"[^a-z0-9.-]")
# Resolvers read a name whose last label is a number, hexadecimal ones too, as an IPv4 address (inet_aton).
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A name that certificates are issued for: what `parse` returns is normalised, so equal names compare equal.

    `value` is a lower-case name of A-labels that may start with `*.`, or an address in the form of RFC 5952.
    """

    type: IdentifierType
    value: str

    @property
    def wildcard(self) -> bool:
        """Whether the name is a wildcard. RFC 8555 §7.1.3."""
        return self.value.startswith("*.")

    @property
    def base(self) -> str:
        """The value without a leading `*.`: the name that authorizations and challenges are about. §7.1.4."""
        return self.value.removeprefix("*.")

    def wire(self) -> dict[str, str]:
        """Return the identifier object of RFC 8555 §7.1.3."""
        return {"type": self.type, "value": self.value}

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


def parse(type_: str, value: str) -> Identifier:
    """Return the normalised identifier.

    Raises Malformed for bad syntax, UnsupportedIdentifier for another type, and RejectedIdentifier for an address
    that is well-formed but names no host.
    """
    if type_ == "dns":
        return Identifier("dns", _parse_dns(value))
    if type_ == "ip":
        return Identifier("ip", _parse_ip(value))
    raise UnsupportedIdentifier(f"identifier type {_shown(type_)} is not supported; expected dns or ip")


def parse_many(bodies: Iterable[tuple[str, str]], limit: int = 100) -> tuple[Identifier, ...]:
    """Return the identifiers of an order, duplicates dropped, in the order given. RFC 8555 §7.4.

    One wrong identifier raises its problem; several raise one problem with a subproblem for each (§6.7.1).
    """
    pairs = tuple(bodies)
    if not pairs:
        raise Malformed("identifiers is empty; expected at least one identifier")
    if len(pairs) > limit:
        raise Malformed(f"the order has {len(pairs)} identifiers; at most {limit} are accepted")
    found: dict[Identifier, None] = {}
    refused: list[Problem] = []
    for type_, value in pairs:
        try:
            found[parse(type_, value)] = None
        except Problem as problem:
            wire = {"type": _printable(type_), "value": _printable(value)}
            refused.append(type(problem)(problem.detail, identifier=wire))
    if refused:
        raise combine(tuple(refused))
    return tuple(found)


def combine(problems: tuple[Problem, ...]) -> Problem:
    """Return one problem that stands for several, each of which names its identifier. RFC 8555 §6.7.1.

    Problems of one type keep it, since clients act on the type; others become `compound`. A single problem is
    returned without its `identifier`, which §6.7.1 forbids outside of subproblems; its detail tells the name.
    """
    first, *others = problems
    if not others:
        return type(first)(first.detail)
    kind = type(first) if all(type(other) is type(first) for other in others) else Compound
    return kind(f"{len(problems)} identifiers are refused; see the subproblems", subproblems=problems)


def reverse_name(ip: str) -> str:
    """Return the name below in-addr.arpa or ip6.arpa that tls-alpn-01 sends as SNI for an address. RFC 8738 §6."""
    return ip_address(ip).reverse_pointer


def _parse_dns(value: str) -> str:
    name = value.lower() if value.isascii() else value  # lower() of "K" (Kelvin sign) is the letter k
    base = name.removeprefix("*.")
    if len(name) > MAX_NAME or not _NAME.fullmatch(base) or _NUMERIC_LABEL.fullmatch(base.rpartition(".")[2]):
        raise _dns_mistake(value, name, base)
    if "xn--" in base:
        _check_a_labels(base)
    return name


def _dns_mistake(value: str, name: str, base: str) -> Malformed:
    """Say what is wrong with a name that is not at most 253 octets of LDH labels, the last one no number."""
    shown = f"dns identifier {_shown(value)}"
    if not base:
        return Malformed(f"{shown} has no name")
    if len(name) > MAX_NAME:
        return Malformed(f"{shown} has {len(name)} characters; at most {MAX_NAME} are allowed")
    if not value.isascii():
        return Malformed(f"{shown} is not ASCII; expected A-labels{_a_label_hint(name)}")
    return _syntax_mistake(shown, base)


def _syntax_mistake(shown: str, base: str) -> Malformed:
    if _address(base) is not None:
        return Malformed(f"{shown} is an IP address; expected a name, or the identifier type ip (RFC 8738)")
    if base.endswith("."):
        return Malformed(f"{shown} ends with a dot; expected the name without it")
    if "*" in base:
        return Malformed(f"{shown} has a misplaced asterisk; a wildcard is the whole leftmost label and only that")
    if foreign := _FOREIGN.search(base):
        return Malformed(f"{shown} contains {foreign.group()!a}; expected letters, digits, hyphens and dots")
    return _label_mistake(shown, base)


def _label_mistake(shown: str, base: str) -> Malformed:
    bad = next((label for label in base.split(".") if not _SIMPLE_LABEL.fullmatch(label)), None)
    if bad is None:
        return Malformed(f"{shown} ends with a number; the last label of a name is not numeric")
    if not bad:
        return Malformed(f"{shown} has an empty label")
    if len(bad) > MAX_LABEL:
        return Malformed(f"{shown} has a label of {len(bad)} characters; at most {MAX_LABEL} are allowed")
    return Malformed(f"{shown} has the label {bad!a}; a label neither starts nor ends with a hyphen")


def _check_a_labels(base: str) -> None:
    """Refuse labels that start with xn-- and are not the A-label of an IDNA2008 U-label. RFC 5890 §2.3.2.1."""
    for label in base.split("."):
        if not label.startswith("xn--"):
            continue
        try:
            idna.ulabel(label)  # from 3.20 on it refuses what is not the one A-label of its U-label, too
        except UnicodeError as error:  # IDNAError is one
            raise Malformed(f"label {label!a} is not a valid A-label (IDNA2008): {ascii(str(error))[1:-1]}") from error


def _a_label_hint(name: str) -> str:
    try:
        encoded = idna.encode(name.removeprefix("*."), uts46=True).decode()
    except UnicodeError:
        return " (it has none under IDNA2008)"
    return f": {encoded}"


def _parse_ip(value: str) -> str:
    shown = f"ip identifier {_shown(value)}"
    if "%" in value:
        raise Malformed(f"{shown} has a zone; expected an address alone")
    address = _address(value)
    if address is None:
        raise Malformed(f"{shown} is not an IPv4 or IPv6 address")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise RejectedIdentifier(f"{shown} is an IPv4-mapped address; expected {address.ipv4_mapped}")
    canonical = str(address)
    if value != canonical:
        raise Malformed(f"{shown} is not in canonical form (RFC 8738 §3, RFC 5952); expected {canonical}")
    if address.is_unspecified or address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise RejectedIdentifier(f"{shown} is an unspecified, multicast or broadcast address; expected a host's")
    return canonical


def _address(text: str) -> IpAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _printable(text: str) -> str:
    """Return the text as a client sent it, bounded and with no lone surrogates, which UTF-8 cannot carry."""
    return text[:MAX_NAME].encode("utf-8", "replace").decode()


def _shown(text: str) -> str:
    """Quote what a client sent, escaped and bounded."""
    return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
