"""The sealer: gives each committed event its place in the hash chain.

Events are sealed in the order in which they are seen, which is nearly that of their identifiers: with PostgreSQL a
slower transaction commits a smaller one later. Its identifier is kept as a gap until it comes, or for a day.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeGuard

import structlog
from sqlalchemy import ColumnElement, Connection, and_, func, insert, select
from sqlalchemy.dialects import postgresql

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models.audit_chain import (
    AUDIT_SEALS,
    AUDIT_TERMS,
    EVENT,
    ChainEnd,
    canonical,
    chain_end,
    link,
)
from acme_ca.models.audit_event import AUDIT_EVENTS, SYSTEM
from acme_ca.models.prepared import Prepared
from acme_ca.services import audit_checkpoints

BATCH = 250  # events sealed in one transaction: a few hundredths of a second of SQLite's one turn to write
PATROL = 20_000  # identifiers among which forgotten events are looked for at once: some hundredths of a second
GAP_KEPT = timedelta(days=1)  # no transaction here takes that long: what has not come by then was rolled back
MAX_GAPS = 10_000
LINES = 8  # of a canonical form
LONGEST_TERM = 600  # characters; PostgreSQL refuses to index 2,704 octets

_SEAL = Prepared(insert(AUDIT_SEALS).inline(), ("seq", "event_id", "hash"))
_INDEX = Prepared(  # a word that somebody else wrote is no reason to stop: `verify` counts them
    postgresql.insert(AUDIT_TERMS).inline().on_conflict_do_nothing(),
    ("term", "event_id"),  # good SQL for SQLite too
)

log = structlog.get_logger(__name__)

Event = tuple[int, bytes]  # identifier and canonical form


def seal(ca: Authority, stopping: threading.Event | None = None) -> int:
    """Seal all events that are not yet, sign a checkpoint when one is due; return how many events were sealed.

    With `stopping` it ends after a batch.
    """
    sealed = 0
    while True:
        sealed += (batch := seal_batch(ca.database))
        audit_checkpoints.sign(ca)  # between batches too: after a while without a sealer there are many
        if batch < BATCH or (stopping and stopping.is_set()):
            return sealed


def seal_batch(database: Database) -> int:
    """Seal up to BATCH events, durably; return how many there were. Any number of sealers may try."""
    with database.read() as connection:  # a look first, so that an idle sealer never takes the turn to write
        if not _found(connection, chain_end(connection), 1):
            return 0
    return _seal(database, lambda connection, end: _found(connection, end, BATCH))


def seal_forgotten(database: Database, after: int) -> int:
    """Seal events that the sealer passed by, among so many identifiers after one; return where to go on.

    There are none, unless somebody changed the recorded end, or a transaction was open for longer than a day.
    """
    with database.read() as connection:
        end = chain_end(connection)
        if not _forgotten(connection, end, after):
            return after + PATROL if after + PATROL < end.last_id else 0
    _seal(database, lambda connection, end: _forgotten(connection, end, after))
    return after


def _seal(database: Database, find: Callable[[Connection, ChainEnd], list[Event]]) -> int:
    """Seal what is found once nobody else seals; return how many events there were."""
    with database.write(durable=True) as connection:
        end = chain_end(connection, lock=True)
        events = find(connection, end)
        if events:
            _append(connection, end, events)
            base.update(connection, end)
    for _, form in events:
        lines = lines_of(form)
        metrics.child(metrics.AUDIT_EVENTS, lines[2], lines[3]).inc()
    metrics.AUDIT_SEALED.set(end.seq)
    return len(events)


def unsealed(connection: Connection) -> int:
    """Return about how many events are not sealed yet: identifiers that were skipped count too."""
    newest = connection.scalar(select(func.max(AUDIT_EVENTS.c.id))) or 0
    return max(0, newest - chain_end(connection).last_id)


def _found(connection: Connection, end: ChainEnd, limit: int) -> list[Event]:
    """Return unsealed events in the order of their identifiers: late ones first, as their identifiers are smaller."""
    late = _select(connection, EVENT.c.id.in_([int(gap) for gap in end.gaps]), limit) if end.gaps else []
    return late + _select(connection, EVENT.c.id > end.last_id, limit - len(late))


def _forgotten(connection: Connection, end: ChainEnd, after: int) -> list[Event]:
    last = min(after + PATROL, end.last_id)
    sealed = select(AUDIT_SEALS.c.event_id).where(AUDIT_SEALS.c.event_id == EVENT.c.id).exists()
    found = _select(connection, and_(EVENT.c.id > after, EVENT.c.id <= last, ~sealed), BATCH + len(end.gaps))
    return [(identifier, form) for identifier, form in found if str(identifier) not in end.gaps][:BATCH]


def _select(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[Event]:
    found = select(EVENT.c.id, canonical(connection)).where(condition).order_by(EVENT.c.id).limit(limit)
    return [(identifier, bytes(form)) for identifier, form in connection.execute(found)]


def _append(connection: Connection, end: ChainEnd, events: Sequence[Event]) -> None:
    seals: list[dict[str, Any]] = []
    terms: set[tuple[str, int]] = set()
    for identifier, form in events:
        end.seq += 1
        end.hash = link(end.hash, form)
        seals.append({"seq": end.seq, "event_id": identifier, "hash": end.hash})
        terms.update((term, identifier) for term in terms_of(form))
    _SEAL.change_many(connection, seals)
    _INDEX.change_many(connection, [{"term": term, "event_id": identifier} for term, identifier in sorted(terms)])
    end.terms += len(terms)
    end.gaps = _gaps(end, [event[0] for event in events])
    end.last_id = max(end.last_id, events[-1][0])


def _gaps(end: ChainEnd, identifiers: Sequence[int]) -> dict[str, str]:
    """Return the identifiers that are still to come: those skipped now, and younger ones that did not come."""
    now = clock.now()
    oldest = clock.rfc3339(now - GAP_KEPT)
    came = {str(identifier) for identifier in identifiers}
    gaps = {gap: seen for gap, seen in end.gaps.items() if gap not in came and seen > oldest}
    before = end.last_id
    for identifier in identifiers:
        if identifier > before:
            gaps.update((str(missing), clock.rfc3339(now)) for missing in range(before + 1, identifier)[-MAX_GAPS:])
            before = identifier
    return dict(sorted(gaps.items(), key=lambda gap: gap[1])[-MAX_GAPS:])


def lines_of(form: bytes) -> list[str]:
    """Return the eight lines of a canonical form; what is no text is replaced, and what is not there is empty."""
    lines = form.decode(errors="replace").split("\n", LINES - 1)
    return lines + [""] * (LINES - len(lines))


def terms_of(form: bytes) -> Iterator[str]:
    """Yield what an event is to be found by, as far as its canonical form can be read: ids, names and the serial."""
    lines = lines_of(form)
    ids = [lines[4], lines[5].removeprefix("account ") if lines[5] != "no account" else "", lines[6]]
    details = _details(lines[-1])
    for identifier in (*ids, details.get("order")):
        if identifier not in ("", SYSTEM) and _may_be_term(identifier):
            yield f"id:{identifier}"
    names = details.get("names")
    for name in (*(names if isinstance(names, list) else ()), details.get("identifier")):
        if _may_be_term(name):
            yield f"name:{(name.partition(':')[2] or name).lower()}"
    if _may_be_term(serial := details.get("serial")):
        yield f"serial:{serial.lower()}"


def _details(text: str) -> dict[str, Any]:
    try:
        details = json.loads(text)
    except (ValueError, RecursionError):  # somebody else wrote it: it is sealed like any other
        return {}
    return details if isinstance(details, dict) else {}


def _may_be_term(text: object) -> TypeGuard[str]:
    """Whether every database can keep the text in an index: a client may have made it up."""
    return isinstance(text, str) and text.isprintable() and len(text) <= LONGEST_TERM
