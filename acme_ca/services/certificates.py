"""The ledger for operators: search, and all there is to know of one certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import ColumnElement, Connection, and_, select, update

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.models import base, evidence
from acme_ca.models.certificate import CERTIFICATES, BlockedKey, Certificate, CertificateStatus
from acme_ca.models.order import Order
from acme_ca.models.selection import Selection, standing_at
from acme_ca.named import serial_of
from acme_ca.problems import Malformed, NotFound
from acme_ca.vocabulary import MAX_PAGE, Standing

MAX_LINEAGE = 10  # certificates in a line, each way
EVIDENCE_KEPT = timedelta(days=30)  # after the end of the certificate
SWEEP_BATCH = 500  # rows changed in one transaction


@dataclass(frozen=True, slots=True)
class Page:
    """Certificates, the newest first, and the cursor of the next page if there is one."""

    certificates: Sequence[Certificate]
    after: str | None


@dataclass(frozen=True, slots=True)
class Detail:
    """A certificate with what belongs to it.

    `chain` is DER, the issuer first and the root left out. `order` is None once it was swept; `evidence` is what
    `models/evidence.py` packed. `replaces` and `replaced_by` are the lineage, the nearest certificate first.
    """

    certificate: Certificate
    standing: str
    chain: tuple[bytes, ...]
    order: Order | None
    evidence: dict[str, Any] | None
    replaces: tuple[Certificate, ...]
    replaced_by: tuple[Certificate, ...]
    key_blocked: bool


def search(
    ca: Authority,
    selection: Selection,
    *,
    standing: Standing | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page:
    """Return the issued certificates of a selection, the newest first; `after` is where another page ended.

    Raises NotFound for an unknown environment, Malformed for a cursor or limit that cannot be.
    """
    require_environment(ca, selection.environment)
    check_page(after, limit)
    conditions = () if standing is None else (_condition(standing),)
    with ca.database.read() as connection:
        if standing == Standing.VALID:
            selection = selection.living(connection, clock.now())
        statement = selection.lines(*conditions, before=after).limit(limit + 1)
        found = base.find(connection, Certificate, statement)
    page = found[:limit]
    return Page(page, page[-1].id if len(found) > limit else None)


def detail(ca: Authority, environment: str, serial: str) -> Detail:
    """Return the certificate of an environment with a serial number (hexadecimal); raises NotFound."""
    wanted = serial_of(serial)
    with ca.database.read() as connection:
        found = base.find(connection, Certificate, base.select(Certificate, CERTIFICATES.c.serial == wanted))
        if not found or found[0].environment != environment:
            raise NotFound(f"environment {environment} has no certificate {wanted}")
        line = found[0]
        return Detail(
            certificate=line,
            standing=standing_of(line),
            chain=_chain(ca, line),
            order=base.get(connection, Order, line.order_id),
            evidence=evidence.unpack(line.evidence),
            replaces=_predecessors(connection, line),
            replaced_by=_successors(connection, line),
            key_blocked=base.get(connection, BlockedKey, line.key_sha256) is not None,
        )


def standing_of(line: Certificate) -> str:
    """Return how a certificate stands; one that was never issued: `claimed` or `abandoned`."""
    if line.status != CertificateStatus.ISSUED:
        return line.status
    if line.revoked_at is not None:
        return Standing.REVOKED.value
    return (Standing.EXPIRED if line.not_after <= clock.now() else Standing.VALID).value


def require_environment(ca: Authority, environment: str) -> None:
    """Raise NotFound unless there is such an environment."""
    if environment not in ca.environments:
        raise NotFound(f"there is no environment {environment[:64]!r}; there are {', '.join(ca.environments)}")


def check_page(after: str | None, limit: int) -> None:
    """Raise Malformed unless a cursor and a limit of a page can be."""
    if after is not None and not base.ID.fullmatch(after):
        raise Malformed("after: the cursor is not one of this list's; take it from the page before")
    if not 1 <= limit <= MAX_PAGE:
        raise Malformed(f"limit: expected 1 to {MAX_PAGE}, not {limit}")


def sweep(ca: Authority) -> int:
    """Forget the evidence of certificates that ended long ago, in small steps; return of how many."""
    horizon = clock.now() - EVIDENCE_KEPT
    ended = select(CERTIFICATES.c.id).where(CERTIFICATES.c.evidence.is_not(None), CERTIFICATES.c.not_after < horizon)
    gone, batch = 0, SWEEP_BATCH
    while batch == SWEEP_BATCH:
        with ca.database.read() as connection:  # a look first, so that an idle worker never takes the write turn
            ids = list(connection.scalars(ended.limit(SWEEP_BATCH)))
        if ids:
            with ca.database.write() as connection:
                connection.execute(update(CERTIFICATES).where(CERTIFICATES.c.id.in_(ids)).values(evidence=None))
        batch = len(ids)
        gone += batch
    return gone


def _condition(standing: Standing) -> ColumnElement[bool]:
    now = clock.now()
    if standing == Standing.VALID:
        return standing_at(now)
    if standing == Standing.REVOKED:
        return CERTIFICATES.c.revoked_at.is_not(None)
    return and_(CERTIFICATES.c.not_after <= now, CERTIFICATES.c.revoked_at.is_(None))


def _chain(ca: Authority, line: Certificate) -> tuple[bytes, ...]:
    environment = ca.environments.get(line.environment)
    for issuer in environment.all_issuers if environment is not None else ():
        if issuer.id == line.issuer_id:
            return tuple(link.public_bytes(Encoding.DER) for link in (issuer.certificate, *issuer.chain))
    return ()


def _predecessors(connection: Connection, line: Certificate) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    while line.replaces is not None and len(found) < MAX_LINEAGE:
        before = base.find(connection, Certificate, base.select(Certificate, CERTIFICATES.c.serial == line.replaces))
        if not before:
            break
        line = before[0]
        found.append(line)
    return tuple(found)


def _successors(connection: Connection, line: Certificate) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    while line.replaced_by is not None and len(found) < MAX_LINEAGE:
        issued = CERTIFICATES.c.status == CertificateStatus.ISSUED.value
        statement = base.select(Certificate, CERTIFICATES.c.order_id == line.replaced_by, issued)
        after = base.find(connection, Certificate, statement)
        if not after:
            break
        line = after[0]
        found.append(line)
    return tuple(found)
