"""Signed checkpoints: where the chain ended at one moment. docs/audit.md."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import Connection

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.db import AlreadyThereError, Database
from acme_ca.keys import PrivateKey
from acme_ca.models import base
from acme_ca.models.audit_chain import AUDIT_CHECKPOINTS, ChainEnd, Checkpoint, chain_end
from acme_ca.public_keys import spki_sha256
from acme_ca.services.audit_events import LIMIT, place


def sign(ca: Authority) -> bool:
    """Sign a checkpoint if enough was sealed since the last one, or enough time has passed; return whether one was."""
    settings, key = ca.config.audit, ca.audit_key
    if key is None:
        return False
    now = clock.now()
    with ca.database.read() as connection:
        end = chain_end(connection)
        last = last_checkpoint(connection, key_id_of(key), end.seq)
    new = end.seq - (0 if last is None else last.seq)
    interval = timedelta(seconds=settings.checkpoint_interval)
    is_old = last is None or not timedelta() <= now - last.signed_at < interval
    if new <= 0 or not (is_old or new >= settings.checkpoint_events):
        return False
    try:
        checkpoint = signed(end, key, now)  # no transaction is open while the key works
        with ca.database.write(durable=True) as connection:
            base.insert(connection, checkpoint)
    except AlreadyThereError:  # another sealer was first, or somebody who wants none to be signed: verification tells
        return False
    metrics.AUDIT_CHECKPOINT.set(now.timestamp())
    return True


def signed(end: ChainEnd, key: PrivateKey, now: datetime) -> Checkpoint:
    """Return a signed statement of where the chain ends. ECDSA over P-256 with SHA-256, in DER (RFC 3279 §2.2.3)."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of [audit] is not an EC key")
    checkpoint = Checkpoint(seq=end.seq, hash=end.hash, signed_at=now, key_id=key_id_of(key), signature=b"")
    checkpoint.signature = key.sign(checkpoint.text, ec.ECDSA(SHA256()))
    return checkpoint


def last_checkpoint(connection: Connection, key_id: str, end: int) -> Checkpoint | None:
    """Return the newest checkpoint of a key; one of a place that is not there yet is none of ours."""
    columns = AUDIT_CHECKPOINTS.c
    ours = base.select(Checkpoint, columns.key_id == key_id, columns.seq <= end)
    found = base.find(connection, Checkpoint, ours.order_by(columns.seq.desc()).limit(1))
    return found[0] if found else None


def key_id_of(key: PrivateKey) -> str:
    """Return what a key is called in checkpoints."""
    return spki_sha256(key.public_key()).hex()


def checkpoints(database: Database, *, after: str | None = None, limit: int = 100) -> list[Checkpoint]:
    """Return checkpoints, newest first; `after` is the place of the last one seen. Raises Malformed."""
    before = place(after)
    statement = base.select(Checkpoint)
    if before is not None:
        statement = statement.where(AUDIT_CHECKPOINTS.c.seq < before)
    with database.read() as connection:
        newest_first = statement.order_by(AUDIT_CHECKPOINTS.c.seq.desc())
        return base.find(connection, Checkpoint, newest_first.limit(max(1, min(limit, LIMIT))))


def document(checkpoint: Checkpoint) -> dict[str, Any]:
    """Render a checkpoint as JSON, as `acme-ca audit checkpoint` exports it; the signature in hexadecimal."""
    return {
        "seq": checkpoint.seq,
        "hash": checkpoint.hash.hex(),
        "time": checkpoint.signed_at.isoformat(),
        "key": checkpoint.key_id,
        "signature": checkpoint.signature.hex(),
        "text": checkpoint.text.decode(),
    }


def from_document(text: str) -> Checkpoint:
    """Read an exported checkpoint; raises ValueError for what is none."""
    try:
        found = json.loads(text)
        return Checkpoint(
            seq=int(found["seq"]),
            hash=bytes.fromhex(found["hash"]),
            signed_at=datetime.fromisoformat(found["time"]),
            key_id=str(found["key"]),
            signature=bytes.fromhex(found["signature"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is no checkpoint") from error
