"""Bindings: which workload an account acts for, and for how long it is believed. docs/workload-identity-00.md §8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Connection, Index, bindparam

from acme_ca.models import base
from acme_ca.models.base import Record, new_id, table_of
from acme_ca.models.prepared import Prepared
from acme_ca.workload.base import BindingMode, Workload, refusal


@dataclass(kw_only=True)
class Binding(Record):
    """A proved workload, as the policy of the moment saw it.

    `account_id` is the account that proved it, or that spent the external account key which the proof was exchanged
    for, or that took it as proved for its key; until then None. `account_jkt` is the thumbprint of the one account key
    it is for, if the proof named one.
    `claims` are those that policy looks at; `grant` is what it granted then. With `renewable`, new orders of the
    account may use it; otherwise it is good for the order alone at whose challenge it was proved.
    """

    id: str = field(default_factory=new_id)
    environment: str
    account_id: str | None = None
    account_jkt: str | None = None
    provider: str
    issuer: str
    subject: str
    instance: str | None = None
    mode: str
    claims: dict[str, Any]
    rule: str
    policy_version: str
    grant: dict[str, Any]
    renewable: bool
    evidence_sha256: bytes
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_reason: str | None = None

    @classmethod
    def of(  # noqa: PLR0913 - one row, from the parts that its two makers have
        cls,
        environment: str,
        workload: Workload,
        *,
        claims: dict[str, Any],
        grant: dict[str, Any],
        evidence_sha256: bytes,
        account_id: str | None,
        account_jkt: str | None,
        renewable: bool,
        now: datetime,
        lifetime: timedelta,
    ) -> Self:
        """Return the binding of a workload that was proved now, with what policy granted it."""
        return cls(
            environment=environment,
            account_id=account_id,
            account_jkt=account_jkt,
            provider=workload.provider,
            issuer=workload.issuer,
            subject=workload.subject,
            instance=workload.instance,
            mode=workload.mode,
            claims=claims,
            rule=grant["rule"],
            policy_version=grant["policy_version"],
            grant=grant,
            renewable=renewable,
            evidence_sha256=evidence_sha256,
            created_at=now,
            expires_at=now + lifetime,
        )

    def require_live(self, now: datetime) -> None:
        """Raise binding_expired unless the binding still stands."""
        if self.revoked_at is not None:
            raise refusal("binding_expired", f"the binding to {self.subject} was revoked; prove the workload again")
        if self.expires_at <= now:
            ended = f"{self.expires_at:%Y-%m-%d %H:%M:%S} UTC"
            raise refusal(
                "binding_expired", f"the binding to {self.subject} ended at {ended}; prove the workload again"
            )

    def attach(self, account_id: str) -> None:
        """Make the binding an account's."""
        self.account_id = account_id

    def revoke(self, now: datetime, reason: str) -> None:
        """End it at once."""
        self.revoked_at = now
        self.revoked_reason = reason

    def workload(self) -> Workload:
        """Return the workload as it is remembered: with the claims that were kept."""
        return Workload(
            provider=self.provider,
            issuer=self.issuer,
            subject=self.subject,
            claims=self.claims,
            mode=_MODES[self.mode],
            expires_at=self.expires_at,
            instance=self.instance,
        )


_MODES: Mapping[str, BindingMode] = {"required": "required", "affinity": "affinity", "tofu": "tofu"}

BINDINGS = table_of(Binding, "workload_bindings")
Index("ix_workload_bindings_account_id", BINDINGS.c.account_id, BINDINGS.c.expires_at)
Index("ix_workload_bindings_account_jkt", BINDINGS.c.environment, BINDINGS.c.account_jkt)
Index("ix_workload_bindings_subject", BINDINGS.c.environment, BINDINGS.c.subject)
Index("ix_workload_bindings_expires_at", BINDINGS.c.expires_at)

_LIVE = Prepared(
    base.select(
        Binding,
        BINDINGS.c.account_id == bindparam("account_id"),
        BINDINGS.c.expires_at > bindparam("now"),
        BINDINGS.c.revoked_at.is_(None),
        BINDINGS.c.renewable.is_(True),
    )
    .order_by(BINDINGS.c.id.desc())
    .limit(1)
)
_WAITING = base.select(
    Binding,
    BINDINGS.c.environment == bindparam("environment"),
    BINDINGS.c.account_jkt == bindparam("account_jkt"),
    BINDINGS.c.account_id.is_(None),
)


def live_binding(connection: Connection, account_id: str, now: datetime) -> Binding | None:
    """Return the binding that orders of the account may use now: the one proved last; or None."""
    found = base.find(connection, Binding, _LIVE, account_id=account_id, now=now)
    return found[0] if found else None


def waiting_bindings(connection: Connection, environment: str, account_jkt: str, now: datetime) -> list[Binding]:
    """Return the live bindings that were proved for an account key and that no account has.

    None when they are of several workloads: an account speaks for one, and anybody could have named its key.
    """
    found = [
        binding
        for binding in base.find(connection, Binding, _WAITING, environment=environment, account_jkt=account_jkt)
        if binding.revoked_at is None and binding.expires_at > now
    ]
    return found if len({(binding.provider, binding.subject) for binding in found}) == 1 else []
