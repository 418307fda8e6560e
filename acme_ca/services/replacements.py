"""Mass replacement: clients that ask for renewal information are told to renew now, spread over some time. RFC 9773.

The certificates stay valid. Nothing is written for each of them: whether one is concerned follows from the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.models import base
from acme_ca.models import replacement as models
from acme_ca.models.base import first_id
from acme_ca.models.certificate import CERTIFICATES
from acme_ca.models.replacement import Replacement
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import Malformed, NotFound
from acme_ca.services import audit
from acme_ca.services.certificates import check_page, require_environment
from acme_ca.services.selecting import ANY_ONE, Expected, expect
from acme_ca.vocabulary import MAX_SPREAD

MAX_RUNNING = 20  # in an environment: each is looked at for each question of a client


@dataclass(frozen=True, slots=True)
class Page:
    """Replacements, the newest first, and the cursor of the next page if there is one."""

    replacements: tuple[Replacement, ...]
    after: str | None


def start(
    ca: Authority,
    selection: Selection,
    spread: int,
    *,
    by: str,
    explanation_url: str | None = None,
    expected: Expected = ANY_ONE,
) -> Replacement:
    """Have the valid certificates of a selection replaced within `spread` seconds; clients show `explanation_url`.

    What is expected protects as it does a revocation. Raises Conflict, NotFound and Malformed.
    """
    check_spread(spread)
    found = expect(ca, selection, expected)
    started = counted(ca, selection, spread, by=by, explanation_url=explanation_url, as_of=found.as_of)
    with ca.database.write(durable=True) as connection:
        if len(models.running(connection, selection.environment)) >= MAX_RUNNING:
            raise Malformed(f"{MAX_RUNNING} replacements are going on in {selection.environment}; cancel one first")
        begin(connection, started)
    return started


def counted(
    ca: Authority, selection: Selection, spread: int, *, by: str, explanation_url: str | None, as_of: datetime
) -> Replacement:
    """Return the replacement of what a selection had at a moment, to `begin`; raises Malformed."""
    check_spread(spread)
    made = Replacement(
        environment=selection.environment,
        selection=selection.document(),
        spread=spread,
        explanation_url=explanation_url,
        total=0,
        remaining=0,
        ordered_by=by,
        as_of=as_of,
        created_at=clock.now(),
    )
    with ca.database.read() as connection:
        made.replaced_before, made.remaining = progress(connection, made, as_of)
    made.total = made.remaining
    if made.total == 0:
        made.count(0, 0, clock.now())
    return made


def begin(connection: Connection, made: Replacement) -> None:
    """Let a replacement that was counted go on from now on, in the caller's transaction."""
    base.insert(connection, made)
    _audit(connection, made, "replacement.started", made.ordered_by, total=made.total, spread=made.spread)


def check_spread(spread: int) -> None:
    """Raise Malformed for a spread that no replacement can have."""
    if not 0 <= spread <= MAX_SPREAD:
        raise Malformed(f"spread: expected 0 to {MAX_SPREAD} seconds, not {spread}")


def get(ca: Authority, environment: str, replacement_id: str) -> Replacement:
    """Return a replacement of an environment, counted now; raises NotFound."""
    with ca.database.read() as connection:
        found = _get(connection, environment, replacement_id)
        if found.ended_at is None:
            found.replaced, found.remaining = progress(connection, found, clock.now())
    return found


def page(ca: Authority, environment: str, *, after: str | None = None, limit: int = 100) -> Page:
    """Return an environment's replacements, the newest first, as they were counted last."""
    require_environment(ca, environment)
    check_page(after, limit)
    with ca.database.read() as connection:
        found = models.newest(connection, environment, before=after, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def cancel(ca: Authority, environment: str, replacement_id: str, *, by: str) -> Replacement:
    """End a replacement: its certificates have their usual windows again. Raises NotFound, Conflict."""
    with ca.database.write(durable=True) as connection:
        found = _get(connection, environment, replacement_id, lock=True)
        end(connection, found, by=by)
    return found


def end(connection: Connection, found: Replacement, *, by: str) -> None:
    """End a replacement that is held in the caller's transaction; raises Conflict."""
    now = clock.now()
    found.replaced, found.remaining = progress(connection, found, now)
    found.cancel(now)
    base.update(connection, found)
    _audit(connection, found, "replacement.cancelled", by, replaced=found.replaced, remaining=found.remaining)


def count(ca: Authority) -> int:
    """Count how far the replacements are, end those that are done, and show them; return how many changed."""
    changed = 0
    for environment in ca.environments:
        with ca.database.read() as connection:
            running = models.running(connection, environment)
            now = clock.now()
            counts = [progress(connection, one, now) for one in running]
        for one, (replaced, remaining) in zip(running, counts, strict=True):
            if (replaced, remaining) != (one.replaced, one.remaining):
                changed += 1
                _note(ca, one, replaced, remaining)
        sums = (sum(one.total for one in running), sum(one for one, _ in counts), sum(one for _, one in counts))
        for state, value in zip(("total", "replaced", "remaining"), sums, strict=True):
            metrics.REPLACEMENT_CERTIFICATES.labels(environment, state).set(value)
    return changed


def _get(connection: Connection, environment: str, replacement_id: str, *, lock: bool = False) -> Replacement:
    found = base.get(connection, Replacement, replacement_id, lock=lock)
    if found is None or found.environment != environment:
        raise NotFound(f"environment {environment} has no replacement {replacement_id[:64]}")
    return found


def _note(ca: Authority, one: Replacement, replaced: int, remaining: int) -> None:
    with ca.database.write() as connection:
        found = base.get_one(connection, Replacement, one.id, lock=True)
        if found.ended_at is not None:  # cancelled in the meantime
            return
        found.count(replaced, remaining, clock.now())
        base.update(connection, found)
        if found.ended_at is not None:
            _audit(connection, found, "replacement.finished", found.ordered_by, replaced=replaced, total=found.total)


def progress(connection: Connection, one: Replacement, now: datetime) -> tuple[int, int]:
    """Return how many certificates were replaced since it began, and how many are valid and were not."""
    selection, columns = one.selected(), CERTIFICATES.c
    replaced = selection.living(connection, one.as_of).count(standing_at(one.as_of), columns.replaced_by.is_not(None))
    remaining = selection.living(connection, now).count(
        columns.id < first_id(one.as_of),
        columns.not_after > now,
        columns.revoked_at.is_(None),
        columns.replaced_by.is_(None),
        with_claimed=True,  # a moment later they are issued
    )
    return (connection.scalar(replaced) or 0) - one.replaced_before, connection.scalar(remaining) or 0


def _audit(connection: Connection, one: Replacement, event: str, by: str, **details: Any) -> None:  # noqa: ANN401 - whatever JSON carries
    audit.record(connection, one.environment, event, one.id, selection=one.selection, by=by, **details)
