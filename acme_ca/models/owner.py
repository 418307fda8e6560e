"""Who was first: the account key that showed a token, the one that speaks for an instance, the subject of an account.

Each is a row with a unique key; whoever comes second and is somebody else is refused. docs/workload-identity-00.md §6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Index

from acme_ca.models import base
from acme_ca.models.base import Record, table_of
from acme_ca.workload.base import Proof, Workload, refusal

INSTANCE_KEPT = timedelta(days=7)  # after its last proof, an instance that has an audience of its own may change hands
SEPARATOR = "\n"  # in no part of a key: environments and kinds are names, the rest is hashed


@dataclass(kw_only=True)
class Owner(Record):
    """What belongs to whom. `key` is SHA-256, hexadecimal, of environment, kind and thing; `expires_at` None: for ever.

    `owner` is the thumbprint of an account key, `kid:ID` while the key that was handed out is not used yet, or, of
    the kind `subject`, the provider and subject that an account speaks for.
    """

    key: str
    environment: str
    kind: str
    owner: str
    first_seen_at: datetime
    expires_at: datetime | None = None


OWNERS = table_of(Owner, "workload_owners")
Index("ix_workload_owners_owner", OWNERS.c.owner)
Index("ix_workload_owners_expires_at", OWNERS.c.expires_at)


def claim_evidence(
    connection: Connection, environment: str, proof: Proof, workload: Workload, owner: str, now: datetime
) -> None:
    """Record whose the proof, its token and its instance are; raises evidence_replayed when another one was first.

    A proof that is bound to an account key cannot serve another one, and its instance may have several.
    """
    for kind, thing, expires_at in _things(proof, workload, now):
        _claim(connection, environment, kind, thing, owner, now, expires_at)


def lock_subject(connection: Connection, environment: str, thumbprint: str, workload: Workload, now: datetime) -> None:
    """Tie an account key to the one subject it speaks for; raises unauthorized when it speaks for another one."""
    _claim(connection, environment, "subject", thumbprint, f"{workload.provider}|{workload.subject}", now, None)


def pass_on(connection: Connection, environment: str, owner: str, thumbprint: str) -> None:
    """Give what an external account key held, or an account's old key, to the account key that follows it."""
    held = base.select(Owner, OWNERS.c.environment == environment, OWNERS.c.owner == owner)
    for row in base.find(connection, Owner, held):
        row.owner = thumbprint
        base.update(connection, row)


def change_owner(connection: Connection, environment: str, old: str, new: str, now: datetime) -> None:
    """Let an account's new key own what the old one did, and speak for the same subject."""
    pass_on(connection, environment, old, new)
    held = base.get(connection, Owner, _key(environment, "subject", old))
    if held is not None:
        _claim(connection, environment, "subject", new, held.owner, now, None)


def _things(proof: Proof, workload: Workload, now: datetime) -> Iterator[tuple[str, str, datetime | None]]:
    yield "evidence", proof.sha256.hex(), workload.expires_at
    if workload.token_id is not None:
        token = SEPARATOR.join((workload.provider, workload.issuer, workload.token_id))
        yield "token", token, workload.expires_at
    if workload.instance is not None and workload.mode != "required":
        instance = SEPARATOR.join((workload.provider, workload.issuer, workload.instance))
        yield "instance", instance, None if workload.mode == "tofu" else now + INSTANCE_KEPT


def _key(environment: str, kind: str, thing: str) -> str:
    return hashlib.sha256(SEPARATOR.join((environment, kind, thing)).encode("utf-8", "surrogatepass")).hexdigest()


def _claim(
    connection: Connection,
    environment: str,
    kind: str,
    thing: str,
    owner: str,
    now: datetime,
    expires_at: datetime | None,
) -> None:
    key = _key(environment, kind, thing)
    held = base.get(connection, Owner, key, lock=True)
    if held is None:
        base.insert(
            connection,
            Owner(key=key, environment=environment, kind=kind, owner=owner, first_seen_at=now, expires_at=expires_at),
        )
    elif held.owner != owner and not (held.expires_at is not None and held.expires_at <= now):
        if kind == "subject":
            raise refusal(
                "evidence_replayed",
                f"this account key speaks for {held.owner}; it cannot speak for {owner} too: use another account",
            )
        raise refusal(
            "evidence_replayed",
            f"this {kind} was shown by another account first, at {held.first_seen_at:%Y-%m-%d %H:%M:%S} UTC; "
            "if that was not you, it was stolen. To refresh a binding, name the account key (account_jkt)",
        )
    else:
        held.owner, held.expires_at = owner, expires_at
        base.update(connection, held)
