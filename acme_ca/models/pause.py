"""Pauses: an account that keeps failing at a name, or renews it far too often, has to wait. RFC 8555 §6.6."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import Connection, Index, delete, select, update

from acme_ca.models import base
from acme_ca.models.account import ACCOUNTS
from acme_ca.models.base import Record, partial_index, table_of
from acme_ca.problems import RateLimited


@dataclass(kw_only=True)
class Pause(Record):
    """What went wrong between one account and one name (`type:value`), and until when it is refused.

    `id` is SHA-256, the first 32 hexadecimal digits, of environment, account and name. `failures` are since
    `failing_since`, without a success in between; the row is forgotten at `expires_at`.
    """

    id: str
    environment: str
    account_id: str
    name: str
    failures: int
    failing_since: datetime
    paused_until: datetime | None = None
    reason: str = "failures"
    expires_at: datetime

    @classmethod
    def of(cls, environment: str, account_id: str, name: str, now: datetime) -> Self:
        """Return the row of an account and a name with which nothing was wrong yet."""
        return cls(
            id=key_of(environment, account_id, name),
            environment=environment,
            account_id=account_id,
            name=name,
            failures=0,
            failing_since=now,
            expires_at=now,
        )

    def fail(self, now: datetime, remembered_for: timedelta) -> None:
        """Count a failure, to be remembered for some time after it."""
        if self.expires_at <= now:
            self.restart(now)
        self.failures += 1
        self.expires_at = max(now + remembered_for, self.paused_until or now)

    def restart(self, now: datetime, failures: int = 0) -> None:
        """Count from now on: there was a success, the last failure was long ago, or all is forgiven."""
        self.failures = failures
        self.failing_since = now
        self.paused_until = None

    def begin(self, until: datetime, reason: str) -> None:
        """Refuse the name until then."""
        self.paused_until = until
        self.reason = reason
        self.expires_at = max(self.expires_at, until)

    def refusal(self, now: datetime, environment: str) -> RateLimited | None:
        """Return what an order for the name is refused with; None when it is not paused."""
        if self.paused_until is None or self.paused_until <= now:
            return None
        why = {
            "failures": f"{self.failures} validations in a row failed since {self.failing_since:%Y-%m-%d %H:%M} UTC",
            "renewals": "certificates for it were ordered far more often than they have to be renewed",
        }[self.reason]
        return RateLimited(
            f"{self.name} is paused for this account until {self.paused_until:%Y-%m-%d %H:%M:%S} UTC: {why}. Mend the "
            f"client; operators can end the pause of account {self.account_id} in environment {environment} at once",
            headers={"Retry-After": str(max(1, int((self.paused_until - now).total_seconds())))},
        )


PAUSES = table_of(Pause, "pauses")
Index("ix_pauses_expires_at", PAUSES.c.expires_at)
Index("ix_pauses_account_id", PAUSES.c.account_id)
partial_index("ix_pauses_paused", PAUSES.c.environment, PAUSES.c.id, where=PAUSES.c.paused_until.is_not(None))


def key_of(environment: str, account_id: str, name: str) -> str:
    """Return the key of the row of an account and a name."""
    return hashlib.sha256(f"{environment}\n{account_id}\n{name}".encode()).hexdigest()[:32]


def refusals(
    connection: Connection, environment: str, account_id: str, names: Iterable[str], now: datetime
) -> list[tuple[str, RateLimited]]:
    """Return the refusal of each of the names that is paused for the account."""
    keys = {key_of(environment, account_id, name): name for name in names}
    statement = base.select(Pause, PAUSES.c.id.in_(list(keys)))
    found = [(row.name, row.refusal(now, environment)) for row in base.find(connection, Pause, statement)]
    return [(name, refusal) for name, refusal in found if refusal is not None]


def mark_account(connection: Connection, account_id: str, *, paused: bool) -> None:
    """Let newOrder look for pauses of the account from now on, or no more.

    Its row is held also when it is marked so already: until the pause is there to be seen, nobody ends the mark.
    """
    _hold(connection, account_id)
    marked = update(ACCOUNTS).where(ACCOUNTS.c.id == account_id, ACCOUNTS.c.paused.is_not(paused))
    connection.execute(marked.values(paused=paused))


def unmark_unpaused(connection: Connection, account_ids: Iterable[str]) -> None:
    """Let newOrder no more look for pauses of those accounts that have none."""
    for account_id in sorted(set(account_ids)):
        _hold(connection, account_id)
        held = select(PAUSES.c.id).where(PAUSES.c.account_id == account_id, PAUSES.c.paused_until.is_not(None))
        if connection.scalar(held.limit(1)) is None:
            mark_account(connection, account_id, paused=False)


def forget(connection: Connection, keys: list[str]) -> None:
    """Delete rows."""
    connection.execute(delete(PAUSES).where(PAUSES.c.id.in_(keys)))


def _hold(connection: Connection, account_id: str) -> None:
    """Keep others from marking an account until the transaction ends."""
    connection.execute(select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == account_id).with_for_update())
