"""Orders. RFC 8555 §7.1.3, §7.1.6."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from acme_ca.identifiers import Identifier
from acme_ca.models.authorization import Authorization
from acme_ca.models.base import Base, new_id
from acme_ca.problems import NotFound, OrderNotReady, Problem, Unauthorized


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


class Order(Base):
    """A request for one certificate. `due_at` is when a claim of the finalize that died is taken over."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_account_id", "account_id", "id"),
        Index(
            "ix_orders_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_orders_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    environment: Mapped[str]
    account_id: Mapped[str]
    status: Mapped[str] = mapped_column(default=OrderStatus.PENDING.value)
    identifiers: Mapped[list[dict[str, Any]]]  # in the client's order
    authorization_ids: Mapped[list[str]]
    profile: Mapped[str]
    not_before: Mapped[datetime | None]  # as requested
    not_after: Mapped[datetime | None]
    replaces: Mapped[str | None]  # ARI certificate identifier
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    csr: Mapped[bytes | None]
    certificate_id: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]

    @property
    def names(self) -> tuple[Identifier, ...]:
        """The identifiers ordered."""
        return tuple(Identifier(body["type"], body["value"]) for body in self.identifiers)

    def status_at(self, now: datetime, authorizations: Iterable[Authorization]) -> str:
        """Return the status on the wire. §7.1.6.

        Ready once every authorization is valid, invalid once one can no longer be.
        """
        if self.status != OrderStatus.PENDING:
            return self.status
        if self.expires_at <= now:
            return "invalid"
        seen = {authorization.status_at(now) for authorization in authorizations}
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
        self, now: datetime, authorizations: Iterable[Authorization], csr: bytes, due_at: datetime
    ) -> None:
        """Claim the order for one issuance until `due_at`; raises OrderNotReady. §7.4."""
        status = self.status_at(now, authorizations)
        if status != "ready":
            raise OrderNotReady(f"the order is {status}; finalize needs it to be ready: every authorization valid")
        self.status = OrderStatus.PROCESSING.value
        self.csr = csr
        self.due_at = due_at

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

    def _leave_processing(self) -> None:
        if self.status != OrderStatus.PROCESSING:
            raise RuntimeError(f"order {self.id} is {self.status}, not processing")
        self.due_at = None


def authorizations_of(session: Session, order: Order) -> list[Authorization]:
    """Return an order's authorizations; none are needed, and none read, once the order is past pending."""
    if order.status != OrderStatus.PENDING:
        return []
    return list(session.scalars(select(Authorization).where(Authorization.id.in_(order.authorization_ids))))


def owned_order(session: Session, environment: str, account_id: str, order_id: str, *, lock: bool = False) -> Order:
    """Return the account's own order; raises NotFound, or Unauthorized for another account's."""
    order = session.get(Order, order_id, with_for_update=lock or None)
    if order is None or order.environment != environment:
        raise NotFound(f"there is no order {order_id}")
    if order.account_id != account_id:
        raise Unauthorized(f"order {order_id} belongs to another account")
    return order
