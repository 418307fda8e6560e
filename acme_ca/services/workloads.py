"""Workloads of clients that know nothing of them: a proof becomes an external account key; bindings end.

docs/workload-identity-00.md §8. RFC 8555 §7.3.4.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, or_

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError, Database
from acme_ca.jose import b64url_encode
from acme_ca.models import base
from acme_ca.models.account import account_of_key
from acme_ca.models.authorization import AUTHORIZATIONS, LIVE, Authorization
from acme_ca.models.binding import BINDINGS, Binding
from acme_ca.models.external_key import ExternalKey
from acme_ca.models.owner import OWNERS, claim_evidence, free, free_instance, speaks_for
from acme_ca.policy.grants import Grant
from acme_ca.policy.workloads import WorkloadPolicy
from acme_ca.problems import Contended, Malformed, NotFound
from acme_ca.services import audit, refusals
from acme_ca.workload import Expected, Proof, Workload, refusal

MAC_KEY_SIZE = 32  # bytes, for HS256
KEY_LIFETIME = timedelta(minutes=10)  # of an external account key: long enough to start a client with it
OPERATOR = "operator"  # the issuer of a workload that was admitted by hand
KEYS_KEPT = timedelta(days=1)  # how long a key that can no longer be used is known, for whoever asks why
KEPT = timedelta(days=30)  # how long an ended binding can still be looked at


@dataclass(frozen=True, slots=True)
class Wish:
    """What an exchange asks for. `account_jkt` names the one account key that it shall be good for.

    Without `key` nothing but the binding is made, to the account of `account_jkt`, which there may be or will be.
    """

    proof: Proof
    nonce: str | None
    account_jkt: str | None
    key: bool

    @property
    def key_authorization(self) -> str | None:
        """What a bound proof is made for: the nonce, with the account key where one is named. §8."""
        if self.nonce is None:
            return None
        return self.nonce if self.account_jkt is None else f"{self.nonce}.{self.account_jkt}"


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a workload gets. `kid` and `mac_key` (base64url without padding) are None if it asked for no key."""

    kid: str | None
    mac_key: str | None
    key_expires_at: datetime
    binding: Binding
    grant: Grant


def exchange(ca: Authority, environment: Environment, wish: Wish, url: str) -> Exchanged:
    """Exchange a proof for a binding and an external account key; raises the proof's refusal."""
    if environment.workloads is None:
        raise NotFound(f"nobody vouches for workloads in environment {environment.name}")
    if not wish.key and wish.account_jkt is None:
        raise Malformed("without an external account key (eab: false) an account_jkt is needed to bind to")
    now = clock.now()
    workload = environment.identify(wish.proof, Expected(environment.audience, url, wish.key_authorization), now)
    with _told(ca, environment, workload, wish):  # of what was proved: what is no proof at all would fill the audit
        grant = environment.workloads.grant(workload)
        if grant.binding_ttl == 0:
            raise refusal("no_policy", f"rule {grant.rule} is for the challenge alone: it has a binding_ttl of 0")
        try:
            return _bind(ca, environment, wish, workload, grant, now)
        except AlreadyThereError as error:  # the same token was shown at the same moment
            raise Contended from error


def admit(
    database: Database,
    policy: WorkloadPolicy,
    provider: str,
    subject: str,
    claims: Mapping[str, Any],
    lifetime: timedelta,
) -> Exchanged:
    """Bind a workload that an operator vouches for to whoever uses the key first; raises no_policy."""
    now = clock.now()
    workload = Workload(
        provider=provider,
        issuer=OPERATOR,
        subject=subject,
        claims=claims,
        mode="required",
        expires_at=now + lifetime,
    )
    grant = policy.grant(workload)
    binding = Binding.of(
        policy.environment,
        workload,
        claims=policy.subset(workload),
        grant=grant.document(),
        evidence_sha256=b"",
        account_id=None,
        account_jkt=None,
        renewable=True,
        now=now,
        lifetime=timedelta(seconds=grant.binding_ttl) or lifetime,
    )
    mac_key, kid, expires_at = secrets.token_bytes(MAC_KEY_SIZE), _new_kid(), min(now + lifetime, binding.expires_at)
    with database.write(durable=True) as connection:
        base.insert(connection, binding)
        base.insert(connection, _external_key(policy.environment, kid, mac_key, binding.id, now, expires_at))
        audit.record(
            connection,
            policy.environment,
            "workload.admitted",
            binding.id,
            kid=kid,
            provider=provider,
            workload=subject,
            rule=f"{binding.rule}@{binding.policy_version}",
        )
    return Exchanged(kid=kid, mac_key=b64url_encode(mac_key), key_expires_at=expires_at, binding=binding, grant=grant)


def bindings(database: Database, environment: str, *, live: bool) -> list[Binding]:
    """Return an environment's bindings, newest first; only those that stand, if `live`."""
    conditions: list[ColumnElement[bool]] = [BINDINGS.c.environment == environment]
    if live:
        conditions += [BINDINGS.c.revoked_at.is_(None), BINDINGS.c.expires_at > clock.now()]
    with database.read() as connection:
        return base.find(connection, Binding, base.select(Binding, *conditions).order_by(BINDINGS.c.id.desc()))


def revoke(database: Database, environment: str, wanted: ColumnElement[bool], reason: str) -> int:
    """End all bindings that a condition on them finds, with everything that follows from them; return how many.

    Their authorizations are given up and their unused external account keys revoked: no order gets a certificate
    by them any more.
    """
    now = clock.now()
    standing = base.select(Binding, BINDINGS.c.environment == environment, BINDINGS.c.revoked_at.is_(None), wanted)
    with database.write(durable=True) as connection:
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
                workload=binding.subject,
                rule=binding.rule,
                reason=reason,
            )
    return len(found)


def release(database: Database, environment: str, wanted: ColumnElement[bool]) -> int:
    """Let other account keys speak for the instances of all bindings that a condition finds; return how many may.

    For a workload that lost its account key and cannot prove itself anew, since its instance belongs to that key.
    """
    found = base.select(Binding, BINDINGS.c.environment == environment, wanted)
    released = 0
    with database.write(durable=True) as connection:
        for binding in base.find(connection, Binding, found):
            if free_instance(connection, binding):
                released += 1
                audit.record(
                    connection,
                    environment,
                    "workload.released",
                    binding.id,
                    account_id=binding.account_id,
                    workload=binding.subject,
                    instance=binding.instance,
                )
    return released


def by_id(binding_id: str) -> ColumnElement[bool]:
    """Return the condition that finds one binding."""
    return BINDINGS.c.id == binding_id


def by_subject(subject: str) -> ColumnElement[bool]:
    """Return the condition that finds the bindings of a workload."""
    return BINDINGS.c.subject == subject


def by_rule(rule: str) -> ColumnElement[bool]:
    """Return the condition that finds what a rule granted."""
    return BINDINGS.c.rule == rule


def by_provider(provider: str) -> ColumnElement[bool]:
    """Return the condition that finds all that a provider vouched for."""
    return BINDINGS.c.provider == provider


FINDERS: Mapping[str, Callable[[str], ColumnElement[bool]]] = {
    "binding": by_id,
    "subject": by_subject,
    "rule": by_rule,
    "provider": by_provider,
}
"""The conditions, by the words of the operator who chooses one."""


def sweep(ca: Authority) -> int:
    """Delete bindings that ended long ago, and records of who was first that count no more; return how many."""
    now = clock.now()
    with ca.database.write() as connection:
        ended = connection.execute(delete(BINDINGS).where(BINDINGS.c.expires_at < now - KEPT)).rowcount
        past = or_(OWNERS.c.expires_at < now, OWNERS.c.reserved_until < now)
        forgotten = connection.execute(delete(OWNERS).where(past)).rowcount
        keys = ExternalKey.table.c
        spent = and_(keys.binding_id.is_not(None), keys.expires_at < now - KEYS_KEPT)
        gone = connection.execute(delete(ExternalKey.table).where(spent)).rowcount
    return ended + forgotten + gone


def _bind(
    ca: Authority, environment: Environment, wish: Wish, workload: Workload, grant: Grant, now: datetime
) -> Exchanged:
    kid = _new_kid()
    mac_key = secrets.token_bytes(MAC_KEY_SIZE)
    binding = _binding(environment, wish, workload, grant, now)
    expires_at = min(now + KEY_LIFETIME, binding.expires_at)
    with ca.database.write(durable=True) as connection:
        owner, reserved_until = (f"kid:{kid}", expires_at) if wish.account_jkt is None else (wish.account_jkt, None)
        claim_evidence(connection, environment.name, wish.proof, workload, owner, now, reserved_until)
        if wish.account_jkt is not None and speaks_for(connection, environment.name, wish.account_jkt, workload):
            account = account_of_key(connection, environment.name, wish.account_jkt)
            binding.account_id = None if account is None else account.id
        base.insert(connection, binding)
        if wish.key:
            base.insert(connection, _external_key(environment.name, kid, mac_key, binding.id, now, expires_at))
        audit.record(
            connection,
            environment.name,
            "workload.exchanged",
            binding.id,
            account_id=binding.account_id,
            kid=kid if wish.key else None,
            provider=binding.provider,
            workload=binding.subject,
            mode=binding.mode,
            rule=f"{binding.rule}@{binding.policy_version}",
            evidence=binding.evidence_sha256.hex(),
            checks=list(workload.checks),
        )
    return Exchanged(
        kid=kid if wish.key else None,
        mac_key=b64url_encode(mac_key) if wish.key else None,
        key_expires_at=expires_at,
        binding=binding,
        grant=grant,
    )


def _told(ca: Authority, environment: Environment, workload: Workload, wish: Wish) -> AbstractContextManager[None]:
    return refusals.told(
        ca,
        environment.name,
        refusals.of_workload(workload.provider, workload.subject),
        "workload.refused",
        workload.subject,
        provider=workload.provider,
        instance=workload.instance,
        account_jkt=wish.account_jkt,
        evidence=wish.proof.sha256.hex(),
    )


def _new_kid() -> str:
    return f"wk_{secrets.token_hex(12)}"


def _external_key(
    environment: str, kid: str, mac_key: bytes, binding_id: str, now: datetime, expires_at: datetime
) -> ExternalKey:
    return ExternalKey(
        kid=kid, environment=environment, mac_key=mac_key, created_at=now, expires_at=expires_at, binding_id=binding_id
    )


def _binding(environment: Environment, wish: Wish, workload: Workload, grant: Grant, now: datetime) -> Binding:
    return Binding.of(
        environment.name,
        workload,
        claims=environment.kept_claims(workload),
        grant=grant.document(),
        evidence_sha256=wish.proof.sha256,
        account_id=None,
        account_jkt=wish.account_jkt,
        renewable=True,
        now=now,
        lifetime=timedelta(seconds=grant.binding_ttl),
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
