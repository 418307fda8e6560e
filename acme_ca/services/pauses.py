"""Zombie control: an account that keeps failing at a name, or renews it far too often, has to wait. RFC 8555 §6.6.

Failures are counted where they happen. Orders look for pauses only of accounts that are marked as having one, so that
all others pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, select

from acme_ca import baton, clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models import pause as models
from acme_ca.models.account import Account
from acme_ca.models.authorization import AUTHORIZATIONS
from acme_ca.models.base import first_id
from acme_ca.models.certificate import CERTIFICATES
from acme_ca.models.certificate_term import TERMS
from acme_ca.models.pause import PAUSES, Pause
from acme_ca.problems import NotFound, ServiceUnavailable
from acme_ca.services import audit
from acme_ca.services.certificates import check_page, require_environment

SWEEP_BATCH = 500  # rows deleted in one transaction


@dataclass(frozen=True, slots=True)
class Page:
    """Pauses of an environment, and the cursor of the next page if there is one."""

    pauses: Sequence[Pause]
    after: str | None


def count_failure(ca: Authority, environment: Environment, account_id: str, name: Identifier) -> None:
    """Count a failed validation, and pause the name for the account when there were too many in a row.

    A count that is lost because the database is busy, or somebody else counts at the same moment, is no matter.
    """
    settings = environment.settings.pause
    if not settings.failures:
        return
    with suppress(AlreadyThereError, ServiceUnavailable), baton.held(), ca.database.write() as connection:
        now = clock.now()
        row, is_new = _row(connection, environment.name, account_id, str(name), now)
        row.fail(now, timedelta(seconds=settings.forgotten_after))
        if row.failures >= settings.failures and _succeeded(connection, row, name):
            row.restart(now, failures=1)
        _save(connection, row, is_new=is_new)
        if row.failures >= settings.failures:
            _begin(connection, row, now + timedelta(seconds=settings.duration), "failures")


def watch_renewals(ca: Authority, environment: Environment, account_id: str, names: Sequence[Identifier]) -> None:
    """Pause those names of an order for which the account had too many certificates lately."""
    settings = environment.settings.pause
    now = clock.now()
    for name in names:
        with ca.database.read() as connection:
            held = base.get(connection, Pause, models.key_of(environment.name, account_id, str(name)))
            since = now - timedelta(seconds=settings.renewals_within)
            if held is not None:  # what was before an unpause is forgiven
                since = max(since, held.failing_since)
            newest = _certificates(environment.name, account_id, str(name), since)
            many = len(connection.scalars(newest.limit(settings.renewals)).all()) >= settings.renewals
            paused = held is not None and held.refusal(now, environment.name) is not None
        if many and not paused:
            with suppress(AlreadyThereError), ca.database.write() as connection:
                row, is_new = _row(connection, environment.name, account_id, str(name), now)
                row.expires_at = now + timedelta(seconds=settings.forgotten_after)
                row.failing_since = since
                _save(connection, row, is_new=is_new)
                _begin(connection, row, now + timedelta(seconds=settings.duration), "renewals")


def require_none(connection: Connection, account: Account, names: Sequence[Identifier], now: datetime) -> None:
    """Raise RateLimited with Retry-After when one of the names is paused for the account."""
    found = models.refusals(connection, account.environment, account.id, map(str, names), now)
    if found:
        raise max((refusal for _, refusal in found), key=lambda refusal: int(refusal.headers["Retry-After"]))


def page(ca: Authority, environment: str, *, after: str | None = None, limit: int = 100) -> Page:
    """Return the names that are paused now, ordered by their id."""
    require_environment(ca, environment)
    check_page(None, limit)
    columns = PAUSES.c
    statement = base.select(
        Pause, columns.environment == environment, columns.paused_until.is_not(None), columns.paused_until > clock.now()
    )
    if after is not None:
        statement = statement.where(columns.id > after)
    with ca.database.read() as connection:
        found = base.find(connection, Pause, statement.order_by(columns.id).limit(limit + 1))
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


def unpause(ca: Authority, environment: str, account_id: str, *, by: str, name: str | None = None) -> list[Pause]:
    """Let an account order its paused names again, or the one name (`type:value`); what was counted is forgiven.

    Return what was paused; raises NotFound when nothing was.
    """
    columns = PAUSES.c
    statement = base.select(
        Pause,
        columns.account_id == account_id,
        columns.environment == environment,
        columns.paused_until.is_not(None),
    )
    if name is not None:
        statement = statement.where(columns.name == name)
    now = clock.now()
    with ca.database.write(durable=True) as connection:
        found = base.find(connection, Pause, statement.with_for_update())
        if not found:
            raise NotFound(f"nothing is paused for account {account_id[:64]} in environment {environment}")
        for row in found:
            row.restart(now)
            base.update(connection, row)
            audit.record(
                connection, environment, "pause.ended", row.id, account_id=account_id, identifier=row.name, by=by
            )
        models.unmark_unpaused(connection, [account_id])
    return found


def get(ca: Authority, environment: str, pause_id: str) -> Pause:
    """Return a pause of an environment; raises NotFound."""
    with ca.database.read() as connection:
        found = base.get(connection, Pause, pause_id)
    if found is None or found.environment != environment or found.paused_until is None:
        raise NotFound(f"environment {environment} has no pause {pause_id[:64]}")
    return found


def sweep(ca: Authority) -> int:
    """Forget what was long ago, in small steps; return how many rows went."""
    gone, batch = 0, SWEEP_BATCH
    while batch == SWEEP_BATCH:
        old = base.select(Pause, PAUSES.c.expires_at < clock.now()).limit(SWEEP_BATCH)
        with ca.database.read() as connection:  # a look first, so that an idle worker never takes the write turn
            batch = len(base.find(connection, Pause, old))
        if batch:
            with ca.database.write() as connection:
                rows = base.find(connection, Pause, old.with_for_update())
                models.forget(connection, [row.id for row in rows])
                models.unmark_unpaused(connection, [row.account_id for row in rows if row.paused_until is not None])
        gone += batch
    return gone


def _row(connection: Connection, environment: str, account_id: str, name: str, now: datetime) -> tuple[Pause, bool]:
    """Return the row of an account and a name, locked, and whether it is new."""
    held = base.get(connection, Pause, models.key_of(environment, account_id, name), lock=True)
    return (Pause.of(environment, account_id, name, now), True) if held is None else (held, False)


def _save(connection: Connection, row: Pause, *, is_new: bool) -> None:
    if is_new:
        base.insert(connection, row)
    else:
        base.update(connection, row)


def _begin(connection: Connection, row: Pause, until: datetime, reason: str) -> None:
    row.begin(until, reason)
    base.update(connection, row)
    models.mark_account(connection, row.account_id, paused=True)
    audit.record(
        connection,
        row.environment,
        "pause.begun",
        row.id,
        account_id=row.account_id,
        identifier=row.name,
        reason=reason,
        failures=row.failures,
        until=clock.rfc3339(until),
    )
    metrics.PAUSES.labels(row.environment, reason).inc()


def _succeeded(connection: Connection, row: Pause, name: Identifier) -> bool:
    """Whether the account proved the name, or had a certificate for it, since it began to fail."""
    columns = AUTHORIZATIONS.c
    proved = select(columns.id).where(
        columns.account_id == row.account_id,
        columns.identifier == name.value,
        columns.validated_at > row.failing_since,
    )
    issued = _certificates(row.environment, row.account_id, row.name, row.failing_since)
    return any(connection.scalar(found.limit(1)) is not None for found in (proved, issued))


def _certificates(environment: str, account_id: str, name: str, since: datetime) -> Select[str]:
    """Return the statement for the ids of the account's certificates for a name, the newest first."""
    statement = select(TERMS.c.certificate_id).join(CERTIFICATES, CERTIFICATES.c.id == TERMS.c.certificate_id)
    return statement.where(
        TERMS.c.environment == environment,
        TERMS.c.term == name,
        TERMS.c.certificate_id >= first_id(since),
        CERTIFICATES.c.account_id == account_id,
        CERTIFICATES.c.status == "issued",
    ).order_by(TERMS.c.certificate_id.desc())
