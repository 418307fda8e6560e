"""Refusals in the audit trail: the first ones of an account, or workload, and hour one by one, the others as a number.

A refusal changes nothing, so that it has no transaction to be audited in, and a client may be refused as often as it
likes: what is kept of it has to be bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.models import base
from acme_ca.models.audit_event import SYSTEM
from acme_ca.models.refusal import REFUSAL_COUNTS, RefusalCount
from acme_ca.problems import (
    AccountDoesNotExist,
    AccountEnded,
    Malformed,
    NotFound,
    OrderNotReady,
    Problem,
    ServiceUnavailable,
)
from acme_ca.services import audit

TOLD = 20  # refusals of an account in one hour that are told one by one
LONGEST = 1000  # characters of a text: a client may have made it up
LONGEST_KEY = 200  # characters of whose refusals are counted; of what is longer, its digest counts
WORKLOAD = "workload:"
HOUR = timedelta(hours=1)
# What says nothing about what somebody may have: mistakes in form, bad timing, passing trouble.
UNTOLD = (AccountDoesNotExist, AccountEnded, Malformed, NotFound, OrderNotReady, ServiceUnavailable)


def of_workload(provider: str, subject: str) -> str:
    """Return by what the refusals of a workload are counted: it has no account yet."""
    return f"{WORKLOAD}{provider}:{subject}"


@contextmanager
def told(ca: Authority, environment: str, whose: str, event: str, subject: str, **details: object) -> Iterator[None]:
    """Audit the Problem that the block raises, if it is a decision; `event` is e.g. "order.refused".

    `whose` is an account's id, or what `of_workload` returned.
    """
    try:
        yield
    except UNTOLD:
        raise
    except Problem as problem:
        short = {name: value[:LONGEST] if isinstance(value, str) else value for name, value in details.items()}
        refused = {"error": _bounded(problem), **short}
        _record(ca, environment, whose, event, subject, refused)
        raise


def close_hours(ca: Authority) -> int:
    """Tell how many refusals of past hours were not told; return of how many accounts and hours."""
    this_hour = _hour(clock.now())
    past = base.select(RefusalCount, REFUSAL_COUNTS.c.hour < this_hour)
    with ca.database.read() as connection:
        if not base.find(connection, RefusalCount, past.limit(1)):
            return 0
    with ca.database.write() as connection:
        found = base.find(connection, RefusalCount, past.limit(500).with_for_update())
        for row in found:
            if row.count > TOLD:
                _tell_count(connection, row)
        connection.execute(delete(REFUSAL_COUNTS).where(REFUSAL_COUNTS.c.key.in_([row.key for row in found])))
    return len(found)


def _tell_count(connection: Connection, row: RefusalCount) -> None:
    account_id = _account(row.account_id)
    audit.record(
        connection,
        row.environment,
        "workload.refusals_counted" if account_id is None else "account.refusals_counted",
        row.account_id.removeprefix(WORKLOAD),
        account_id=account_id,
        by=SYSTEM,
        hour=clock.rfc3339(row.hour),
        refused=row.count,
        told=TOLD,
    )


def _account(whose: str) -> str | None:
    return None if whose.startswith(WORKLOAD) else whose


def _record(ca: Authority, environment: str, whose: str, event: str, subject: str, details: Mapping[str, Any]) -> None:
    hour = _hour(clock.now())
    digest = whose if len(whose) <= LONGEST_KEY else sha256(whose.encode()).hexdigest()
    with ca.database.write() as connection:
        values = {
            "key": f"{environment}|{digest}|{clock.rfc3339(hour)}",
            "environment": environment,
            "account_id": whose,
            "hour": hour,
            "count": 1,
        }
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        counted = dialect.insert(REFUSAL_COUNTS).values(values)
        counted = counted.on_conflict_do_update(index_elements=["key"], set_={"count": REFUSAL_COUNTS.c.count + 1})
        count = connection.scalar(counted.returning(REFUSAL_COUNTS.c.count)) or 0
        if count <= TOLD:
            audit.record(connection, environment, event, subject, account_id=_account(whose), **details)


def _bounded(problem: Problem) -> dict[str, Any]:
    """Return the problem document, none of whose texts is longer than LONGEST."""
    document = problem.document() | {"detail": problem.detail[:LONGEST]}
    if problem.subproblems:
        told_of = [sub.subdocument() | {"detail": sub.detail[:LONGEST]} for sub in problem.subproblems[:TOLD]]
        document["subproblems"] = told_of
    return document


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)
