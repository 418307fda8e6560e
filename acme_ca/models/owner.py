"""Who was first: the account key that showed a token, the one that speaks for an instance, the subject of an account.

Each is a row with a unique key; whoever comes second and is somebody else is refused. docs/workload-identity-00.md §6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Index, delete

from acme_ca.models import base
from acme_ca.models.base import Record, table_of
from acme_ca.models.binding import Binding, waiting_bindings
from acme_ca.problems import Problem
from acme_ca.workload.base import LEEWAY, Proof, Workload, refusal

INSTANCE_KEPT = timedelta(days=7)  # after its last proof, an instance that has an audience of its own may change hands
SEPARATOR = "\n"  # in no part of a key: environments and kinds are names, the rest is hashed


@dataclass(kw_only=True)
class Owner(Record):
    """What belongs to whom. `key` is SHA-256, hexadecimal, of environment, kind and thing; `expires_at` None: for ever.

    `owner` is the thumbprint of an account key, `kid:ID` of an external account key that nobody used yet, or, of the
    kind `subject`, the provider and subject that an account key speaks for. What a `kid:` has is free again at
    `reserved_until`, when it can no longer be used.
    """

    key: str
    environment: str
    kind: str
    owner: str
    first_seen_at: datetime
    expires_at: datetime | None = None
    reserved_until: datetime | None = None

    def is_free(self, now: datetime) -> bool:
        """Whether it belongs to nobody any more."""
        return any(end is not None and end <= now for end in (self.expires_at, self.reserved_until))


OWNERS = table_of(Owner, "workload_owners")
Index("ix_workload_owners_owner", OWNERS.c.owner)
Index("ix_workload_owners_expires_at", OWNERS.c.expires_at)


@dataclass(frozen=True, slots=True)
class Thing:
    """What can belong to somebody, and until when."""

    environment: str
    kind: str
    name: str
    expires_at: datetime | None = None

    @property
    def key(self) -> str:
        """The key of its record."""
        parts = SEPARATOR.join((self.environment, self.kind, self.name))
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


def claim_evidence(
    connection: Connection,
    environment: str,
    proof: Proof,
    workload: Workload,
    owner: str,
    now: datetime,
    reserved_until: datetime | None = None,
) -> None:
    """Record whose the proof, its token and its instance are; raises evidence_replayed when another one was first.

    A proof that is bound to an account key cannot serve another one, and its instance may have several.
    """
    for thing in _things(environment, proof, workload, now):
        held = _claim(connection, thing, owner, now, reserved_until)
        if held is not None:
            raise refusal(
                "evidence_replayed",
                f"this {thing.kind} was shown by another account first, at {held.first_seen_at:%Y-%m-%d %H:%M:%S} UTC; "
                "if that was not you, it was stolen. To show it again, name the key of your account (account_jkt); if "
                "that key is lost, start the workload anew (a new pod), or have an operator release its instance",
            )


def lock_subject(connection: Connection, environment: str, thumbprint: str, workload: Workload, now: datetime) -> None:
    """Tie an account key to the one subject it speaks for; raises evidence_replayed when it speaks for another one."""
    _lock(connection, environment, thumbprint, _subject(workload), now)


def speaks_for(connection: Connection, environment: str, thumbprint: str, workload: Workload) -> bool:
    """Tell whether an account key spoke for this workload before; raises evidence_replayed if for another one."""
    held = base.get(connection, Owner, Thing(environment, "subject", thumbprint).key)
    if held is not None and held.owner != _subject(workload):
        raise _other_subject(held.owner, _subject(workload))
    return held is not None


def adopt_waiting(
    connection: Connection, environment: str, thumbprint: str, account_id: str, now: datetime
) -> list[Binding]:
    """Give an account the bindings that were proved for its key, and return them.

    Only the account itself may ask for this, in a request that it signs: anybody can name its key.
    """
    found = waiting_bindings(connection, environment, thumbprint, now)
    for binding in found:
        lock_subject(connection, environment, thumbprint, binding.workload(), now)
        binding.attach(account_id)
        base.update(connection, binding)
    return found


def pass_on(connection: Connection, environment: str, owner: str, thumbprint: str) -> None:
    """Give what an external account key held, or an account's old key, to the account key that follows it."""
    held = base.select(Owner, OWNERS.c.environment == environment, OWNERS.c.owner == owner)
    for row in base.find(connection, Owner, held):
        row.owner, row.reserved_until = thumbprint, None
        base.update(connection, row)


def change_owner(connection: Connection, environment: str, old: str, new: str, now: datetime) -> None:
    """Let an account's new key own what the old one did, and speak for the same subject."""
    pass_on(connection, environment, old, new)
    held = base.get(connection, Owner, Thing(environment, "subject", old).key)
    if held is not None:
        _lock(connection, environment, new, held.owner, now)


def free(connection: Connection, environment: str, owner: str) -> None:
    """Let everybody have what an external account key held that nobody will use."""
    connection.execute(delete(OWNERS).where(OWNERS.c.environment == environment, OWNERS.c.owner == owner))


def free_instance(connection: Connection, binding: Binding) -> bool:
    """Let another account key speak for the instance of a binding; return whether one did."""
    if binding.instance is None:
        return False
    key = _instance(binding.environment, binding.workload(), binding.instance, None).key
    return connection.execute(delete(OWNERS).where(OWNERS.c.key == key)).rowcount > 0


def _things(environment: str, proof: Proof, workload: Workload, now: datetime) -> Iterator[Thing]:
    usable_until = workload.expires_at + timedelta(seconds=LEEWAY)
    yield Thing(environment, "evidence", proof.sha256.hex(), usable_until)
    if workload.token_id is not None:
        token = SEPARATOR.join((workload.provider, workload.issuer, workload.token_id))
        yield Thing(environment, "token", token, usable_until)
    if workload.instance is not None and workload.mode != "required":
        kept_until = None if workload.mode == "tofu" else now + INSTANCE_KEPT
        yield _instance(environment, workload, workload.instance, kept_until)


def _instance(environment: str, workload: Workload, instance: str, expires_at: datetime | None) -> Thing:
    name = SEPARATOR.join((workload.provider, workload.issuer, instance))
    return Thing(environment, "instance", name, expires_at)


def _subject(workload: Workload) -> str:
    return f"{workload.provider}|{workload.subject}"


def _lock(connection: Connection, environment: str, thumbprint: str, subject: str, now: datetime) -> None:
    held = _claim(connection, Thing(environment, "subject", thumbprint), subject, now, None)
    if held is not None:
        raise _other_subject(held.owner, subject)


def _other_subject(held: str, wanted: str) -> Problem:
    return refusal(
        "evidence_replayed",
        f"this account key speaks for {held}; it cannot speak for {wanted} too: use another account",
    )


def _claim(
    connection: Connection, thing: Thing, owner: str, now: datetime, reserved_until: datetime | None
) -> Owner | None:
    """Record whose a thing is; return the record of somebody else who has it."""
    held = base.get(connection, Owner, thing.key, lock=True)
    if held is None:
        held = Owner(
            key=thing.key,
            environment=thing.environment,
            kind=thing.kind,
            owner=owner,
            first_seen_at=now,
            expires_at=thing.expires_at,
            reserved_until=reserved_until,
        )
        base.insert(connection, held)
        return None
    if held.owner != owner and not held.is_free(now):
        return held
    held.owner, held.expires_at, held.reserved_until = owner, thing.expires_at, reserved_until
    base.update(connection, held)
    return None
