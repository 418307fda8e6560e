"""What a policy in the shadow would have decided otherwise: one row for each name and outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Index, func, select

from acme_ca.models.base import Record, partial_index, table_of

AUDIT_PAUSE = timedelta(hours=1)  # between two events about the same name


@dataclass(kw_only=True)
class ShadowFinding(Record):
    """How often the shadow's version `number` would have done something else to a name, last for `account_id`.

    `name` is empty for what it would do to orders as a whole. `audit_due_at` is when the next event is due, if any.
    """

    key: str
    environment: str
    number: int
    outcome: str
    name: str
    rule: str | None
    reason: str
    account_id: str
    count: int
    first_at: datetime
    last_at: datetime
    audited_at: datetime | None = None
    audit_due_at: datetime | None = None

    def seen(self, times: int, now: datetime, rule: str | None, reason: str, account_id: str) -> None:
        """Count more of the same."""
        self.count += times
        self.last_at = now
        self.rule, self.reason, self.account_id = rule, reason, account_id
        if self.audit_due_at is None:
            self.audit_due_at = now if self.audited_at is None else max(now, self.audited_at + AUDIT_PAUSE)

    def audited(self, now: datetime) -> None:
        """Note that an event told of it all, up to now."""
        self.audited_at = now
        self.audit_due_at = None


SHADOW_FINDINGS = table_of(ShadowFinding, "shadow_findings")
Index("ix_shadow_findings_environment", SHADOW_FINDINGS.c.environment, SHADOW_FINDINGS.c.number, SHADOW_FINDINGS.c.key)
partial_index(
    "ix_shadow_findings_due", SHADOW_FINDINGS.c.audit_due_at, where=SHADOW_FINDINGS.c.audit_due_at.is_not(None)
)


def key_of(environment: str, number: int, outcome: str, name: str) -> str:
    """Return the key of a finding: SHA-256 in hexadecimal."""
    return hashlib.sha256(f"{environment}\n{number}\n{outcome}\n{name}".encode()).hexdigest()


def how_many(connection: Connection, environment: str, number: int) -> int:
    """Return how many findings a version has."""
    columns = SHADOW_FINDINGS.c
    statement = select(func.count()).where(columns.environment == environment, columns.number == number)
    return connection.scalar(statement) or 0
