"""Keys that nobody may use, in any environment: neither for certificates nor for accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.certificate import BLOCKED_KEYS, BlockedKey
from acme_ca.named import key_hash_of
from acme_ca.problems import Conflict, NotFound
from acme_ca.services import audit, blocked_accounts


@dataclass(frozen=True, slots=True)
class Page:
    """Blocked keys, ordered by their hash, and the cursor of the next page if there is one."""

    keys: Sequence[BlockedKey]
    after: str | None


def page(ca: Authority, *, after: str | None = None, limit: int = 100) -> Page:
    """Return the blocked keys; `after` is where another page ended."""
    statement = base.select(BlockedKey)
    if after is not None:
        statement = statement.where(BLOCKED_KEYS.c.key_sha256 > key_hash_of(after))
    with ca.database.read() as connection:
        found = base.find(connection, BlockedKey, statement.order_by(BLOCKED_KEYS.c.key_sha256).limit(limit + 1))
    return Page(found[:limit], found[limit - 1].key_sha256.hex() if len(found) > limit else None)


def block(ca: Authority, key_sha256: bytes, reason: str, *, by: str) -> BlockedKey:
    """Block a key, and end the accounts that have it; one that is blocked already stays as it is."""
    key = BlockedKey(key_sha256=key_sha256, serial=None, blocked_at=clock.now(), reason=reason, blocked_by=by)
    try:
        with ca.database.write(durable=True) as connection:
            held = base.get(connection, BlockedKey, key_sha256)
            if held is not None:
                return held
            base.insert(connection, key)
            blocked_accounts.end(connection, key_sha256, key.blocked_at, by=by)
            audit.record(connection, audit.EVERYWHERE, "key.blocked", key_sha256.hex(), reason=reason, by=by)
    except AlreadyThereError as error:
        raise Conflict("the key was blocked at the same moment") from error
    return key


def unblock(ca: Authority, key_sha256: bytes, reason: str, *, by: str) -> BlockedKey:
    """Let a key be used again; raises NotFound."""
    with ca.database.write(durable=True) as connection:
        held = base.get(connection, BlockedKey, key_sha256, lock=True)
        if held is None:
            raise NotFound(f"key {key_sha256.hex()} is not blocked")
        connection.execute(delete(BLOCKED_KEYS).where(BLOCKED_KEYS.c.key_sha256 == key_sha256))
        audit.record(
            connection,
            audit.EVERYWHERE,
            "key.unblocked",
            key_sha256.hex(),
            reason=reason,
            by=by,
            serial=held.serial,
            blocked_at=clock.rfc3339(held.blocked_at),
        )
    return held
