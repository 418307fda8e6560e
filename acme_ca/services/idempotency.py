"""Calls that act are done once, however often they are repeated with the same Idempotency-Key.

What the first one was answered is kept for a day, encrypted under a key that only the Idempotency-Key gives, for it may
hold what is shown once. A call that committed something and whose answer was not kept, because it failed after that or
its process died, is never made again under its key: nobody knows what came of it.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import delete

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.admin import IDEMPOTENT_CALLS, IdempotentCall
from acme_ca.problems import Conflict, Malformed, ServiceUnavailable

KEPT = timedelta(days=1)
LOST = timedelta(minutes=2)  # a call that takes longer died
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
        return AESGCM(HKDF(SHA256(), 32, None, b"acme-ca idempotent reply").derive(f"{self.by}\0{self.key}".encode()))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call was answered, with those headers that belong to it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def packed(self) -> bytes:
        """Return headers and body as they are encrypted: the headers are one line of JSON."""
        return json.dumps(dict(self.headers)).encode() + b"\n" + self.body


def begin(ca: Authority, call: Call) -> Reply | None:
    """Claim the call, or return what it was answered before.

    Raises Malformed when the key came with another request; Conflict while the first one is at work, and when nobody
    knows what came of it.
    """
    now = clock.now()
    try:
        with ca.database.write(durable=True) as connection:
            connection.execute(delete(IDEMPOTENT_CALLS).where(IDEMPOTENT_CALLS.c.created_at < now - KEPT))
            base.insert(connection, IdempotentCall(id=call.id, request=call.request, created_at=now))
    except AlreadyThereError:
        return _answered(ca, call)
    return None


@contextmanager
def claimed(ca: Authority, call: Call) -> Iterator[None]:
    """Do a call that was claimed: if it fails with nothing committed, it can be made again."""
    before = ca.database.commits
    try:
        yield
    except BaseException:
        with suppress(ServiceUnavailable):  # then the claim stays, and is as good as lost
            if ca.database.commits == before:
                _forget(ca, call)
            else:
                _keep(ca, call, Conflict.status, None)
        raise


def finish(ca: Authority, call: Call, reply: Reply) -> None:
    """Keep the answer for who repeats the call; if it cannot be kept, they are told that it is unknown."""
    nonce = secrets.token_bytes(NONCE_SIZE)
    answer = nonce + call.cipher().encrypt(nonce, reply.packed(), call.request)
    with suppress(ServiceUnavailable):  # the work is done: whoever asked is answered
        _keep(ca, call, reply.status, answer)


def _keep(ca: Authority, call: Call, status: int, answer: bytes | None) -> None:
    with ca.database.write(durable=True) as connection:
        row = base.get(connection, IdempotentCall, call.id)
        if row is not None:
            row.http_status, row.answer = status, answer
            base.update(connection, row)


def _forget(ca: Authority, call: Call) -> None:
    with ca.database.write(durable=True) as connection:
        connection.execute(delete(IDEMPOTENT_CALLS).where(IDEMPOTENT_CALLS.c.id == call.id))


def _answered(ca: Authority, call: Call) -> Reply:
    with ca.database.read() as connection:
        row = base.get(connection, IdempotentCall, call.id)
    if row is not None and row.request != call.request:
        raise Malformed("this Idempotency-Key came with another request before; every new request needs a new key")
    if row is None or (row.http_status is None and row.created_at >= clock.now() - LOST):
        raise Conflict("the first call with this Idempotency-Key is still at work; repeat it in a moment")
    if row.http_status is None or row.answer is None:
        raise _unknown()
    nonce, sealed = row.answer[:NONCE_SIZE], row.answer[NONCE_SIZE:]
    try:
        headers, _, body = call.cipher().decrypt(nonce, sealed, call.request).partition(b"\n")
    except InvalidTag as error:  # kept by a version that kept it otherwise
        raise _unknown() from error
    return Reply(row.http_status, json.loads(headers), body)


def _unknown() -> Conflict:
    return Conflict(
        "the outcome of the first call with this Idempotency-Key is unknown; look what came of it before you repeat it "
        "under a new key"
    )
