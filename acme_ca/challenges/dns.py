"""DNS questions of validation: by the configured resolvers only, bounded in time and size. RFC 1034, RFC 2308.

NXDOMAIN and NODATA are answers: no records. SERVFAIL, REFUSED, garbage and timeouts are silence: the next resolver is
asked, and when none answers, Unanswered is raised with what each of them did.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import dns.edns
import dns.exception
import dns.message
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from acme_ca.challenges import dns_wire
from acme_ca.challenges.base import Unanswered, excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.dns_wire import Question, Reply
from acme_ca.challenges.network import IpAddress, Network, Resolver
from acme_ca.problems import DnsFailed

MAX_ALIASES = 8
MAX_ADDRESSES = 16
AHEAD = 0.25  # seconds in which a resolver nearby answers what it is asked ahead
ADDRESS_TYPES = (RdataType.AAAA, RdataType.A)
SPECIAL_USE = "none asked: RFC 6761"


Ahead = Mapping[Question, tuple[Reply, Resolver]]
"""Answers to questions that were put together, and who gave them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one name and type. `resolver` tells who said so, `aliases` the CNAMEs that were followed."""

    records: tuple[Rdata, ...]
    resolver: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a name, IPv6 first, and who said so."""

    found: tuple[IpAddress, ...]
    resolver: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The TXT records of a name, the strings of each joined, and who said so."""

    found: tuple[str, ...]
    resolver: str


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One CAA property. RFC 8659 §4.1."""

    critical: bool
    tag: str
    value: str


def ask_ahead(network: Network, names: Iterable[str], rdtypes: Iterable[RdataType], deadline: Deadline) -> Ahead:
    """Ask for several names and types at once; what does not come at once is left to `query`, which asks again."""
    questions = [Question(name, rdtype) for name in names for rdtype in rdtypes]
    asked = [(network.resolvers_for(question.name), question) for question in questions]
    by_udp = [(resolvers[0], question) for resolvers, question in asked if resolvers and resolvers[0].protocol == "udp"]
    try:
        replies = dns_wire.ask_together(by_udp, deadline.within(AHEAD))
    except dns_wire.BadName:
        return {}
    resolver_of = {question: resolver for resolver, question in by_udp}
    return {question: (reply, resolver_of[question]) for question, reply in replies.items() if reply.decides}


def query(network: Network, name: str, rdtype: RdataType, deadline: Deadline, ahead: Ahead | None = None) -> Answer:
    """Return the records of a name, behind its aliases if there are any; raises Unanswered, and DnsFailed for loops.

    `ahead` are answers that are there already.
    """
    if is_localhost(name):
        return Answer((), SPECIAL_USE)
    aliases: list[str] = []
    while True:
        question = Question(aliases[-1] if aliases else name, rdtype)
        reply, resolver = (ahead or {}).get(question) or _ask_any(network, question, deadline)
        records, followed = _unfold(reply, question, resolver) if reply.answers else ((), ())
        aliases += followed
        if len(aliases) > MAX_ALIASES or len(set(aliases)) < len(aliases):
            raise DnsFailed(f"{name} has more than {MAX_ALIASES} aliases (CNAME), or they go in a circle")
        if records or not followed or reply.recursive:
            return Answer(records, str(resolver), tuple(aliases))
        # The server is no recursive one and the alias leads out of its zones: ask for the target.


def addresses(network: Network, name: str, deadline: Deadline) -> Addresses:
    """Return the AAAA and A records of a name; one type's silence is put up with if the other one answers."""
    if is_localhost(name):  # RFC 6761 §6.3
        return Addresses((IPv6Address("::1"), IPv4Address("127.0.0.1")), SPECIAL_USE)
    found: list[IpAddress] = []
    resolver = ""
    silence: Unanswered | None = None
    ahead = ask_ahead(network, (name,), ADDRESS_TYPES, deadline)
    for rdtype in ADDRESS_TYPES:
        try:
            answer = query(network, name, rdtype, deadline, ahead)
        except Unanswered as unanswered:
            silence = unanswered
            continue
        resolver = answer.resolver
        found += _addresses_of(answer.records)
    if silence is not None and not found:
        raise silence
    return Addresses(tuple(found), resolver)


def texts(network: Network, name: str, deadline: Deadline) -> Texts:
    """Return the TXT records of a name. RFC 1035 §3.3.14."""
    answer = query(network, name, RdataType.TXT, deadline)
    joined = (b"".join(record.strings) for record in answer.records if isinstance(record, TXT))
    return Texts(tuple(text.decode("utf-8", "backslashreplace") for text in joined), answer.resolver)


def caa(network: Network, name: str, deadline: Deadline, ahead: Ahead | None = None) -> tuple[CaaRecord, ...]:
    """Return the CAA records of a name, tags in lower case. RFC 8659 §4.1. `ahead` is as for `query`."""
    records = query(network, name, RdataType.CAA, deadline, ahead).records
    return tuple(
        CaaRecord(
            critical=bool(record.flags & 0x80),
            tag=record.tag.decode("ascii", "backslashreplace").lower(),
            value=record.value.decode("utf-8", "backslashreplace"),
        )
        for record in records
        if isinstance(record, CAA)
    )


def is_localhost(name: str) -> bool:
    """Tell whether the name is `localhost` or below, which no resolver is asked for. RFC 6761 §6.3."""
    return name == "localhost" or name.endswith(".localhost")


def _addresses_of(records: Iterable[Rdata]) -> Iterator[IpAddress]:
    for record in list(records)[:MAX_ADDRESSES]:
        if isinstance(record, A):
            yield IPv4Address(record.address)
        elif isinstance(record, AAAA):
            yield IPv6Address(record.address)


def _ask_any(network: Network, question: Question, deadline: Deadline) -> tuple[Reply, Resolver]:
    """Ask one resolver after the other until one answers."""
    resolvers = network.resolvers_for(question.name)
    if not resolvers:
        raise DnsFailed(f"no resolver is configured for {question.name}; see validation.resolvers of the environment")
    failures = []
    for resolver in resolvers:
        try:
            reply = dns_wire.ask(resolver, question, deadline.within(network.dns_timeout))
        except dns_wire.BadName as error:
            raise DnsFailed(str(error)) from error
        except OSError as error:
            failures.append(f"{resolver} {_describe(error, network)}")
            continue
        if reply.decides:
            return reply, resolver
        failures.append(f"{resolver} answered {_error_of(reply)}")
    raise Unanswered(DnsFailed(f"no answer to {question}: {'; '.join(failures)}"))


def _describe(error: OSError, network: Network) -> str:
    if isinstance(error, TimeoutError):
        return f"did not answer within {network.dns_timeout:g} s"
    if isinstance(error, ssl.SSLError):
        return f"failed in TLS: {error.reason or error}"
    return f"failed: {(error.strerror or str(error)).lower()}"


def _error_of(reply: Reply) -> str:
    """Name the response code, with the resolver's own explanation if it gave one. RFC 8914."""
    name = Rcode(reply.rcode).name
    if reply.oversized:
        return name
    try:
        options = dns.message.from_wire(reply.octets, ignore_trailing=True).options
    except (dns.exception.DNSException, ValueError):
        return name
    explained = [
        str(option.code) + (f" {excerpt(option.text)}" if option.text else "")
        for option in options
        if isinstance(option, dns.edns.EDEOption)
    ]
    return f"{name} (extended error {', '.join(explained)})" if explained else name


def _unfold(reply: Reply, question: Question, resolver: Resolver) -> tuple[tuple[Rdata, ...], tuple[str, ...]]:
    """Follow the aliases that the answer itself holds; return the records at their end, and the aliases."""
    if reply.oversized:
        raise DnsFailed(f"{resolver} answered {question} with more than {dns_wire.MAX_RECORDS} records")
    try:
        sections = dns.message.from_wire(reply.octets, ignore_trailing=True).answer
    except (dns.exception.DNSException, ValueError) as error:
        raise Unanswered(DnsFailed(f"{resolver} answered {question} with a malformed message: {error}")) from error
    held: dict[tuple[str, RdataType], list[Rdata]] = {}
    for rrset in sections:
        if rrset.rdclass == RdataClass.IN:
            held.setdefault((rrset.name.to_text(omit_final_dot=True).lower(), rrset.rdtype), []).extend(rrset)
    name = question.name
    aliases: list[str] = []
    while (name, question.rdtype) not in held and len(aliases) <= MAX_ALIASES:
        alias = next(iter(held.get((name, RdataType.CNAME), ())), None)
        if not isinstance(alias, CNAME):
            return (), tuple(aliases)
        name = alias.target.to_text(omit_final_dot=True).lower()
        aliases.append(name)
    return tuple(held.get((name, question.rdtype), ())), tuple(aliases)
