"""Bindings of workloads as operators have to do with them: admitted by hand, listed, ended, released.

docs/workload-identity-00.md §8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.jose import b64url_encode
from acme_ca.models import base
from acme_ca.models.authorization import AUTHORIZATIONS, LIVE, Authorization
from acme_ca.models.binding import BINDINGS, Binding
from acme_ca.models.external_key import ExternalKey, new_mac_key
from acme_ca.models.owner import free, free_instance
from acme_ca.policy.grants import Grant
from acme_ca.problems import NotFound
from acme_ca.services import audit
from acme_ca.services.workloads import Exchanged, external_key, new_kid
from acme_ca.workload import Workload

OPERATOR = "operator"  # the issuer of a workload that was admitted by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Bindings for which everything holds that is not None. `rule` is without a version; `live`: those that stand."""

    binding: str | None = None
    subject: str | None = None
    rule: str | None = None
    provider: str | None = None
    account: str | None = None
    live: bool = False

    def __str__(self) -> str:
        """Say what is wanted."""
        names = ("binding", "subject", "rule", "provider", "account")
        return ", ".join(f"{name} {value[:80]}" for name in names if (value := getattr(self, name)) is not None)

    def conditions(self, environment: str, now: datetime) -> list[ColumnElement[bool]]:
        """Return what has to hold."""
        columns = BINDINGS.c
        pairs = (
            (columns.environment, environment),
            (columns.id, self.binding),
            (columns.subject, self.subject),
            (columns.rule, self.rule),
            (columns.provider, self.provider),
            (columns.account_id, self.account),
        )
        found = [column == value for column, value in pairs if value is not None]
        return [*found, columns.revoked_at.is_(None), columns.expires_at > now] if self.live else found


def standing_of(binding: Binding, now: datetime) -> Literal["live", "ended", "revoked"]:
    """Return how a binding stands."""
    if binding.revoked_at is not None:
        return "revoked"
    return "live" if binding.expires_at > now else "ended"


def page(
    ca: Authority, environment: str, wanted: Wanted, *, after: str | None = None, limit: int = 100
) -> tuple[list[Binding], str | None]:
    """Return bindings of an environment, the newest first, and after which one the next page begins."""
    conditions = wanted.conditions(environment, clock.now())
    if after is not None:
        conditions.append(BINDINGS.c.id < after)
    statement = base.select(Binding, *conditions).order_by(BINDINGS.c.id.desc()).limit(limit + 1)
    with ca.database.read() as connection:
        found = base.find(connection, Binding, statement)
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def admit(
    ca: Authority,
    environment: Environment,
    provider: str,
    subject: str,
    claims: Mapping[str, Any],
    lifetime: timedelta,
    *,
    by: str,
) -> Exchanged:
    """Bind a workload that an operator vouches for to whoever uses the key first; raises NotFound and no_policy."""
    policy = environment.workloads
    if policy is None:
        raise NotFound(f"environment {environment.name} has no provider of workload identity")
    now = clock.now()
    workload = Workload(provider, OPERATOR, subject, claims, mode="required", expires_at=now + lifetime)
    grant = policy.grant(workload)
    binding = _vouched_for(environment, workload, grant, now)
    mac_key, kid, expires_at = new_mac_key(), new_kid(), min(now + lifetime, binding.expires_at)
    with ca.database.write(durable=True) as connection:
        base.insert(connection, binding)
        base.insert(connection, external_key(environment.name, kid, mac_key, binding.id, now, expires_at))
        audit.record(
            connection,
            environment.name,
            "workload.admitted",
            binding.id,
            by=by,
            kid=kid,
            provider=provider,
            workload=subject,
            rule=f"{binding.rule}@{binding.policy_version}",
        )
    return Exchanged(kid=kid, mac_key=b64url_encode(mac_key), key_expires_at=expires_at, binding=binding, grant=grant)


def revoke(ca: Authority, environment: str, wanted: Wanted, reason: str, *, by: str) -> int:
    """End all wanted bindings, with everything that follows from them; return how many. Raises NotFound for none.

    Their authorizations are given up and their unused external account keys revoked: no order gets a certificate
    by them any more.
    """
    now = clock.now()
    standing = base.select(Binding, *wanted.conditions(environment, now), BINDINGS.c.revoked_at.is_(None))
    with ca.database.write(durable=True) as connection:
        found = base.find(connection, Binding, standing.with_for_update())
        for binding in found:
            binding.revoke(now, reason)
            base.update(connection, binding)
            _end_authorizations(connection, binding, now)
            _revoke_keys(connection, binding, now)
            audit.record(
                connection,
                environment,
                "workload.revoked",
                binding.id,
                account_id=binding.account_id,
                by=by,
                workload=binding.subject,
                rule=binding.rule,
                reason=reason,
            )
    if not found:
        raise NotFound(f"nothing to end: no binding of environment {environment} stands with {wanted}")
    return len(found)


def release(ca: Authority, environment: str, wanted: Wanted, *, by: str) -> int:
    """Let other account keys speak for the instances of all wanted bindings; return how many may.

    For a workload that lost its account key and cannot prove itself anew, since its instance belongs to that key.
    Raises NotFound for none.
    """
    statement = base.select(Binding, *wanted.conditions(environment, clock.now()))
    released = 0
    with ca.database.write(durable=True) as connection:
        for binding in base.find(connection, Binding, statement):
            if free_instance(connection, binding):
                released += 1
                audit.record(
                    connection,
                    environment,
                    "workload.released",
                    binding.id,
                    account_id=binding.account_id,
                    by=by,
                    workload=binding.subject,
                    instance=binding.instance,
                )
    if not released:
        raise NotFound(f"nothing to release: no binding of environment {environment} with {wanted} has an instance")
    return released


def _vouched_for(environment: Environment, workload: Workload, grant: Grant, now: datetime) -> Binding:
    return Binding.of(
        environment.name,
        workload,
        claims=environment.kept_claims(workload),
        grant=grant.document(),
        evidence_sha256=b"",
        account_id=None,
        account_jkt=None,
        renewable=True,
        now=now,
        lifetime=timedelta(seconds=grant.binding_ttl) or workload.expires_at - now,
    )


def _end_authorizations(connection: Connection, binding: Binding, now: datetime) -> None:
    statuses: Sequence[str] = [status.value for status in LIVE]
    live = base.select(Authorization, AUTHORIZATIONS.c.binding_id == binding.id, AUTHORIZATIONS.c.status.in_(statuses))
    for authorization in base.find(connection, Authorization, live.with_for_update()):
        if authorization.expires_at > now:
            authorization.deactivate(now)
            base.update(connection, authorization)


def _revoke_keys(connection: Connection, binding: Binding, now: datetime) -> None:
    columns = ExternalKey.table.c
    unused = base.select(
        ExternalKey, columns.binding_id == binding.id, columns.revoked_at.is_(None), columns.used_at.is_(None)
    )
    for key in base.find(connection, ExternalKey, unused.with_for_update()):
        key.revoked_at = now
        base.update(connection, key)
        free(connection, binding.environment, f"kid:{key.kid}")
