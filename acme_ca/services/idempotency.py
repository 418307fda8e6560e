"""Calls that act are done once, however often they are repeated with the same Idempotency-Key.

What the first one was answered is kept for a day, encrypted under a key that only the Idempotency-Key gives, for it may
hold what is shown once.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import delete

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.admin import IDEMPOTENT_CALLS, IdempotentCall
from acme_ca.problems import Conflict, Malformed

KEPT = timedelta(days=1)
LOST = timedelta(minutes=2)  # a call that takes longer died; its key may be used for another attempt
NONCE_SIZE = 12  # bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is to be done once: who asks, under which key, and a digest of all that is asked."""

    by: str
    key: str
    request: bytes

    @property
    def id(self) -> str:
        """What the row is found by."""
        return sha256(f"{self.by}\0{self.key}".encode()).hexdigest()

    def cipher(self) -> AESGCM:
        """Return what encrypts the answer."""
        return AESGCM(HKDF(SHA256(), 32, None, b"acme-ca idempotent answer").derive(f"{self.by}\0{self.key}".encode()))


def begin(ca: Authority, call: Call) -> tuple[int, bytes] | None:
    """Claim the call, or return the status and body that it was answered before.

    Raises Malformed when the key came with another request, Conflict while the first one is at work.
    """
    now = clock.now()
    try:
        with ca.database.write(durable=True) as connection:
            connection.execute(
                delete(IDEMPOTENT_CALLS).where(
                    (IDEMPOTENT_CALLS.c.created_at < now - KEPT)
                    | (
                        (IDEMPOTENT_CALLS.c.id == call.id)
                        & IDEMPOTENT_CALLS.c.http_status.is_(None)
                        & (IDEMPOTENT_CALLS.c.created_at < now - LOST)
                    )
                )
            )
            base.insert(connection, IdempotentCall(id=call.id, request=call.request, created_at=now))
    except AlreadyThereError:
        return _answered(ca, call)
    return None


def finish(ca: Authority, call: Call, status: int, answer: bytes) -> None:
    """Keep the answer for who repeats the call."""
    with ca.database.write(durable=True) as connection:
        row = base.get_one(connection, IdempotentCall, call.id)
        row.http_status = status
        nonce = secrets.token_bytes(NONCE_SIZE)
        row.answer = nonce + call.cipher().encrypt(nonce, answer, call.request)
        base.update(connection, row)


def forget(ca: Authority, call: Call) -> None:
    """Let the call be made again: nothing came of it."""
    with ca.database.write(durable=True) as connection:
        connection.execute(delete(IDEMPOTENT_CALLS).where(IDEMPOTENT_CALLS.c.id == call.id))


def _answered(ca: Authority, call: Call) -> tuple[int, bytes]:
    with ca.database.read() as connection:
        row = base.get(connection, IdempotentCall, call.id)
    if row is not None and row.request != call.request:
        raise Malformed("this Idempotency-Key came with another request before; every new request needs a new key")
    if row is None or row.http_status is None or row.answer is None:
        raise Conflict("the first call with this Idempotency-Key is still at work; repeat it in a moment")
    nonce, sealed = row.answer[:NONCE_SIZE], row.answer[NONCE_SIZE:]
    return row.http_status, call.cipher().decrypt(nonce, sealed, call.request)
