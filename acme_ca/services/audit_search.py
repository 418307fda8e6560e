"""Search in the audit trail, newest first: every condition has an index, and a page begins where the last one ended.

Sealed events are found by AUDIT_TERMS, the few that are not sealed yet by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, union_all

from acme_ca.db import Database
from acme_ca.models.audit_chain import AUDIT_SEALS, AUDIT_TERMS, EVENT, chain_end
from acme_ca.models.audit_event import AUDIT_EVENTS, SYSTEM
from acme_ca.services.audit_events import COLUMNS, LIMIT, event_of, place
from acme_ca.sinks import SealedEvent


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: those that meet all conditions. `name` and `serial` find sealed events only.

    `environments` are all that may be seen, if it is not empty. `event` is `noun.verb` or a noun alone; `since` is the
    first moment and `until` the first that is too late. `about` is the id of an order, account, certificate or whatever
    else an event is of, by or about.
    """

    since: datetime | None = None
    until: datetime | None = None
    environment: str | None = None
    event: str | None = None
    actor: str | None = None
    account: str | None = None
    subject: str | None = None
    about: str | None = None
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
    if wanted.environment is not None:
        yield EVENT.c.environment == wanted.environment
    if wanted.event is not None:
        yield _event(wanted.event)
    yield from _ids(connection, wanted)
    for kind, value in (("name", wanted.name), ("serial", wanted.serial)):
        if value is not None:
            yield EVENT.c.id.in_(_with_term(f"{kind}:{value.lower()}"))


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


def _ids(connection: Connection, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    for column, value in (
        (EVENT.c.actor, wanted.actor),
        (EVENT.c.account_id, wanted.account),
        (EVENT.c.subject, wanted.subject),
    ):
        if value is not None:
            yield column == value
            yield from _about(connection, value)
    if wanted.about is not None:
        yield from _about(connection, wanted.about)


def _event(event: str) -> ColumnElement[bool]:
    if "." in event:
        return EVENT.c.event == event
    return and_(EVENT.c.event >= f"{event}.", EVENT.c.event < f"{event}/")  # `/` follows `.`


def _about(connection: Connection, identifier: str) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that finds what is of, by or about an id; what the CA itself does, most of all is."""
    if identifier == SYSTEM:
        return
    events = AUDIT_EVENTS.c
    has_it = or_(events.subject == identifier, events.account_id == identifier, events.actor == identifier)
    unsealed = select(events.id).where(events.id > chain_end(connection).last_id, has_it)
    yield EVENT.c.id.in_(union_all(_with_term(f"id:{identifier}"), unsealed))


def _with_term(term: str) -> Select[tuple[int]]:
    return select(AUDIT_TERMS.c.event_id).where(AUDIT_TERMS.c.term == term)
