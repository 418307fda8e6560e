"""Revocation at an operator's wish: of all the valid certificates of a selection, however many there are.

`selecting.preview` counts first. `start` writes down what is to be done, on condition that it is what was counted; the
work is done in batches, each of which is one transaction with the progress in it. Whoever goes on, the process that
started it or the worker, goes on behind the last batch; killed in the middle, a batch never happened.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models import revocation as models
from acme_ca.models.certificate import CERTIFICATES, Certificate, CertificateStatus
from acme_ca.models.revocation import Revocation, RevocationStatus
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import BadRevocationReason, Contended, NotFound
from acme_ca.services import issuance, revocation
from acme_ca.services.certificates import check_page, require_environment
from acme_ca.services.selecting import ANY_ONE, Expected, expect
from acme_ca.vocabulary import KEY_COMPROMISE, OPERATOR_REASONS

BATCH = 100  # certificates in one transaction
AT_ONCE = 5  # batches that the one who asks waits for; the worker does the others


@dataclass(frozen=True, slots=True)
class Page:
    """Revocations, the newest first, and the cursor of the next page if there is one."""

    revocations: tuple[Revocation, ...]
    after: str | None


def start(
    ca: Authority,
    selection: Selection,
    reason: int,
    *,
    by: str,
    expected: Expected | None = ANY_ONE,
) -> Revocation:
    """Revoke the valid certificates of a selection; return how far it came at once: a few hundred, the worker goes on.

    More than one certificate takes an expectation: how many they are, or the digest and moment of a preview. Raises
    Conflict when it is another number or others, which None never is, BadRevocationReason, and NotFound for an unknown
    environment.
    """
    check_reason(reason)
    found = expect(ca, selection, expected)
    with ca.database.write(durable=True) as connection:
        started = revocation.begin(
            connection, selection, reason, total=found.total, as_of=found.as_of, by=by, digest=found.digest
        )
    with suppress(Contended):  # it is begun: the worker goes on
        for _ in range(AT_ONCE):
            if _do_batch(ca, started.id) < BATCH:
                break
    return get(ca, started.environment, started.id)


def get(ca: Authority, environment: str, revocation_id: str) -> Revocation:
    """Return a revocation of an environment as far as it is; raises NotFound."""
    with ca.database.read() as connection:
        found = base.get(connection, Revocation, revocation_id)
    if found is None or found.environment != environment:
        raise NotFound(f"environment {environment} has no revocation {revocation_id[:64]}")
    return found


def page(ca: Authority, environment: str, *, after: str | None = None, limit: int = 100) -> Page:
    """Return an environment's revocations, the newest first."""
    require_environment(ca, environment)
    check_page(after, limit)
    with ca.database.read() as connection:
        found = models.newest(connection, environment, before=after, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def resume(ca: Authority) -> int:
    """Go on with what was started, to its end; return how many certificates were looked at."""
    with ca.database.read() as connection:
        running = models.running_ids(connection)
    if running:
        ca.database.settle()  # of a key that was just blocked, a certificate may be about to be claimed
    done = 0
    for revocation_id in running:
        batch = BATCH
        while batch == BATCH:
            batch = _do_batch(ca, revocation_id)
            done += batch
    return done


def check_reason(reason: int) -> None:
    """Raise BadRevocationReason unless an operator may give the reason. RFC 5280 §5.3.1."""
    if reason not in OPERATOR_REASONS:
        known = ", ".join(f"{code} ({name})" for code, name in OPERATOR_REASONS.items())
        raise BadRevocationReason(f"reason: {reason} cannot be given by an operator; expected {known}")


def _do_batch(ca: Authority, revocation_id: str) -> int:
    """Revoke the next certificates; return how many were looked at, less than BATCH at the end."""
    try:
        with ca.database.write(durable=True) as connection:
            work = base.get(connection, Revocation, revocation_id, lock=True)  # one batch of it at a time
            if work is None or work.status != RevocationStatus.RUNNING:
                return 0
            lines = _next_lines(connection, work)
            now = clock.now()
            revoked = sum([_revoke(connection, work, line, now) for line in lines])
            if lines:
                work.advance(lines[-1].id, revoked, len(lines) - revoked)
            if len(lines) < BATCH:
                work.finish(now)
                revocation.record_progress(
                    connection, work, "revocation.finished", revoked=work.revoked, skipped=work.skipped
                )
            base.update(connection, work)
    except AlreadyThereError as error:  # the same key was reported at the same moment, of another certificate
        raise Contended from error
    metrics.CERTIFICATES_REVOKED.labels(work.environment, OPERATOR_REASONS[work.reason]).inc(revoked)
    return len(lines)


def _revoke(connection: Connection, work: Revocation, line: Certificate, now: datetime) -> bool:
    """Revoke a certificate unless it is over; return whether it was. One that is being signed is never recorded."""
    if line.status == CertificateStatus.CLAIMED:
        issuance.abandon(connection, line, by=work.ordered_by, revocation=work.id)
    elif line.revoked_at is None and line.not_after > now:
        revocation.record(connection, line, work.reason, now, by=work.ordered_by, revocation=work.id)
        return True
    if work.reason == KEY_COMPROMISE:  # its key is in other hands all the same
        revocation.compromised(connection, line, now, by=work.ordered_by)
    return False


def _next_lines(connection: Connection, work: Revocation) -> list[Certificate]:
    living = work.selected().living(connection, work.as_of)
    statement = living.lines(standing_at(work.as_of), before=work.after, with_claimed=True)
    return base.find(connection, Certificate, statement.limit(BATCH).with_for_update(of=CERTIFICATES))
