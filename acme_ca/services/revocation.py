"""Revocation: at a client's wish, and the one place through which every revocation goes. RFC 8555 §7.6.

A compromised key is blocked before anything is refused, and whatever else has it is revoked by the worker.
"""

from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select

from acme_ca import clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.jose import Jwk, thumbprint_of
from acme_ca.models import base, ocsp_response
from acme_ca.models import revocation as models
from acme_ca.models.account import Signer, acting_account
from acme_ca.models.authorization import valid_authorizations
from acme_ca.models.certificate import CERTIFICATES, BlockedKey, Certificate, by_serial, serial_text
from acme_ca.models.revocation import Revocation
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import (
    AlreadyRevoked,
    BadRevocationReason,
    Contended,
    Malformed,
    NotFound,
    Unauthorized,
)
from acme_ca.services import audit, blocked_accounts, crls
from acme_ca.vocabulary import KEY_COMPROMISE, OPERATOR_REASONS, REASONS

SETTLING = timedelta(seconds=5)  # in which what was claimed with a key before it was blocked is committed
OTHERS = 100  # certificates of a compromised key that are looked at; beyond that some are surely left to be revoked


def revoke(ca: Authority, environment: Environment, certificate_der: bytes, reason: int, revoker: Signer | Jwk) -> None:
    """Revoke a certificate of this environment.

    It may be revoked by its account, by its own key (`revoker` is the Jwk that signed), and by an account that holds
    valid authorizations for all its names. keyCompromise, which blocks the key for good, is for the first two: also of
    a certificate that was revoked before, for which AlreadyRevoked is raised all the same.
    """
    if reason not in REASONS:
        known = ", ".join(f"{code} ({name})" for code, name in REASONS.items())
        raise BadRevocationReason(f"reason {reason} cannot be given by a client; expected {known}")
    try:
        with ca.database.write(durable=True) as connection:
            refusal = _revoke(connection, environment, certificate_der, reason, revoker)
    except AlreadyThereError as error:  # the same key was reported at the same moment, of another certificate
        raise Contended from error
    if refusal is not None:
        raise refusal
    metrics.CERTIFICATES_REVOKED.labels(environment.name, REASONS[reason]).inc()


def _revoke(
    connection: Connection, environment: Environment, certificate_der: bytes, reason: int, revoker: Signer | Jwk
) -> AlreadyRevoked | None:
    """Revoke, or return what the client is refused with: raised in here it would undo that the key is blocked."""
    now = clock.now()
    line = _ledger_line(connection, environment, certificate_der)
    owned = _require_entitled(connection, environment, line, revoker, now)
    if reason == KEY_COMPROMISE and not owned:
        raise BadRevocationReason("keyCompromise takes the certificate's own key or its account to report")
    by = revoker.account_id if isinstance(revoker, Signer) else f"certificate-key:{revoker.thumbprint}"
    try:
        record(connection, line, reason, now, by=by)
    except AlreadyRevoked as refusal:
        if reason == KEY_COMPROMISE:
            compromised(connection, line, now, by=by)
        return refusal
    return None


def record(
    connection: Connection,
    line: Certificate,
    reason: int,
    now: datetime,
    *,
    by: str,
    **details: Any,  # noqa: ANN401 - whatever JSON carries
) -> None:
    """Revoke a ledger line that is held in the caller's transaction: whatever has to follow a revocation follows here.

    Its issuer's lists are due at once, and an OCSP response that was kept of it is gone with the same transaction. A
    key is `compromised` for the reason that says so. Raises AlreadyRevoked.
    """
    line.revoke(now, reason)
    base.update(connection, line)
    crls.mark(connection, (line,), now)
    ocsp_response.forget(connection, line.serial)
    audit.record(
        connection,
        line.environment,
        "certificate.revoked",
        line.id,
        account_id=line.owner,
        serial=line.serial,
        names=line.names,
        reason=OPERATOR_REASONS[reason],
        by=by,
        **details,
    )
    if reason == KEY_COMPROMISE:
        compromised(connection, line, now, by=by)


def compromised(connection: Connection, line: Certificate, now: datetime, *, by: str) -> None:
    """Block the key of a certificate that is not valid any more, and begin to revoke whatever else has that key.

    The key is blocked in all environments, for good, and so are the others revoked in all of them: once, for nobody
    gets a certificate for it from then on.
    """
    key = line.key_sha256
    held = base.get(connection, BlockedKey, key)
    if held is not None and held.serial is not None:
        return
    if held is None:
        base.insert(connection, BlockedKey(key_sha256=key, serial=line.serial, blocked_at=now))
        blocked_accounts.end(connection, key, now, by=by)
        audit.record(connection, audit.EVERYWHERE, "key.blocked", key.hex(), serial=line.serial, by=by)
    else:  # an operator blocked it, and left its certificates alone
        held.serial = line.serial
        base.update(connection, held)
    columns, as_of = CERTIFICATES.c, now + SETTLING
    with_key = select(columns.environment).where(columns.key_sha256 == key, standing_at(as_of)).distinct()
    for environment in sorted(connection.scalars(with_key)):
        _revoke_others(connection, Selection(environment=environment, key_sha256=key.hex()), as_of, by=by)


def begin(
    connection: Connection,
    selection: Selection,
    reason: int,
    *,
    total: int,
    as_of: datetime,
    by: str,
    **details: Any,  # noqa: ANN401 - whatever JSON carries
) -> Revocation:
    """Write down the revocation of many in the caller's transaction; the worker does it."""
    started = Revocation(
        environment=selection.environment,
        selection=selection.document(),
        reason=reason,
        as_of=as_of,
        total=total,
        ordered_by=by,
        created_at=clock.now(),
    )
    base.insert(connection, started)
    record_progress(connection, started, "revocation.started", total=started.total, **details)
    return started


def record_progress(connection: Connection, work: Revocation, event: str, **details: Any) -> None:  # noqa: ANN401 - as above
    """Add an event about a revocation of many to the audit trail."""
    audit.record(
        connection,
        work.environment,
        event,
        work.id,
        selection=work.selection,
        reason=OPERATOR_REASONS[work.reason],
        by=work.ordered_by,
        **details,
    )


def _revoke_others(connection: Connection, selection: Selection, as_of: datetime, *, by: str) -> None:
    """Begin to revoke the certificates of a compromised key, unless what is going on will come to all of them."""
    living = selection.living(connection, as_of)
    others = base.find(connection, Certificate, living.lines(standing_at(as_of), with_claimed=True).limit(OTHERS))
    running = models.running(connection, selection.environment)
    if len(others) < OTHERS and all(any(work.will_reach(line) for work in running) for line in others):
        return
    total = connection.scalar(living.count(standing_at(as_of), with_claimed=True)) or 0
    begin(connection, selection, KEY_COMPROMISE, total=total, as_of=as_of, by=by)


def _ledger_line(connection: Connection, environment: Environment, certificate_der: bytes) -> Certificate:
    """Return the ledger's line of exactly this certificate."""
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        serial = certificate.serial_number
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise Malformed("certificate is not the base64url of a DER certificate") from error
    line = by_serial(connection, environment.name, serial, lock=True)
    if line is None or line.der != certificate.public_bytes(Encoding.DER):
        raise NotFound(f"no certificate with serial {serial_text(serial)} was issued by environment {environment.name}")
    return line


def _require_entitled(
    connection: Connection, environment: Environment, line: Certificate, revoker: Signer | Jwk, now: datetime
) -> bool:
    """Return whether the revoker owns the certificate or its key; raises Unauthorized when it may not revoke it."""
    if isinstance(revoker, Jwk):
        if not _is_key_of(revoker, line):
            raise Unauthorized("the request is signed neither by the certificate's key nor by an account")
        return True
    account = acting_account(connection, environment.name, revoker)
    if account.id == line.account_id:
        return True
    if line.is_sub_ca:  # its names are what it may certify, which is more than to have them
        raise Unauthorized("the certificate is that of a sub-CA; its key or an operator can revoke it")
    held = valid_authorizations(connection, account.id, [name.partition(":")[2] for name in line.names], now)
    missing = set(line.names) - {str(authorization.name) for authorization in held}
    if missing:
        raise Unauthorized(
            "the certificate belongs to another account; to revoke it, first authorize " + ", ".join(sorted(missing))
        )
    return False


def _is_key_of(jwk: Jwk, line: Certificate) -> bool:
    key = x509.load_der_x509_certificate(line.der or b"").public_key()
    return thumbprint_of(key) == jwk.thumbprint  # type: ignore[arg-type]  # no other kinds are certified
