"""Accounts for operators: search, all there is to know of one, its end, a note. RFC 8555 §7.3.6 is for clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, func, select

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.models import base
from acme_ca.models.account import ACCOUNTS, Account, AccountStatus
from acme_ca.models.base import first_id
from acme_ca.models.binding import BINDINGS
from acme_ca.models.order import ORDERS, OrderStatus
from acme_ca.models.pause import PAUSES, Pause
from acme_ca.models.revocation import Revocation
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import Malformed, NotFound
from acme_ca.services import audit, revocations, selecting
from acme_ca.services.certificates import check_page, require_environment

MAX_NOTE = 2000  # characters
TAG_SIZE = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which accounts of an environment: those for which everything holds that is not None.

    `subject` is of a workload that spoke for the account; it was made at `since` or later, and before `until`.
    """

    environment: str
    thumbprint: str | None = None
    eab_kid: str | None = None
    eab_label: str | None = None
    status: AccountStatus | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Accounts, the newest first, and the cursor of the next page if there is one."""

    accounts: Sequence[Account]
    after: str | None


@dataclass(frozen=True, slots=True)
class Detail:
    """An account with how many certificates it has (all, and valid ones), its open orders and its paused names."""

    account: Account
    certificates: int
    valid_certificates: int
    orders: int
    pauses: Sequence[Pause]


def search(ca: Authority, wanted: Wanted, *, after: str | None = None, limit: int = 100) -> Page:
    """Return accounts, the newest first; `after` is where another page ended. Raises NotFound, Malformed."""
    require_environment(ca, wanted.environment)
    check_page(after, limit)
    conditions = _conditions(wanted)
    if after is not None:
        conditions.append(ACCOUNTS.c.id < after)
    statement = base.select(Account, *conditions).order_by(ACCOUNTS.c.id.desc()).limit(limit + 1)
    with ca.database.read() as connection:
        found = base.find(connection, Account, statement)
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


def detail(ca: Authority, environment: str, account_id: str) -> Detail:
    """Return an account with its figures; raises NotFound."""
    now = clock.now()
    selection = Selection(environment=environment, account_id=account_id)
    with ca.database.read() as connection:
        account = _account(connection, environment, account_id)
        is_open = ORDERS.c.status.in_([OrderStatus.PENDING.value, OrderStatus.PROCESSING.value])
        orders = select(func.count()).where(ORDERS.c.account_id == account_id, is_open, ORDERS.c.expires_at > now)
        paused = base.select(Pause, PAUSES.c.account_id == account_id, PAUSES.c.paused_until > now)
        return Detail(
            account,
            certificates=connection.scalar(selection.count()) or 0,
            valid_certificates=connection.scalar(selection.living(connection, now).count(standing_at(now))) or 0,
            orders=connection.scalar(orders) or 0,
            pauses=base.find(connection, Pause, paused.limit(100)),
        )


def note_tag(account: Account) -> str:
    """Return what the note of an account is told by: what a change of it says that it is a change of."""
    return sha256((account.note or "").encode()).hexdigest()[:TAG_SIZE]


def annotate(
    ca: Authority,
    environment: str,
    account_id: str,
    note: str | None,
    *,
    by: str,
    require: Callable[[Account], None] | None = None,
) -> Account:
    """Set the operators' note of an account, or remove it; raises NotFound, Malformed, and what `require` raises.

    `require` is given the account as it is, in the transaction of the change.
    """
    if note is not None and len(note) > MAX_NOTE:
        raise Malformed(f"note: {len(note)} characters; at most {MAX_NOTE} are kept")
    with ca.database.write() as connection:
        account = _account(connection, environment, account_id, lock=True)
        if require is not None:
            require(account)
        account.note = note
        base.update(connection, account)
        audit.record(connection, environment, "account.annotated", account.id, account_id=account.id, by=by)
    return account


def end(
    ca: Authority, environment: str, account_id: str, *, by: str, revoke: int | None = None
) -> tuple[Account, Revocation | None]:
    """Revoke an account, which can do nothing any more; and its certificates too, for the reason `revoke`.

    The worker revokes the certificates. An account that ended before stays as it is. Raises NotFound and
    BadRevocationReason.
    """
    if revoke is not None:
        revocations.check_reason(revoke)
    account = _revoke(ca, environment, account_id, by=by)
    if revoke is None:
        return account, None
    selection = Selection(environment=environment, account_id=account_id)
    return account, revocations.start(ca, selection, revoke, by=by, expected=None)


def preview_end(
    ca: Authority, environment: str, account_id: str, *, by: str, revoke: int | None = None
) -> tuple[Account, int]:
    """Return an account as `end` would leave it, and how many certificates it would revoke; raises as `end` does."""
    if revoke is not None:
        revocations.check_reason(revoke)
    with ca.database.rehearsal():
        account = _revoke(ca, environment, account_id, by=by)
    if revoke is None:
        return account, 0
    return account, selecting.preview(ca, Selection(environment=environment, account_id=account_id)).total


def _revoke(ca: Authority, environment: str, account_id: str, *, by: str) -> Account:
    with ca.database.write(durable=True) as connection:
        account = _account(connection, environment, account_id, lock=True)
        if account.status == AccountStatus.VALID:
            account.revoke(clock.now())
            base.update(connection, account)
            audit.record(connection, environment, "account.revoked", account.id, account_id=account.id, by=by)
    return account


def _account(connection: Connection, environment: str, account_id: str, *, lock: bool = False) -> Account:
    account = base.get(connection, Account, account_id, lock=lock)
    if account is None or account.environment != environment:
        raise NotFound(f"environment {environment} has no account {account_id[:64]}")
    return account


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    columns = ACCOUNTS.c
    found: list[ColumnElement[bool]] = [columns.environment == wanted.environment]
    texts = {name: getattr(wanted, name) for name in ("thumbprint", "eab_kid", "eab_label")}
    found += [columns[name] == value for name, value in texts.items() if value is not None]
    if wanted.status is not None:
        found.append(columns.status == wanted.status.value)
        if wanted.status != AccountStatus.VALID:
            found.append(columns.ended_at.is_not(None))  # of which there is an index
    if wanted.subject is not None:
        bound = select(BINDINGS.c.account_id).where(
            BINDINGS.c.environment == wanted.environment, BINDINGS.c.subject == wanted.subject
        )
        found.append(columns.id.in_(bound))
    found += [columns.id >= first_id(wanted.since)] if wanted.since is not None else []
    found += [columns.id < first_id(wanted.until)] if wanted.until is not None else []
    return found
