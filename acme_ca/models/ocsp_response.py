"""OCSP responses that were signed ahead, for whoever asks without a nonce. RFC 5019 §2.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select, update

from acme_ca.models import base
from acme_ca.models.base import Record, table_of
from acme_ca.models.certificate import CERTIFICATES, Certificate, CertificateStatus, serial_text
from acme_ca.models.prepared import Prepared


@dataclass(kw_only=True)
class OcspResponse(Record):
    """The response about one certificate, of which it is gone as soon as the certificate is revoked.

    `issuer_id` is of its issuer; clients that name the certificate by SHA-1 get `der`.
    """

    serial: str
    issuer_id: str
    status: str
    this_update: datetime
    next_update: datetime
    der: bytes


OCSP_RESPONSES = table_of(OcspResponse, "ocsp_responses")

_DELETE = Prepared(delete(OCSP_RESPONSES).where(OCSP_RESPONSES.c.serial == bindparam("serial")))
_DUE = Prepared(
    base.select(
        Certificate,
        CERTIFICATES.c.issuer_id == bindparam("issuer_id"),
        CERTIFICATES.c.status == CertificateStatus.ISSUED.value,  # not one that is being signed
        CERTIFICATES.c.ocsp_due_at <= bindparam("now", type_=CERTIFICATES.c.ocsp_due_at.type),
    )
    .order_by(CERTIFICATES.c.ocsp_due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_NEXT_DUE = Prepared(
    update(CERTIFICATES)
    .where(CERTIFICATES.c.id == bindparam("_id"))
    .values(ocsp_due_at=bindparam("due_at", type_=CERTIFICATES.c.ocsp_due_at.type))
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger says of a serial that was issued; `reason` is a code of RFC 5280 §5.3.1."""

    revoked_at: datetime | None
    reason: int | None


def forget(connection: Connection, serial: str) -> None:
    """Remove the response about a certificate, if there is one."""
    _DELETE.change(connection, {"serial": serial})


def due(connection: Connection, issuer_id: str, now: datetime, most: int) -> list[Certificate]:
    """Return an issuer's certificates of which a response is due, held until the transaction ends."""
    return base.find(connection, Certificate, _DUE, issuer_id=issuer_id, now=now, most=most)


def kept_until(connection: Connection, lines: Sequence[Certificate]) -> dict[str, datetime]:
    """Return the nextUpdate of the responses that are kept about certificates, by their serials."""
    columns = OCSP_RESPONSES.c
    statement = select(columns.serial, columns.next_update).where(columns.serial.in_([line.serial for line in lines]))
    return {row.serial: row.next_update for row in connection.execute(statement)}


def keep(connection: Connection, response: OcspResponse) -> None:
    """Keep a response in the place of the one before."""
    forget(connection, response.serial)
    base.insert(connection, response)


def schedule(connection: Connection, line: Certificate, due_at: datetime | None) -> None:
    """Say when the next response about a certificate is due; None for no more."""
    _NEXT_DUE.change(connection, {"_id": line.id, "due_at": due_at})


def standings(connection: Connection, issuer_id: str, serials: Sequence[int]) -> dict[int, Standing]:
    """Return what the ledger says of those serials of an issuer that were issued.

    One that is claimed or abandoned is not among them: no certificate of it left the CA.
    """
    columns = CERTIFICATES.c
    texts = {serial_text(serial): serial for serial in serials}
    rows = connection.execute(
        select(columns.serial, columns.revoked_at, columns.revocation_reason).where(
            columns.serial.in_(texts),
            columns.issuer_id == issuer_id,
            columns.status == CertificateStatus.ISSUED.value,
        )
    )
    return {texts[serial]: Standing(revoked_at, reason) for serial, revoked_at, reason in rows}
