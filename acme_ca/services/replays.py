"""Another policy tried on what was really ordered: the ledger of the last hours, open and failed orders, refusals.

What can be replayed is what is still known. The ledger knows every certificate for good. Orders that came to nothing
are known for a day after they end. Refused orders are known by their audit events, where such are kept; of neither is
the kind of a key known. The answer says how many of each it saw, and whether it had to stop early.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from sqlalchemy import select

from acme_ca import clock, identifiers, public_keys
from acme_ca.db import Database
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.account import ACCOUNTS
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.models.binding import BINDINGS, Binding
from acme_ca.models.certificate import CERTIFICATES, SUB_CA, CertificateStatus
from acme_ca.models.order import ORDERS, OrderStatus
from acme_ca.policy.conditions import Applicant
from acme_ca.policy.engine import Policy
from acme_ca.policy.grants import Grant
from acme_ca.policy.petitions import Petition, Terms
from acme_ca.policy.scope import Scope, stored
from acme_ca.policy.verdicts import Difference, Outcome, differences
from acme_ca.problems import Problem
from acme_ca.services.orders import NAME_SHOWN

BATCH = 500  # rows read at once
MAX_ROWS = 200_000  # of each source
MAX_KNOWN = 20_000  # distinct orders whose judgement is remembered
MAX_FINDINGS = 1000


@dataclass(slots=True)
class Finding:
    """What would be different for a name (empty: for orders as a whole), by which rule and why, in how many orders."""

    outcome: Outcome
    name: str
    rule: str | None
    reason: str
    orders: int = 0
    accounts: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Replay:
    """What a replay covered and found. `partial` when a source had more rows than are looked at."""

    since: datetime
    certificates: int = 0
    unfinished: int = 0
    refused: int = 0
    partial: bool = False
    denied: int = 0
    allowed: int = 0
    shortened: int = 0
    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    """Findings that are not among `findings`, which are bounded."""


def replay(
    database: Database,
    environment: str,
    policies: tuple[Policy, Policy],
    hours: float,
    *,
    terms: Terms,
) -> Replay:
    """Judge the orders of the last hours by the policy in force and by another one; return what would be different."""
    found = Replay(since=clock.now() - timedelta(hours=hours))
    source = _Source(database, environment, found, terms)
    judged: dict[Any, tuple[Difference, ...]] = {}
    findings: dict[Difference, Finding] = {}
    for petition in source.petitions():
        key = _key(petition)
        if key not in judged:
            if len(judged) >= MAX_KNOWN:
                judged.clear()
            judged[key] = differences(*policies, terms, petition)
        _note(found, findings, petition, judged[key])
    found.findings = sorted(findings.values(), key=lambda one: (-one.orders, one.outcome, one.name))
    return found


def _note(found: Replay, findings: dict[Difference, Finding], petition: Petition, seen: Iterable[Difference]) -> None:
    outcomes = {difference.outcome for difference in seen}
    # An order of which one name is refused is refused, whatever else would be allowed.
    found.denied += "deny" in outcomes
    found.allowed += "allow" in outcomes and "deny" not in outcomes
    found.shortened += "shorten" in outcomes
    for difference in seen:
        finding = findings.get(difference)
        if finding is None:
            if len(findings) >= MAX_FINDINGS:
                found.more += 1
                continue
            finding = findings[difference] = Finding(
                difference.outcome, difference.name, difference.rule, difference.reason
            )
        finding.orders += 1
        if len(finding.accounts) < MAX_FINDINGS:
            finding.accounts.add(petition.applicant.account_id)


def _key(petition: Petition) -> Any:  # noqa: ANN401 - a key of a cache
    applicant = petition.applicant
    who = (applicant.account_id, applicant.eab_label, applicant.workload_rule, repr(applicant.claims))
    what = (applicant.profile, applicant.key_type, petition.names, petition.covered, petition.lifetime)
    return who, what, petition.grant, petition.requested


@dataclass(frozen=True, slots=True)
class _Account:
    """What policy looks at of an account; nothing is known of one that was swept."""

    eab_label: str | None = None
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """What was ordered in an environment, batch by batch: nothing is held open between two."""

    database: Database
    environment: str
    found: Replay
    terms: Terms

    def petitions(self) -> Iterator[Petition]:
        yield from self._issued()
        yield from self._unfinished()
        yield from self._refused()

    def _issued(self) -> Iterator[Petition]:
        columns = CERTIFICATES.c
        wanted = (
            columns.id,
            columns.account_id,
            columns.names,
            columns.profile,
            columns.binding_id,
            columns.not_before,
            columns.not_after,
            columns.der,
        )
        conditions = (
            columns.environment == self.environment,
            columns.status == CertificateStatus.ISSUED.value,
            columns.account_id != SUB_CA,  # policy has no say in them
        )
        for rows in self._batches(select(*wanted).where(*conditions), columns.id):
            accounts, bindings = self._accounts(rows), self._bindings(rows)
            for row in rows:
                self.found.certificates += 1
                names = tuple(_identifier(name) for name in row.names)
                binding = bindings.get(row.binding_id)
                grant = None if binding is None else Grant.from_document(binding.grant)
                yield Petition(
                    applicant=Applicant(
                        account_id=row.account_id,
                        eab_label=accounts[row.account_id].eab_label,
                        workload_rule=None if grant is None else grant.rule,
                        claims={} if binding is None else binding.claims,
                        profile=row.profile,
                        key_type=_key_type(row.der),
                        scope=accounts[row.account_id].scope,
                    ),
                    names=names,
                    covered=_covered(names, grant),
                    grant=grant,
                    requested=row.profile,
                    may_prove=False,
                    lifetime=round((row.not_after - row.not_before).total_seconds()),
                )

    def _unfinished(self) -> Iterator[Petition]:
        columns = ORDERS.c
        wanted = (columns.id, columns.account_id, columns.identifiers, columns.requested_profile)
        conditions = (columns.environment == self.environment, columns.status != OrderStatus.VALID.value)
        for rows in self._batches(select(*wanted).where(*conditions), columns.id):
            accounts = self._accounts(rows)
            for row in rows:
                self.found.unfinished += 1
                names = tuple(Identifier(body["type"], body["value"]) for body in row.identifiers)
                yield self._pending(row.account_id, accounts, names, row.requested_profile)

    def _refused(self) -> Iterator[Petition]:
        columns = AUDIT_EVENTS.c
        last, looked_at = None, 0
        while looked_at < MAX_ROWS:
            statement = select(columns.id, columns.at, columns.environment, columns.event, columns.account_id)
            statement = statement.add_columns(columns.details).order_by(columns.id.desc()).limit(BATCH)
            if last is not None:
                statement = statement.where(columns.id < last)
            with self.database.read() as connection:
                rows = connection.execute(statement).all()
            recent = [row for row in rows if row.at >= self.found.since]
            own = [row for row in recent if (row.environment, row.event) == (self.environment, "order.refused")]
            accounts = self._accounts(own)
            for row in own:
                names = _names_of(row.details)
                if names:
                    self.found.refused += 1
                    profile = row.details.get("profile")
                    requested = None if profile is None else str(profile)
                    yield self._pending(row.account_id or "", accounts, names, requested)
            if len(recent) < BATCH:
                return
            last, looked_at = rows[-1].id, looked_at + len(rows)
        self.found.partial = True

    def _batches(self, statement: Any, id_: Any) -> Iterator[Sequence[Any]]:  # noqa: ANN401 - SQLAlchemy's
        """Yield rows that were made since then, in the order of their identifiers, which begin with their time."""
        last = base.first_id(self.found.since)
        for _ in range(MAX_ROWS // BATCH):
            with self.database.read() as connection:
                rows = connection.execute(statement.where(id_ > last).order_by(id_).limit(BATCH)).all()
            yield rows
            if len(rows) < BATCH:
                return
            last = rows[-1].id
        self.found.partial = True

    def _accounts(self, rows: Sequence[Any]) -> Mapping[str, _Account]:
        wanted = {row.account_id for row in rows if row.account_id}
        columns = ACCOUNTS.c
        statement = select(columns.id, columns.eab_label, columns.scope).where(columns.id.in_(wanted))
        with self.database.read() as connection:
            found = connection.execute(statement).all()
        return defaultdict(_Account, {row.id: _Account(row.eab_label, stored(row.scope)) for row in found})

    def _bindings(self, rows: Sequence[Any]) -> Mapping[str, Binding]:
        wanted = {row.binding_id for row in rows if row.binding_id}
        if not wanted:
            return {}
        with self.database.read() as connection:
            found = base.find(connection, Binding, base.select(Binding, BINDINGS.c.id.in_(wanted)))
        return {binding.id: binding for binding in found}

    def _pending(
        self,
        account_id: str,
        accounts: Mapping[str, _Account],
        names: tuple[Identifier, ...],
        requested: str | None,
    ) -> Petition:
        """Return what was asked for by somebody of whose workload nothing is known."""
        profile = self.terms.default_profile if requested is None else requested
        account = accounts[account_id]
        applicant = Applicant(account_id, account.eab_label, profile=profile, scope=account.scope)
        return Petition(applicant, names, requested=requested)


def _covered(names: Sequence[Identifier], grant: Grant | None) -> frozenset[Identifier]:
    """Return the names that a workload had; a URI was one's, though its binding may be forgotten."""
    return frozenset(name for name in names if name.type == "uri" or (grant is not None and grant.covers(name)))


def _identifier(text: str) -> Identifier:
    kind, _, value = text.partition(":")
    if kind == "dns":
        return Identifier("dns", value)
    return Identifier("ip", value) if kind == "ip" else Identifier("uri", value)


def _names_of(details: Mapping[str, Any]) -> tuple[Identifier, ...]:
    """Return the names of a refused order as its event tells them: texts like dns:a.example, or objects.

    They are as the client wrote them. An order with one that is none is refused whatever a policy says: no names then.
    """
    found = details.get("identifiers") or details.get("names") or ()
    texts = [f"{one.get('type')}:{one.get('value')}" if isinstance(one, dict) else str(one) for one in found]
    if any(len(text) >= NAME_SHOWN for text in texts):  # cut off there
        return ()
    try:
        return identifiers.parse_many([(kind, value) for kind, _, value in (text.partition(":") for text in texts)])
    except Problem:
        return ()


def _key_type(der: bytes) -> str:
    try:
        return public_keys.check(x509.load_der_x509_certificate(der).public_key())
    except (ValueError, Problem):  # a kind that this version no longer takes
        return ""
