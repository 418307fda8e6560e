"""Orders. RFC 8555 §7.1.3, §7.1.6."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Connection, Index, bindparam, select

from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.account import Owned
from acme_ca.models.authorization import AUTHORIZATIONS, Authorization
from acme_ca.models.base import new_id, partial_index, table_of
from acme_ca.models.prepared import Prepared
from acme_ca.problems import OrderNotReady, Problem, Unauthorized


class OrderStatus(StrEnum):
    """What is stored. `ready` follows from the authorizations, so that none of them can change behind its back."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as its client sees it at one moment."""

    order: "Order"
    status: str
    error: Mapping[str, Any] | None


@dataclass(kw_only=True)
class Order(Owned):
    """A request for one certificate. `due_at` is when a finalize claimed by a process that died is taken over.

    `identifiers` are in the client's order, `not_before` and `not_after` as requested, `replaces` is an ARI identifier.
    `profile` is the one that the client named (`requested_profile`), or until finalize the likeliest one.
    """

    id: str = field(default_factory=new_id)
    environment: str
    account_id: str
    status: str = OrderStatus.PENDING.value
    identifiers: list[dict[str, Any]]
    authorization_ids: list[str]
    profile: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    replaces: str | None = None
    created_at: datetime
    expires_at: datetime
    due_at: datetime | None = None
    claimed_by: str | None = None
    csr: bytes | None = None
    certificate_id: str | None = None
    error: dict[str, Any] | None = None
    requested_profile: str | None = None

    @property
    def names(self) -> tuple[Identifier, ...]:
        """The identifiers ordered."""
        return tuple(Identifier(body["type"], body["value"]) for body in self.identifiers)

    @property
    def wanted_lifetime(self) -> int | None:
        """The lifetime in seconds that the client asked for, if it did."""
        if self.not_after is None:
            return None
        return round((self.not_after - (self.not_before or self.created_at)).total_seconds())

    def status_at(self, now: datetime, authorizations: Iterable[Authorization]) -> str:
        """Return the status on the wire. §7.1.6.

        Ready once every name has a valid authorization, invalid once one can no longer have it. What counts is the
        name that was validated, not that an authorization belongs to the order.
        """
        if self.status != OrderStatus.PENDING:
            return self.status
        if self.expires_at <= now:
            return "invalid"
        found = {authorization.name: authorization.status_at(now) for authorization in authorizations}
        seen = {found.get(name, "gone") for name in self.names}
        if seen == {"valid"}:
            return "ready"
        return "pending" if seen <= {"valid", "pending"} else "invalid"

    def view(self, now: datetime, authorizations: Sequence[Authorization]) -> OrderView:
        """Return the order as its client sees it; an order that its authorizations made invalid tells their errors."""
        status = self.status_at(now, authorizations)
        error = self.error
        if status == "invalid" and error is None:
            failed = [authorization.error for authorization in authorizations if authorization.error]
            error = failed[0] if failed else Unauthorized("the order or one of its authorizations has ended").document()
        return OrderView(self, status, error)

    def start_processing(
        self, now: datetime, authorizations: Iterable[Authorization], csr: bytes, due_at: datetime, claimed_by: str
    ) -> None:
        """Claim the order for one issuance, until `due_at` and while the process lives; raises OrderNotReady. §7.4."""
        status = self.status_at(now, authorizations)
        if status != "ready":
            raise OrderNotReady(f"the order is {status}; finalize needs it to be ready: every authorization valid")
        self.status = OrderStatus.PROCESSING.value
        self.csr = csr
        self.due_at = due_at
        self.claimed_by = claimed_by

    def complete(self, certificate_id: str) -> None:
        """Become valid: the certificate is issued."""
        self._leave_processing()
        self.status = OrderStatus.VALID.value
        self.certificate_id = certificate_id

    def release(self) -> None:
        """Undo the claim after passing trouble: the client may finalize again."""
        self._leave_processing()
        self.status = OrderStatus.PENDING.value
        self.csr = None

    def fail(self, problem: Problem) -> None:
        """Issuance is refused for good."""
        self._leave_processing()
        self.refuse(problem)

    def refuse(self, problem: Problem) -> None:
        """End an order that can no longer be finalized."""
        self.status = OrderStatus.INVALID.value
        self.error = problem.document()
        self.due_at = None

    def _leave_processing(self) -> None:
        if self.status != OrderStatus.PROCESSING:
            raise RuntimeError(f"order {self.id} is {self.status}, not processing")
        self.due_at = None


ORDERS = table_of(Order, "orders")
Index("ix_orders_account_id", ORDERS.c.account_id, ORDERS.c.id)
partial_index("ix_orders_due", ORDERS.c.due_at, where=ORDERS.c.due_at.is_not(None))
Index("ix_orders_expires_at", ORDERS.c.expires_at)
partial_index("ix_orders_replaces", ORDERS.c.replaces, where=ORDERS.c.replaces.is_not(None))
_REPLACING = Prepared(
    select(ORDERS.c.id)
    .where(
        ORDERS.c.replaces == bindparam("replaces"),
        ORDERS.c.status != OrderStatus.INVALID.value,
        ORDERS.c.expires_at > bindparam("now"),
    )
    .limit(1)
)


def live_order_replacing(connection: Connection, replaces: str, now: datetime) -> bool:
    """Whether there is an order that replaces a certificate, and may yet."""
    return bool(_REPLACING.rows(connection, {"replaces": replaces, "now": now}))


@cache
def _by_ids(count: int) -> Prepared:
    return Prepared(base.select(Authorization, AUTHORIZATIONS.c.id.in_([bindparam(f"id{n}") for n in range(count)])))


def authorizations_of(connection: Connection, order: Order) -> list[Authorization]:
    """Return an order's authorizations; none are needed, and none read, once the order is past pending."""
    if order.status != OrderStatus.PENDING:
        return []
    ids = {f"id{n}": id_ for n, id_ in enumerate(order.authorization_ids)}
    return base.find(connection, Authorization, _by_ids(len(ids)), **ids)
