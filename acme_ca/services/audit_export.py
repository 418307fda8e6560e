"""Export of the audit trail: each sink gets all sealed events, in the order of the chain, at least once.

Claim, work, record: a sink is claimed with a lease, a batch is delivered with no transaction open, and how far the
sink got is remembered. Whoever died in between leaves a batch that is delivered again.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import Connection, func, select

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.audit_chain import AUDIT_SEALS
from acme_ca.models.audit_sink import SinkCursor
from acme_ca.problems import Contended, ServiceUnavailable
from acme_ca.services import audit_events
from acme_ca.sinks import DeliveryFailedError, Sink

LEASE = timedelta(seconds=90)  # no batch takes longer: a sink's own limits are far below


def deliver(ca: Authority, sink: Sink, stopping: threading.Event | None = None) -> int:
    """Send a sink what it does not have yet, unless `stopping`; return how many events it took.

    Raises ServiceUnavailable when it takes nothing: the worker asks again, ever more slowly.
    """
    delivered = 0
    while not (stopping and stopping.is_set()) and (cursor := _claim(ca, sink)) is not None:
        with ca.database.read() as connection:
            events = audit_events.sealed_events(connection, AUDIT_SEALS.c.seq > cursor.seq, sink.batch)
        if not events:
            _release(ca, cursor)
            raise ServiceUnavailable(f"audit sink {sink.name}: the events after place {cursor.seq} are gone")
        try:
            sink.deliver(events)
        except DeliveryFailedError as error:
            _release(ca, cursor)
            raise ServiceUnavailable(f"audit sink {sink.name}: {error}") from error
        cursor.seq = events[-1].seq
        if not _release(ca, cursor):
            break  # the lease ran out: whoever has it now may be sending the batch again
        delivered += len(events)
    return delivered


def lag(connection: Connection, sink: Sink) -> int:
    """Return how many sealed events a sink does not have yet."""
    cursor = base.get(connection, SinkCursor, sink.name)
    return _last(connection) - (0 if cursor is None else cursor.seq)


def _last(connection: Connection) -> int:
    return connection.scalar(select(func.max(AUDIT_SEALS.c.seq))) or 0


def _claim(ca: Authority, sink: Sink) -> SinkCursor | None:
    """Claim a sink that lacks events; None when it has all, or another process is at work on it."""
    now = clock.now()
    with ca.database.read() as connection:  # a look first, so that an idle worker never takes the turn to write
        behind = lag(connection, sink)
    metrics.AUDIT_SINK_LAG.labels(sink.name).set(behind)
    if behind <= 0:
        return None
    try:
        with ca.database.write() as connection:
            cursor = base.get(connection, SinkCursor, sink.name, lock=True)
            if cursor is None:
                cursor = SinkCursor(name=sink.name)
                base.insert(connection, cursor)
            if cursor.due_at is not None and cursor.due_at > now:
                return None
            cursor.due_at, cursor.claimed_by = now + LEASE, ca.processes.own
            base.update(connection, cursor)
    except AlreadyThereError:  # another process made the row
        return None
    return cursor


def _release(ca: Authority, claimed: SinkCursor) -> bool:
    """Give the claim up and remember how far the sink got; return whether the claim still stood.

    How far it got counts without the claim too: batches that take longer than the lease would be sent for ever.
    """
    with suppress(Contended), ca.database.write(durable=True) as connection:
        cursor = base.get_one(connection, SinkCursor, claimed.name, lock=True)
        stands = cursor.claimed_by == claimed.claimed_by and cursor.due_at == claimed.due_at
        cursor.seq = max(cursor.seq, claimed.seq)
        if stands:
            cursor.due_at, cursor.claimed_by = None, None
        base.update(connection, cursor)
        return stands
    return False
