"""Search in the audit trail, newest first: every condition has an index, and a page begins where the last one ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models.audit_chain import AUDIT_SEALS, AUDIT_TERMS, EVENT
from acme_ca.services.audit_events import COLUMNS, LIMIT, event_of, place
from acme_ca.sinks import SealedEvent


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: those that meet all conditions. `name` and `serial` find sealed events only.

    `environments` are all that may be seen, if it is not empty. `event` is `noun.verb` or a noun alone; `since` is the
    first moment and `until` the first that is too late.
    """

    since: datetime | None = None
    until: datetime | None = None
    environment: str | None = None
    event: str | None = None
    actor: str | None = None
    account: str | None = None
    subject: str | None = None
    name: str | None = None
    serial: str | None = None
    environments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and the cursor of the next page, if there is more."""

    events: tuple[SealedEvent, ...]
    after: str | None


def search(database: Database, wanted: Wanted, *, after: str | None = None, limit: int = 100) -> Page:
    """Return a page of events; raises Malformed for a cursor that is none."""
    before = place(after)
    limit = max(1, min(limit, LIMIT))
    with database.read() as connection:
        statement = select(*COLUMNS).select_from(EVENT.outerjoin(AUDIT_SEALS, AUDIT_SEALS.c.event_id == EVENT.c.id))
        for condition in _conditions(connection, wanted):
            statement = statement.where(condition)
        if before is not None:
            statement = statement.where(EVENT.c.id < before)
        found = connection.execute(statement.order_by(EVENT.c.id.desc()).limit(limit + 1)).fetchall()
    events = tuple(event_of(tuple(row)) for row in found[:limit])
    return Page(events, str(events[-1].id) if len(found) > limit else None)


def _conditions(connection: Connection, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    yield from _times(connection, wanted)
    if wanted.environments:
        yield EVENT.c.environment.in_(wanted.environments)
    for column, value in (
        (EVENT.c.environment, wanted.environment),
        (EVENT.c.account_id, wanted.account),
        (EVENT.c.subject, wanted.subject),
    ):
        if value is not None:
            yield column == value
    if wanted.event is not None:
        yield _event(wanted.event)
    if wanted.actor is not None:
        yield _actor(wanted.actor)
    for kind, value in (("name", wanted.name), ("serial", wanted.serial)):
        if value is not None:
            term = f"{kind}:{value.lower()}"
            yield EVENT.c.id.in_(select(AUDIT_TERMS.c.event_id).where(AUDIT_TERMS.c.term == term))


def _times(connection: Connection, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """Yield the time's bounds, and what they are in identifiers: by those pages are ordered.

    A clock may step back by any time, so that no bound is guessed; the index on times has the identifiers too.
    """
    bounds = [EVENT.c.at >= wanted.since] if wanted.since is not None else []
    bounds += [EVENT.c.at < wanted.until] if wanted.until is not None else []
    if bounds:
        first, last = connection.execute(select(func.min(EVENT.c.id), func.max(EVENT.c.id)).where(*bounds)).one()
        yield from bounds
        yield EVENT.c.id.between(first or 0, last or 0)


def _event(event: str) -> ColumnElement[bool]:
    if "." in event:
        return EVENT.c.event == event
    return and_(EVENT.c.event >= f"{event}.", EVENT.c.event < f"{event}/")  # `/` follows `.`


def _actor(actor: str) -> ColumnElement[bool]:
    """Return the condition in a form for which there is an index: see BY_SOMEBODY_ELSE."""
    else_ = and_(or_(EVENT.c.account_id.is_(None), EVENT.c.actor != EVENT.c.account_id), EVENT.c.actor == actor)
    if not base.ID.fullmatch(actor):
        return else_
    return or_(else_, and_(EVENT.c.account_id == actor, EVENT.c.actor == actor))
