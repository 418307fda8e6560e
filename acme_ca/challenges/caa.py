"""CAA: may this CA issue for the name, by this challenge type, for this account? RFC 8659, RFC 8657.

Records are looked up at each issuance. Silence of a resolver never counts as permission.
"""

from __future__ import annotations

from dns.rdatatype import RdataType

from acme_ca.challenges import dns
from acme_ca.challenges.base import excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.dns import CaaRecord
from acme_ca.challenges.issue_value import IssueValue
from acme_ca.challenges.network import Network
from acme_ca.identifiers import Identifier
from acme_ca.problems import Caa

MAX_AHEAD = 8  # labels whose records are asked for together
# IANA registry of CAA properties. A critical property that is not here may be any restriction, RFC 8659 §4.1.
_KNOWN = frozenset({"issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"})


def check(
    network: Network,
    identifier: Identifier,
    method: str,
    account_url: str,
    caa_identities: tuple[str, ...],
) -> str:
    """Return what permits issuance, for the audit; raises Caa if it is forbidden, Unanswered, and DnsFailed."""
    if identifier.type != "dns" or dns.is_localhost(identifier.base):
        return f"CAA does not apply to {identifier.value}"
    owner, records = _relevant(network, identifier.base)
    if not records:
        return f"no CAA records from {identifier.base} up to {owner}"
    for record in records:
        if record.critical and record.tag not in _KNOWN:
            raise Caa(f"the CAA records at {owner} have the unknown critical property {excerpt(record.tag)}")
    properties = _applicable(records, wildcard=identifier.wildcard)
    if not properties:
        return f"the CAA records at {owner} do not restrict issuance for {identifier.value}"
    obstacles = []
    for record in properties:
        obstacle = _obstacle(record, method, account_url, caa_identities)
        if obstacle is None:
            return f"the CAA property {record.tag} {excerpt(record.value)} at {owner}"
        obstacles.append(f"{record.tag} {excerpt(record.value)} ({obstacle})")
    raise Caa(f"the CAA records at {owner} do not permit {identifier.value} to be issued: {'; '.join(obstacles)}")


def _relevant(network: Network, name: str) -> tuple[str, tuple[CaaRecord, ...]]:
    """Climb from the name towards the root to the first records; return their owner, or the last name asked. §3."""
    deadline = Deadline.after(network.timeout)
    labels = name.split(".")
    above = [".".join(labels[start:]) for start in range(min(len(labels), MAX_AHEAD))]
    ahead = dns.ask_ahead(network, above, (RdataType.CAA,), deadline)
    while True:
        records = dns.caa(network, name, deadline, ahead)
        parent = name.partition(".")[2]
        if records or not parent:
            return name, records
        name = parent


def _applicable(records: tuple[CaaRecord, ...], *, wildcard: bool) -> list[CaaRecord]:
    """Return the properties that decide: issuewild for wildcards, if there is any, or else issue. §4.3."""
    wild = [record for record in records if record.tag == "issuewild"] if wildcard else []
    return wild or [record for record in records if record.tag == "issue"]


def _obstacle(record: CaaRecord, method: str, account_url: str, caa_identities: tuple[str, ...]) -> str | None:
    """Say why the property does not permit issuance, or return None if it does."""
    try:
        value = IssueValue.parse(record.value)
    except ValueError as error:  # §4.2: a malformed value names no issuer
        return str(error)
    if value.issuer not in caa_identities:
        return f"expected {' or '.join(caa_identities) or 'another issuer'}"
    accounts = value.values("accounturi")
    if accounts and accounts != (account_url,):  # RFC 8657 §3: two of them cannot be satisfied
        return f"the account is {account_url}"
    methods = value.values("validationmethods")
    if methods and (len(methods) > 1 or method not in methods[0].lower().split(",")):  # RFC 8657 §4
        return f"the challenge type is {method}"
    return None
