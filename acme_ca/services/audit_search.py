"""Search in the audit trail, newest first: every condition has an index, and a page begins where the last one ended.

Sealed events are found by AUDIT_TERMS, the few that are not sealed yet by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from acme_ca.db import Database
from acme_ca.models.audit_chain import AUDIT_SEALS, AUDIT_TERMS, EVENT, chain_end
from acme_ca.models.audit_event import SYSTEM
from acme_ca.models.hidden import Hidden
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
        sealed_to = chain_end(connection).last_id
        times, columns = list(_times(wanted)), list(_columns(wanted))
        ids = _between(connection, times)
        found: list[Sequence[Any]] = []
        for statement, key in _statements(wanted, sealed_to):
            bounds: list[ColumnElement[bool]] = [] if ids is None else [key.between(*ids)]
            bounds += [] if before is None else [key < before]
            chosen = statement.where(*times, *columns, *bounds).order_by(key.desc())
            found += connection.execute(chosen.limit(limit + 1 - len(found))).fetchall()
    events = tuple(event_of(tuple(row)) for row in found[:limit])
    return Page(events, str(events[-1].id) if len(found) > limit else None)


def _statements(wanted: Wanted, sealed_to: int) -> Iterator[tuple[Select[Any], ColumnElement[int]]]:
    """Yield what to select from, and the column of the events' ids in it, the newest first.

    Without terms that is all events; else those that are not sealed yet, then those that have the terms. Rows of one
    term are walked from the newest on: however many events an account has, a page is cheap.
    """
    everything = select(*COLUMNS).select_from(EVENT.outerjoin(AUDIT_SEALS, AUDIT_SEALS.c.event_id == EVENT.c.id))
    terms = list(_terms(wanted))
    if not terms:
        yield everything, EVENT.c.id
        return
    if wanted.name is None and wanted.serial is None:  # which are known of sealed events only
        yield everything.where(EVENT.c.id > sealed_to, *_about(wanted)), EVENT.c.id
    rows = AUDIT_TERMS.join(EVENT, EVENT.c.id == AUDIT_TERMS.c.event_id)
    sealed = select(*COLUMNS).select_from(rows.outerjoin(AUDIT_SEALS, AUDIT_SEALS.c.event_id == EVENT.c.id))
    yield sealed.where(AUDIT_TERMS.c.term == terms[0], *map(_has_term, terms[1:])), AUDIT_TERMS.c.event_id


def _terms(wanted: Wanted) -> Iterator[str]:
    """Yield the terms that events have to have, the one that fewest have first."""
    for kind, value in (("serial", wanted.serial), ("name", wanted.name)):
        if value is not None:
            yield f"{kind}:{value.lower()}"
    for value in (wanted.subject, wanted.about, wanted.account, wanted.actor):
        if value not in (None, SYSTEM):  # what the CA itself does, most of all is
            yield f"id:{value}"


def _columns(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """Yield what columns have to be. Where terms are walked, their indexes are hidden from SQLite."""
    columns = EVENT.c
    environment, event = columns.environment, columns.event
    if next(_terms(wanted), None) is not None:
        environment, event = Hidden(environment), Hidden(event)  # type: ignore[assignment]  # columns all the same
    if wanted.environments:
        yield columns.environment.in_(wanted.environments)
    if wanted.environment is not None:
        yield environment == wanted.environment
    if wanted.event is not None and "." in wanted.event:
        yield event == wanted.event
    elif wanted.event is not None:
        yield and_(event >= f"{wanted.event}.", event < f"{wanted.event}/")  # `/` follows `.`
    pairs = ((columns.actor, wanted.actor), (columns.account_id, wanted.account), (columns.subject, wanted.subject))
    yield from (column == value for column, value in pairs if value is not None)


def _about(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.about is not None:
        columns = EVENT.c
        yield or_(*(column == wanted.about for column in (columns.subject, columns.account_id, columns.actor)))


def _has_term(term: str) -> ColumnElement[bool]:
    other = AUDIT_TERMS.alias()
    return exists().where(other.c.term == term, other.c.event_id == EVENT.c.id)


def _times(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.since is not None:
        yield EVENT.c.at >= wanted.since
    if wanted.until is not None:
        yield EVENT.c.at < wanted.until


def _between(connection: Connection, times: Sequence[ColumnElement[bool]]) -> tuple[int, int] | None:
    """Return the first and last id of the events in a time: by ids pages are ordered.

    A clock may step back by any time, so that no bound is guessed; the index on times has the identifiers too.
    """
    if not times:
        return None
    first, last = connection.execute(select(func.min(EVENT.c.id), func.max(EVENT.c.id)).where(*times)).one()
    return first or 0, last or 0
