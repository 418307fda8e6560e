"""Revocation at an operator's wish: of all the valid certificates of a selection, however many there are.

`preview` counts first. `start` writes down what is to be done, on condition that it is what was counted; the work is
done in batches, each of which is one transaction with the progress in it. Whoever goes on, the process that started it
or the worker, goes on behind the last batch; killed in the middle, a batch never happened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models import revocation as models
from acme_ca.models.certificate import CERTIFICATES, Certificate
from acme_ca.models.revocation import Revocation, RevocationStatus
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import BadRevocationReason, Conflict, Contended, Malformed, NotFound
from acme_ca.services import audit, revocation
from acme_ca.services.certificates import check_page, require_environment
from acme_ca.services.revocation import OPERATOR_REASONS

BATCH = 100  # certificates in one transaction
COUNTED = 500  # ids read at a time
AT_ONCE = 5  # batches that the one who asks waits for; the worker does the others


@dataclass(frozen=True, slots=True)
class Expected:
    """What an operator expects a selection to be: so many certificates, or just those that a preview counted."""

    total: int | None = None
    as_of: datetime | None = None
    digest: str | None = None


ANY_ONE = Expected()
"""What to expect of a selection of which nothing is said: that it has one certificate at most."""


@dataclass(frozen=True, slots=True)
class Preview:
    """How many certificates a selection had at a moment; `digest` (SHA-256, hexadecimal) is of which ones."""

    total: int
    as_of: datetime
    digest: str

    @property
    def expected(self) -> Expected:
        """What to expect of the same selection: just these certificates."""
        return Expected(self.total, self.as_of, self.digest)


@dataclass(frozen=True, slots=True)
class Page:
    """Revocations, the newest first, and the cursor of the next page if there is one."""

    revocations: tuple[Revocation, ...]
    after: str | None


def preview(ca: Authority, selection: Selection, *, as_of: datetime | None = None) -> Preview:
    """Count the certificates of a selection that were valid at a moment: now, unless a preview is to be repeated."""
    require_environment(ca, selection.environment)
    moment = _moment(as_of)
    digest = hashlib.sha256(json.dumps([selection.document(), moment.isoformat()], sort_keys=True).encode())
    total = 0
    for ids in _pages(ca, selection, moment):
        digest.update("".join(ids).encode())
        total += len(ids)
    return Preview(total, moment, digest.hexdigest())


def start(
    ca: Authority,
    selection: Selection,
    reason: int,
    *,
    by: str,
    expected: Expected = ANY_ONE,
) -> Revocation:
    """Revoke the valid certificates of a selection; return how far it came at once: a few hundred, the worker goes on.

    More than one certificate takes an expectation: how many they are, or the digest and moment of a preview. Raises
    Conflict when it is another number or others, BadRevocationReason, and NotFound for an unknown environment.
    """
    check_reason(reason)
    found = expect(ca, selection, expected)
    with ca.database.write(durable=True) as connection:
        started = begin(connection, selection, reason, found, by=by)
    with suppress(Contended):  # it is begun: the worker goes on
        for _ in range(AT_ONCE):
            if _do_batch(ca, started.id) < BATCH:
                break
    return get(ca, started.environment, started.id)


def begin(connection: Connection, selection: Selection, reason: int, found: Preview, *, by: str) -> Revocation:
    """Write down a revocation in the caller's transaction; the worker does it."""
    started = Revocation(
        environment=selection.environment,
        selection=selection.document(),
        reason=reason,
        as_of=found.as_of,
        total=found.total,
        ordered_by=by,
        created_at=clock.now(),
    )
    base.insert(connection, started)
    _audit(connection, started, "revocation.started", total=started.total, digest=found.digest)
    return started


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


def expect(ca: Authority, selection: Selection, expected: Expected) -> Preview:
    """Count a selection; raises Conflict unless it is what an operator expects."""
    if expected.digest is not None and expected.as_of is None:
        raise Malformed("as_of: a digest is of a moment; give the as_of of the preview too")
    found = preview(ca, selection, as_of=expected.as_of)
    if expected.total is not None and expected.total != found.total:
        raise Conflict(f"expect: the selection has {found.total} valid certificates, not {expected.total}; look again")
    if expected.digest is not None and expected.digest != found.digest:
        raise Conflict("digest: the selection is not what the preview counted; look again")
    if expected.total is None and expected.digest is None and found.total > 1:
        raise Conflict(f"expect: the selection has {found.total} valid certificates; say so to go on")
    return found


def _pages(ca: Authority, selection: Selection, moment: datetime) -> Iterator[Sequence[str]]:
    """Yield the ids of the certificates, the newest first, with no transaction open in between."""
    ids: Sequence[str] = ()
    before = None
    while before is None or len(ids) == COUNTED:
        with ca.database.read() as connection:
            ids = connection.scalars(selection.ids(standing_at(moment), before=before).limit(COUNTED)).all()
        if not ids:
            break
        yield ids
        before = ids[-1]


def _moment(as_of: datetime | None) -> datetime:
    now = clock.now()
    if as_of is None:
        return now
    if as_of.tzinfo is None or as_of > now:
        raise Malformed("as_of: expected the time of a preview, with its zone; it cannot be in the future")
    return as_of.astimezone(now.tzinfo)


def _do_batch(ca: Authority, revocation_id: str) -> int:
    """Revoke the next certificates; return how many were looked at, less than BATCH at the end."""
    try:
        with ca.database.write(durable=True) as connection:
            work = base.get(connection, Revocation, revocation_id, lock=True)  # one batch of it at a time
            if work is None or work.status != RevocationStatus.RUNNING:
                return 0
            lines = _next_lines(connection, work)
            now = clock.now()
            standing = [line for line in lines if line.revoked_at is None and line.not_after > now]
            for line in standing:
                revocation.record(connection, line, work.reason, now, by=work.ordered_by, revocation=work.id)
            if lines:
                work.advance(lines[-1].id, len(standing), len(lines) - len(standing))
            if len(lines) < BATCH:
                work.finish(now)
                _audit(connection, work, "revocation.finished", revoked=work.revoked, skipped=work.skipped)
            base.update(connection, work)
    except AlreadyThereError as error:  # the same key was reported at the same moment, of another certificate
        raise Contended from error
    metrics.CERTIFICATES_REVOKED.labels(work.environment, OPERATOR_REASONS[work.reason]).inc(len(standing))
    return len(lines)


def _next_lines(connection: Connection, work: Revocation) -> list[Certificate]:
    statement = work.selected().lines(standing_at(work.as_of), before=work.after).limit(BATCH)
    return base.find(connection, Certificate, statement.with_for_update(of=CERTIFICATES))


def _audit(connection: Connection, work: Revocation, event: str, **details: Any) -> None:  # noqa: ANN401 - whatever JSON carries
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
