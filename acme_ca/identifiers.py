"""Identifiers of orders: dns (RFC 8555 §9.7.7, RFC 5280 §4.2.1.6), ip (RFC 8738) and uri. Normalised or refused.

A uri is a SPIFFE ID with a path, as the SPIFFE-ID standard §2 has it. It has one form only, so that nothing of it is
ever normalised and equal IDs are equal octets. docs/workload-identity-00.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

import idna

from acme_ca.problems import Compound, Malformed, Problem, RejectedIdentifier, UnsupportedIdentifier

IdentifierType = Literal["dns", "ip", "uri"]
IpAddress = IPv4Address | IPv6Address

MAX_NAME = 253  # octets of a name in text without the trailing dot, RFC 1035 §2.3.4
MAX_LABEL = 63
MAX_SPIFFE_ID = 2048  # octets, SPIFFE-ID §2.3
MAX_TRUST_DOMAIN = 255
SPIFFE = "spiffe://"
_MAX_SHOWN = 80

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SIMPLE_LABEL = re.compile(_LABEL)
_FOREIGN = re.compile(r"[^a-z0-9.-]")
# Resolvers read a name whose last label is a number, hexadecimal ones too, as an IPv4 address (inet_aton).
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_TRUST_DOMAIN_FOREIGN = re.compile(r"[^a-z0-9._-]")
_SEGMENT_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A name that certificates are issued for: what `parse` returns is normalised, so equal names compare equal.

    `value` is a lower-case name of A-labels that may start with `*.`, an address in the form of RFC 5952, or a SPIFFE
    ID in the very octets that it was given in.
    """

    type: IdentifierType
    value: str

    @property
    def wildcard(self) -> bool:
        """Whether the name is a wildcard. RFC 8555 §7.1.3."""
        return self.type == "dns" and self.value.startswith("*.")

    @property
    def base(self) -> str:
        """The value without a leading `*.`: the name that authorizations and challenges are about. §7.1.4."""
        return self.value.removeprefix("*.")

    def wire(self) -> dict[str, str]:
        """Return the identifier object of RFC 8555 §7.1.3."""
        return {"type": self.type, "value": self.value}

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A SPIFFE ID: `path` is empty or starts with a slash. `str` gives back the octets that were parsed."""

    trust_domain: str
    path: str

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path between its slashes; none for the ID of a trust domain itself."""
        return tuple(self.path.split("/")[1:])

    def __str__(self) -> str:
        return f"{SPIFFE}{self.trust_domain}{self.path}"


def parse(type_: str, value: str) -> Identifier:
    """Return the normalised identifier.

    Raises Malformed for bad syntax, UnsupportedIdentifier for another type or a URI of another scheme than spiffe, and
    RejectedIdentifier for an address that is well-formed but names no host.
    """
    if type_ == "dns":
        return Identifier("dns", _parse_dns(value))
    if type_ == "ip":
        return Identifier("ip", _parse_ip(value))
    if type_ == "uri":
        return Identifier("uri", _parse_uri(value))
    raise UnsupportedIdentifier(f"identifier type {_shown(type_)} is not supported; expected dns, ip or uri")


def parse_spiffe_id(text: str) -> SpiffeId:
    """Return the parts of a SPIFFE ID, which may be that of a trust domain itself; raises Malformed. SPIFFE-ID §2."""
    shown = f"SPIFFE ID {_shown(text)}"
    if len(text) > MAX_SPIFFE_ID:  # more characters are more octets; what is not ASCII is refused below
        raise Malformed(f"{shown} has {len(text)} characters; at most {MAX_SPIFFE_ID} are allowed")
    if not text.startswith(SPIFFE):
        raise Malformed(f"{shown} does not start with {SPIFFE} in lower case")
    trust_domain, slash, path = text.removeprefix(SPIFFE).partition("/")
    _check_trust_domain(shown, trust_domain)
    for segment in path.split("/") if slash else ():
        _check_segment(shown, segment)
    return SpiffeId(trust_domain, slash + path)


def type_of(value: str) -> IdentifierType:
    """Return what an operator means who wrote a name without its type: `uri`, `ip` or `dns`. It need not be good."""
    if "://" in value:
        return "uri"
    return "ip" if ":" in value or value.replace(".", "").isdigit() else "dns"


def parse_many(bodies: Iterable[tuple[str, str]], limit: int = 100) -> tuple[Identifier, ...]:
    """Return the identifiers of an order, duplicates dropped, in the order given. RFC 8555 §7.4.

    One wrong identifier raises its problem; several raise one problem with a subproblem for each (§6.7.1). Of several
    uris only one can go into a certificate (X509-SVID §2), so that an order with more is Malformed.
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
    if (uris := sum(identifier.type == "uri" for identifier in found)) > 1:
        raise Malformed(f"the order has {uris} different uri identifiers; a certificate has one SPIFFE ID at most")
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


def _parse_uri(value: str) -> str:
    scheme = _SCHEME.match(value)
    if scheme and scheme[1].lower() != "spiffe":
        raise UnsupportedIdentifier(f"uri identifier {_shown(value)} is not supported; expected a SPIFFE ID")
    if not parse_spiffe_id(value).path:
        raise Malformed(f"uri identifier {_shown(value)} names a trust domain; expected a SPIFFE ID with a path")
    return value


def _check_trust_domain(shown: str, trust_domain: str) -> None:
    if not trust_domain:
        raise Malformed(f"{shown} has no trust domain")
    if foreign := _TRUST_DOMAIN_FOREIGN.search(trust_domain):
        raise Malformed(
            f"{shown} contains {foreign.group()!a} in its trust domain; expected lower-case letters, digits, dots, "
            "hyphens and underscores: no port, no user, no percent-encoding"
        )
    if len(trust_domain) > MAX_TRUST_DOMAIN:
        raise Malformed(
            f"{shown} has a trust domain of {len(trust_domain)} characters; at most {MAX_TRUST_DOMAIN} are allowed"
        )


def _check_segment(shown: str, segment: str) -> None:
    if not segment:
        raise Malformed(f"{shown} has an empty path segment, or ends with a slash")
    if segment in {".", ".."}:
        raise Malformed(f"{shown} has the path segment {segment!r}; relative segments are not allowed")
    if foreign := _SEGMENT_FOREIGN.search(segment):
        raise Malformed(
            f"{shown} contains {foreign.group()!a} in its path; expected letters, digits, dots, hyphens and "
            "underscores between slashes: no query, no fragment, no percent-encoding"
        )


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
