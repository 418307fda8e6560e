"""Authorizations with their challenges in one row. RFC 8555 §7.1.4, §7.1.5, §7.1.6.

All challenges of an authorization share its token. At most one of them is ever at work: the `challenge` that the
client chose; the others stay pending, and disappear once the authorization is final.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from acme_ca.identifiers import Identifier
from acme_ca.models.base import Base, new_id
from acme_ca.problems import Malformed, NotFound, Problem, Unauthorized


class AuthorizationStatus(StrEnum):
    """What is stored. `processing` is pending on the wire (§7.1.6 knows it for challenges only); expiry is a time."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"


REUSE_MARGIN = timedelta(minutes=5)  # an authorization that ends sooner is not worth an order
LIVE = (AuthorizationStatus.PENDING, AuthorizationStatus.PROCESSING, AuthorizationStatus.VALID)


class Authorization(Base):
    """An account's right to a name, or the way to it. `due_at` is when validation work is to be (re)claimed."""

    __tablename__ = "authorizations"
    __table_args__ = (
        Index("ix_authorizations_reuse", "account_id", "identifier", "status"),
        Index(
            "ix_authorizations_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_authorizations_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    environment: Mapped[str]
    account_id: Mapped[str]
    identifier_type: Mapped[str]
    identifier: Mapped[str]  # with the leading "*." of a wildcard
    status: Mapped[str] = mapped_column(default=AuthorizationStatus.PENDING.value)
    token: Mapped[str] = mapped_column(default=lambda: secrets.token_urlsafe(32))
    challenges: Mapped[list[str]]  # the types offered
    challenge: Mapped[str | None]  # the type that the client chose
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    validated_at: Mapped[datetime | None]
    caa_checked_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    evidence: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]

    @property
    def name(self) -> Identifier:
        """The identifier, with its wildcard label if it has one."""
        return Identifier(self.identifier_type, self.identifier)  # type: ignore[arg-type] # only checked identifiers are stored

    @classmethod
    def offer(
        cls,
        environment: str,
        account_id: str,
        identifier: Identifier,
        challenges: Iterable[str],
        *,
        now: datetime,
        expires_at: datetime,
    ) -> "Authorization":
        """Return a new pending authorization that offers these challenge types."""
        return cls(
            id=new_id(),
            environment=environment,
            account_id=account_id,
            identifier_type=identifier.type,
            identifier=identifier.value,
            status=AuthorizationStatus.PENDING.value,
            challenges=list(challenges),
            created_at=now,
            expires_at=expires_at,
            attempts=[],
        )

    @property
    def shown(self) -> list[str]:
        """The challenge types on the wire: those offered, and of a decided authorization the one that decided."""
        decided = self.status in (AuthorizationStatus.VALID, AuthorizationStatus.INVALID)
        return [self.challenge] if decided and self.challenge else self.challenges

    def status_at(self, now: datetime) -> str:
        """Return the status on the wire. §7.1.6."""
        if self.status in LIVE and self.expires_at <= now:
            return "expired" if self.status == AuthorizationStatus.VALID else "invalid"
        return "pending" if self.status == AuthorizationStatus.PROCESSING else self.status

    def submit(self, challenge: str, now: datetime, due_at: datetime) -> bool:
        """Begin to validate; False when there is nothing to begin because a client asked before."""
        if challenge not in self.challenges:
            raise Malformed(f"this authorization offers {', '.join(self.challenges)}, not {challenge}")
        if self.status != AuthorizationStatus.PENDING or self.expires_at <= now:
            return False
        self.status = AuthorizationStatus.PROCESSING.value
        self.challenge = challenge
        self.submitted_at = now
        self.due_at = due_at
        return True

    def claim(self, due_at: datetime) -> None:
        """Take the work on for as long as the lease `due_at` says."""
        self.due_at = due_at

    def succeed(self, now: datetime, expires_at: datetime, evidence: dict[str, Any]) -> None:
        """Become valid until `expires_at`: validation proved control."""
        if self.status != AuthorizationStatus.PROCESSING:
            return  # deactivated or decided while we looked: what the client asked for stands
        self.status = AuthorizationStatus.VALID.value
        self.validated_at = self.caa_checked_at = now
        self.expires_at = expires_at
        self.evidence = evidence
        self.due_at = None

    def fail(self, problem: Problem) -> None:
        """Become invalid: validation found a definite wrong answer, or patience ended."""
        if self.status != AuthorizationStatus.PROCESSING:
            return
        self.status = AuthorizationStatus.INVALID.value
        self.error = problem.document()
        self.due_at = None

    def postpone(self, attempt: dict[str, Any], due_at: datetime) -> None:
        """Nothing answered: keep what was tried and look again at `due_at`."""
        self.attempts = [*self.attempts, attempt]
        self.due_at = due_at

    def deactivate(self, now: datetime) -> None:
        """Give the authorization up at the client's wish. §7.5.2."""
        if self.status not in LIVE or self.expires_at <= now:
            raise Malformed(
                f"this authorization is {self.status_at(now)}; only a pending or valid one can be deactivated"
            )
        self.status = AuthorizationStatus.DEACTIVATED.value
        self.due_at = None


def reusable(
    session: Session, account_id: str, challenges: Mapping[Identifier, Sequence[str]], now: datetime
) -> dict[Identifier, Authorization]:
    """Return the account's valid authorizations for these names, each proved by a challenge type still allowed."""
    rows = session.scalars(
        select(Authorization)
        .where(
            Authorization.account_id == account_id,
            Authorization.identifier.in_([name.value for name in challenges]),
            Authorization.status == AuthorizationStatus.VALID.value,
            Authorization.expires_at > now + REUSE_MARGIN,
        )
        .order_by(Authorization.expires_at)
    )
    return {row.name: row for row in rows if row.challenge in challenges.get(row.name, ())}


def owned_authorization(
    session: Session, environment: str, account_id: str, authorization_id: str, *, lock: bool = False
) -> Authorization:
    """Return the account's own authorization; raises NotFound, or Unauthorized for another account's."""
    authorization = session.get(Authorization, authorization_id, with_for_update=lock or None)
    if authorization is None or authorization.environment != environment:
        raise NotFound(f"there is no authorization {authorization_id}")
    if authorization.account_id != account_id:
        raise Unauthorized(f"authorization {authorization_id} belongs to another account")
    return authorization
