"""Authorizations with their challenges in one row. RFC 8555 §7.1.4, §7.1.5, §7.1.6.

All challenges of an authorization share its token. At most one of them is ever at work: the `challenge` that the
client chose; the others stay pending, and disappear once the authorization is final.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Connection, Index, bindparam

from acme_ca.clock import rfc3339
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.account import Owned
from acme_ca.models.base import new_id, partial_index, table_of
from acme_ca.models.binding import Binding
from acme_ca.models.prepared import Prepared
from acme_ca.problems import Malformed, Problem, Unauthorized
from acme_ca.workload.base import WORKLOAD_CHALLENGE


class AuthorizationStatus(StrEnum):
    """What is stored. `processing` is pending on the wire (§7.1.6 knows it for challenges only); expiry is a time."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"


PROOF_LIFETIME = timedelta(hours=1)
REUSE_MARGIN = timedelta(minutes=5)  # an authorization that ends sooner is not worth an order
LIVE = (AuthorizationStatus.PENDING, AuthorizationStatus.PROCESSING, AuthorizationStatus.VALID)


def new_token() -> str:
    """Return a token of 256 random bits in base64url. RFC 8555 §8.1."""
    return secrets.token_urlsafe(32)


@dataclass(kw_only=True)
class Authorization(Owned):
    """An account's right to a name, or the way to it. `due_at` is when validation work is to be (re)claimed.

    `claimed_by` is the process that works on it until then. `identifier` has the leading "*." of a wildcard;
    `challenges` are the types offered, `challenge` the one chosen. `group_id` is the order it was made for, where one
    proof of a workload may decide all authorizations of the order; `binding_id` is the workload that was proved.
    """

    id: str = field(default_factory=new_id)
    environment: str
    account_id: str
    identifier_type: str
    identifier: str
    status: str = AuthorizationStatus.PENDING.value
    token: str = field(default_factory=new_token)
    challenges: list[str]
    challenge: str | None = None
    created_at: datetime
    expires_at: datetime
    submitted_at: datetime | None = None
    validated_at: datetime | None = None
    caa_checked_at: datetime | None = None
    due_at: datetime | None = None
    claimed_by: str | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    group_id: str | None = None
    binding_id: str | None = None

    @property
    def name(self) -> Identifier:
        """The identifier, with its wildcard label if it has one."""
        return Identifier(self.identifier_type, self.identifier)  # type: ignore[arg-type] # only checked identifiers are stored

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

    def is_undecided(self, now: datetime) -> bool:
        """Whether no challenge was submitted yet, and one still may be."""
        return self.status == AuthorizationStatus.PENDING and self.expires_at > now

    def submit(self, challenge: str, now: datetime, due_at: datetime, claimed_by: str) -> bool:
        """Begin to validate, as `claim` does; False when there is nothing to begin because a client asked before."""
        if challenge not in self.challenges:
            raise Malformed(f"this authorization offers {', '.join(self.challenges)}, not {challenge}")
        if not self.is_undecided(now):
            return False
        self.status = AuthorizationStatus.PROCESSING.value
        self.challenge = challenge
        self.submitted_at = now
        self.claim(due_at, claimed_by)
        return True

    def claim(self, due_at: datetime, claimed_by: str) -> None:
        """Take the work on for as long as the lease `due_at` says, and the process lives."""
        self.due_at = due_at
        self.claimed_by = claimed_by

    def succeed(self, now: datetime, expires_at: datetime, evidence: dict[str, Any]) -> None:
        """Become valid until `expires_at`: validation proved control."""
        if self.status != AuthorizationStatus.PROCESSING:
            return  # deactivated or decided while we looked: what the client asked for stands
        if self.expires_at <= now:  # clients saw it invalid already
            self.fail(
                Unauthorized(
                    f"control was proved after the authorization had expired at {self.expires_at:%H:%M:%S} UTC"
                )
            )
            return
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

    def prove_by(self, binding: Binding, now: datetime) -> None:
        """Become valid by the proof of a workload: as long as the binding, an hour at most."""
        if not self.is_undecided(now):
            raise RuntimeError(f"authorization {self.id} is {self.status}, not undecided")
        self.status = AuthorizationStatus.VALID.value
        self.challenge = WORKLOAD_CHALLENGE
        self.submitted_at = self.validated_at = self.caa_checked_at = now
        self.expires_at = min(binding.expires_at, now + PROOF_LIFETIME)
        self.binding_id = binding.id
        self.evidence = {"summary": f"{binding.subject}, vouched for by {binding.provider}", "records": []}

    def refuse_proof(self, now: datetime, problem: Problem) -> None:
        """Become invalid: the proof of a workload is refused for good."""
        if self.status != AuthorizationStatus.PENDING:
            return
        self.status = AuthorizationStatus.INVALID.value
        self.challenge = WORKLOAD_CHALLENGE
        self.submitted_at = now
        self.error = problem.document()

    def count_proof(self, now: datetime, problem: Problem, limit: int) -> None:
        """Note a proof that came too early or too late, and may be shown anew; the last one that may be is final."""
        self.attempts = [*self.attempts, {"at": rfc3339(now), "detail": problem.detail}]
        if len(self.attempts) >= limit:
            self.refuse_proof(now, problem)

    def postpone(self, attempt: dict[str, Any], due_at: datetime) -> None:
        """Nothing answered: keep what was tried and look again at `due_at`."""
        self.attempts = [*self.attempts, attempt]
        self.due_at = due_at
        self.claimed_by = None

    def deactivate(self, now: datetime) -> None:
        """Give the authorization up at the client's wish. §7.5.2."""
        if self.status not in LIVE or self.expires_at <= now:
            raise Malformed(
                f"this authorization is {self.status_at(now)}; only a pending or valid one can be deactivated"
            )
        self.status = AuthorizationStatus.DEACTIVATED.value
        self.due_at = None


AUTHORIZATIONS = table_of(Authorization, "authorizations")
Index("ix_authorizations_reuse", AUTHORIZATIONS.c.account_id, AUTHORIZATIONS.c.identifier, AUTHORIZATIONS.c.status)
partial_index("ix_authorizations_due", AUTHORIZATIONS.c.due_at, where=AUTHORIZATIONS.c.due_at.is_not(None))
partial_index("ix_authorizations_group", AUTHORIZATIONS.c.group_id, where=AUTHORIZATIONS.c.group_id.is_not(None))
partial_index("ix_authorizations_binding", AUTHORIZATIONS.c.binding_id, where=AUTHORIZATIONS.c.binding_id.is_not(None))
Index("ix_authorizations_expires_at", AUTHORIZATIONS.c.expires_at)


@cache
def _valid(count: int) -> Prepared:
    statement = base.select(
        Authorization,
        AUTHORIZATIONS.c.account_id == bindparam("account_id"),
        AUTHORIZATIONS.c.identifier.in_([bindparam(f"name{n}") for n in range(count)]),
        AUTHORIZATIONS.c.status == AuthorizationStatus.VALID.value,
        AUTHORIZATIONS.c.expires_at > bindparam("needed_until"),
        AUTHORIZATIONS.c.binding_id.is_(None),  # what a workload proved is good for one order
    )
    return Prepared(statement.order_by(AUTHORIZATIONS.c.expires_at))


def valid_authorizations(
    connection: Connection, account_id: str, names: Sequence[str], until: datetime
) -> list[Authorization]:
    """Return the account's authorizations for these names that stay valid until then, the longest-lived last."""
    values = {f"name{n}": name for n, name in enumerate(names)}
    return base.find(
        connection, Authorization, _valid(len(values)), account_id=account_id, needed_until=until, **values
    )


def reusable(
    connection: Connection, account_id: str, challenges: Mapping[Identifier, Sequence[str]], now: datetime
) -> dict[Identifier, Authorization]:
    """Return the account's valid authorizations for these names, each proved by a challenge type still allowed."""
    held = valid_authorizations(connection, account_id, [name.value for name in challenges], now + REUSE_MARGIN)
    return {row.name: row for row in held if row.challenge in challenges.get(row.name, ())}


_PENDING = Prepared(
    base.select(
        Authorization,
        AUTHORIZATIONS.c.account_id == bindparam("account_id"),
        AUTHORIZATIONS.c.identifier == bindparam("identifier"),
        AUTHORIZATIONS.c.status == AuthorizationStatus.PENDING.value,
        AUTHORIZATIONS.c.expires_at > bindparam("needed_until"),
        AUTHORIZATIONS.c.group_id.is_(None),  # what a workload proves is good for one order
    )
    .order_by(AUTHORIZATIONS.c.expires_at.desc())
    .limit(10)
)


def pending_authorizations(
    connection: Connection, account_id: str, name: Identifier, now: datetime
) -> list[Authorization]:
    """Return the account's authorizations for a name that wait for a challenge, the longest-lived first."""
    until = now + REUSE_MARGIN
    found = base.find(
        connection, Authorization, _PENDING, account_id=account_id, identifier=name.value, needed_until=until
    )
    return [one for one in found if one.name == name]
