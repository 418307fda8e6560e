"""Verification of the audit trail: every event and seal is read, every hash made again, every signature checked.

Only forward, in slices by the place in the chain: it holds no transaction, and no more than a slice in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import Connection, bindparam, select

from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models.audit_chain import (
    AUDIT_CHECKPOINTS,
    AUDIT_SEALS,
    EVENT,
    GENESIS,
    Checkpoint,
    canonical,
    chain_end,
    link,
)
from acme_ca.models.prepared import Prepared
from acme_ca.public_keys import spki_sha256

SLICE = 10_000  # places of the chain that are read at once
MAX_FINDINGS = 1000  # a trail that is wrong all over is told as one that is wrong
DISTANT = 1 << 62


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with the trail at place `seq`; `kind` is a word for programs."""

    seq: int
    kind: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """What verification found. `events` is how many were read, `hash` that of the last place."""

    events: int = 0
    checkpoints: int = 0
    hash: bytes = GENESIS
    seq: int = 0
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def find(self, seq: int, kind: str, detail: str) -> None:
        """Add a finding, unless there are too many."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(seq, kind, detail))


Keys = Sequence[ec.EllipticCurvePublicKey]


def verify(
    database: Database,
    keys: Keys,
    kept: Sequence[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verdict:
    """Read everything and return what is wrong with it; raises LookupError when the chain's end was deleted.

    `keys` are those that may have signed checkpoints, `kept` checkpoints that were exported earlier: only they can tell
    that a tail was cut off with everything that speaks of it. `progress` is called with places read and all of them.
    """
    verdict = Verdict()
    with database.read() as connection:
        end = chain_end(connection)  # first: what is sealed meanwhile is left to the next time
        stored = base.find(connection, Checkpoint, base.select(Checkpoint).order_by(AUDIT_CHECKPOINTS.c.seq))
        checks = _Checks([*stored, *kept], keys, verdict)
        for found in _slices(connection):
            _check_slice(found, verdict, checks)
            progress(min(verdict.seq, end.seq), end.seq)
        checks.finish(verdict.seq)
        if verdict.seq < end.seq:
            verdict.find(verdict.seq + 1, "truncated", f"the chain went to {end.seq} once, and ends at {verdict.seq}")
        elif verdict.seq == end.seq and verdict.hash != end.hash:
            verdict.find(end.seq, "end", "the hash of the chain's end is not that of its last place")
        _check_unsealed(connection, verdict)
    verdict.findings.sort(key=lambda finding: finding.seq)
    return verdict


@dataclass(slots=True)
class _Checks:
    """The checkpoints, each to be compared when its place is reached."""

    checkpoints: Sequence[Checkpoint]
    keys: Keys
    verdict: Verdict
    waiting: dict[int, list[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {spki_sha256(key).hex(): key for key in self.keys}
        for checkpoint in self.checkpoints:
            self.verdict.checkpoints += 1
            problem = _wrong(checkpoint, known)
            if problem is not None:
                self.verdict.find(checkpoint.seq, "signature", problem)
            else:
                self.waiting.setdefault(checkpoint.seq, []).append(checkpoint.hash)

    def compare(self, seq: int, found: bytes) -> None:
        """Compare what was signed of a place with what is there."""
        if any(expected != found for expected in self.waiting.pop(seq)):
            self.verdict.find(seq, "rewritten", "the hash is another than the one that a checkpoint signed")

    def finish(self, last: int) -> None:
        """Tell of checkpoints whose place is not there."""
        for seq in self.waiting:
            kind = "truncated" if seq > last else "rewritten"
            self.verdict.find(seq, kind, f"a checkpoint signed this place, and it is not there; the last is {last}")


def _wrong(checkpoint: Checkpoint, known: dict[str, ec.EllipticCurvePublicKey]) -> str | None:
    key = known.get(checkpoint.key_id)
    if key is None:
        return f"the checkpoint is signed by the key {checkpoint.key_id}, which is none of those given"
    try:
        key.verify(checkpoint.signature, checkpoint.text, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return "the signature of the checkpoint is wrong"
    return None


_Row = Sequence[Any]  # place, identifier of the event, hash, canonical form or None


def _slices(connection: Connection) -> Iterator[list[_Row]]:
    """Yield all seals with their events, in the order of the chain."""
    seals = AUDIT_SEALS.c
    statement = Prepared(
        select(seals.seq, seals.event_id, seals.hash, canonical(connection))
        .select_from(AUDIT_SEALS.outerjoin(EVENT, seals.event_id == EVENT.c.id))
        .where(seals.seq > bindparam("after"))
        .order_by(seals.seq)
        .limit(SLICE)
    )
    after = -DISTANT
    while found := statement.rows(connection, {"after": after}):
        yield found
        after = found[-1][0]


def _check_slice(rows: Sequence[_Row], verdict: Verdict, checks: _Checks) -> None:
    """Follow the chain through a slice; after something wrong it is followed from the hash that is stored."""
    previous, expected, waiting = verdict.hash, verdict.seq + 1, checks.waiting
    for seq, identifier, stored, form in rows:
        if seq != expected:
            verdict.find(expected, "gap", f"the places {expected} to {seq - 1} of the chain are gone")
        if form is None:
            verdict.find(seq, "deleted", f"event {identifier} is gone")
        elif link(previous, form) != stored and seq == expected:
            verdict.find(seq, "changed", f"event {identifier} or its seal is not what it was, or is out of its place")
        previous, expected = bytes(stored), seq + 1
        if seq in waiting:
            checks.compare(seq, previous)
    verdict.events += len(rows)
    verdict.hash, verdict.seq = previous, expected - 1


def _check_unsealed(connection: Connection, verdict: Verdict) -> None:
    """Tell of events that the sealer has passed and will never seal; count those that are yet to be."""
    end = chain_end(connection)
    missing = EVENT.outerjoin(AUDIT_SEALS, AUDIT_SEALS.c.event_id == EVENT.c.id)
    unsealed = select(EVENT.c.id).select_from(missing).where(AUDIT_SEALS.c.event_id.is_(None)).order_by(EVENT.c.id)
    for identifier in connection.scalars(unsealed):
        if identifier <= end.last_id and str(identifier) not in end.gaps:
            verdict.find(verdict.seq, "unsealed", f"event {identifier} has no place in the chain")
        else:
            verdict.unsealed += 1
