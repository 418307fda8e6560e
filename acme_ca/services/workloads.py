"""Workloads of clients that know nothing of them: a proof becomes an external account key; bindings end.

docs/workload-identity-00.md §8. RFC 8555 §7.3.4.
"""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.jose import b64url_encode
from acme_ca.models import base
from acme_ca.models.account import account_of_key
from acme_ca.models.binding import BINDINGS, Binding
from acme_ca.models.external_key import ExternalKey, new_mac_key
from acme_ca.models.owner import OWNERS, claim_evidence, speaks_for
from acme_ca.policy.grants import Grant
from acme_ca.problems import Contended, Malformed, NotFound
from acme_ca.services import audit, refusals
from acme_ca.workload import Expected, Proof, Workload, refusal

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
    kid = new_kid()
    mac_key = new_mac_key()
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
            base.insert(connection, external_key(environment.name, kid, mac_key, binding.id, now, expires_at))
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


def new_kid() -> str:
    """Return an identifier for the external account key of a workload."""
    return f"wk_{secrets.token_hex(12)}"


def external_key(
    environment: str, kid: str, mac_key: bytes, binding_id: str, now: datetime, expires_at: datetime
) -> ExternalKey:
    """Return the key that gives an account the workload of a binding."""
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
