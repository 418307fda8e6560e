"""How events are read: with their places in the chain, as what is shown and sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from acme_ca.models.audit_chain import AUDIT_SEALS, EVENT
from acme_ca.problems import Malformed
from acme_ca.sinks import SealedEvent

LIMIT = 1000  # of what a page has, at most

COLUMNS = (
    AUDIT_SEALS.c.seq,
    AUDIT_SEALS.c.hash,
    EVENT.c.id,
    EVENT.c.at,
    EVENT.c.environment,
    EVENT.c.event,
    EVENT.c.actor,
    EVENT.c.account_id,
    EVENT.c.subject,
    EVENT.c.details,
)


def sealed_events(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[SealedEvent]:
    """Return the first sealed events of which a condition on seals and EVENT is true, in the order of the chain."""
    statement = select(*COLUMNS).join(EVENT, EVENT.c.id == AUDIT_SEALS.c.event_id).where(condition)
    found = connection.execute(statement.order_by(AUDIT_SEALS.c.seq).limit(limit))
    return [event_of(tuple(row)) for row in found]


def event_of(row: Sequence[Any]) -> SealedEvent:
    """Return the event of a row of COLUMNS; one without a seal has the place 0."""
    seq, hash_, identifier, at, environment, event, actor, account_id, subject, details = row
    return SealedEvent(
        seq=seq or 0,
        hash=bytes(hash_ or b"").hex(),
        id=identifier,
        at=at,
        environment=environment,
        event=event,
        actor=actor,
        account_id=account_id,
        subject=subject,
        details=details,
    )


def place(after: str | None) -> int | None:
    """Return the number that a cursor is; raises Malformed."""
    if after is not None and not re.fullmatch(r"[0-9]{1,18}", after):  # fewer than a column of 64 bits has
        raise Malformed("the cursor is not one of this list's; take it from the page before")
    return None if after is None else int(after)
