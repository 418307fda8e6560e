"""Verification of the audit trail: every event and seal is read, every hash made again, every signature checked.

Only forward, in slices by the place in the chain: it holds no transaction, and no more than a slice in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import ColumnElement, Connection, String, bindparam, func, select, type_coerce

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.models.audit_chain import (
    AUDIT_CHECKPOINTS,
    AUDIT_SEALS,
    AUDIT_TERMS,
    CHAIN,
    EVENT,
    GENESIS,
    ChainEnd,
    Checkpoint,
    canonical,
    chain_end,
    link,
)
from acme_ca.models.prepared import Prepared
from acme_ca.public_keys import spki_sha256

SLICE = 10_000  # places of the chain that are read at once
MAX_FINDINGS = 1000  # of a kind; the others are counted
DISTANT = 1 << 62
SLACK = timedelta(minutes=5)  # that a checkpoint may be late: a key may be away, the worker asks ever more slowly
SLACK_EVENTS = 10_000
_UNREADABLE = ChainEnd(name=CHAIN, seq=-1, hash=GENESIS, last_id=-1, gaps={})
"""The end of a chain whose end is no end."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with the trail at place `seq`; `kind` is a word for programs."""

    seq: int
    kind: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """What verification found. `events` is how many were read, `hash` that of the last place.

    `untold` is how many findings of a kind there are beyond those in `findings`.
    """

    events: int = 0
    checkpoints: int = 0
    hash: bytes = GENESIS
    seq: int = 0
    last_id: int = 0
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list)
    untold: Counter[str] = field(default_factory=Counter)
    _told: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def find(self, seq: int, kind: str, detail: str) -> None:
        """Add a finding, unless there are too many of its kind: those are counted."""
        if self._told[kind] < MAX_FINDINGS:
            self._told[kind] += 1
            self.findings.append(Finding(seq, kind, detail))
        else:
            self.untold[kind] += 1


Keys = Sequence[ec.EllipticCurvePublicKey]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often checkpoints are signed: after so many events, and after so many seconds with any."""

    events: int
    interval: float


def verify(
    database: Database,
    keys: Keys,
    kept: Sequence[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    rhythm: Rhythm | None = None,
) -> Verdict:
    """Read everything and return what is wrong with it; raises LookupError when the chain's end was deleted.

    `keys` are those that may have signed checkpoints, `kept` checkpoints that were exported earlier: only they can tell
    that a tail was cut off with everything that speaks of it. `progress` is called with places read and all of them.
    With a `rhythm`, a longer stretch without a checkpoint is told.
    """
    verdict = Verdict()
    with database.read() as connection, _reading_whatever_is_there(connection):
        signable = _end(connection)  # before the checkpoints are read, which are signed after it
        checks = _Checks([*_stored(connection, verdict), *kept], keys, verdict)
        end = _UNREADABLE
        for end, found in _slices(connection):
            _check_slice(found, verdict, checks)
            progress(min(verdict.seq, end.seq), end.seq)
        checks.finish(verdict.seq)
        _check_end(end, verdict)
        if rhythm is not None:
            _check_signed(connection, rhythm, checks.signed, min(signable.seq, verdict.seq), verdict)
        _check_unsealed(connection, end, verdict)
        _check_terms(connection, end, verdict)
    verdict.findings.sort(key=lambda finding: finding.seq)
    return verdict


@contextmanager
def _reading_whatever_is_there(connection: Connection) -> Iterator[None]:
    """Let SQLite give texts that are none: whoever wrote them must not blind the one who looks for that."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.text_factory = lambda octets: octets.decode(errors="replace")
    try:
        yield
    finally:
        if connection.dialect.name == "sqlite":
            driver.text_factory = str


def _end(connection: Connection) -> ChainEnd:
    try:
        end = chain_end(connection)
    except (TypeError, ValueError):
        return _UNREADABLE
    is_readable = (
        type(end.seq) is int and type(end.last_id) is int and type(end.terms) is int and isinstance(end.gaps, dict)
    )
    return end if is_readable else _UNREADABLE


def _check_end(end: ChainEnd, verdict: Verdict) -> None:
    """Compare the end that is recorded, with which the sealer goes on, with the last place that is there."""
    if end is _UNREADABLE:
        verdict.find(verdict.seq, "end", "the recorded end of the chain cannot be read")
    elif end.seq > verdict.seq:
        detail = f"the chain went to {end.seq} once, and ends at {verdict.seq}"
        verdict.find(verdict.seq + 1, "truncated", detail)
    elif end.seq < verdict.seq:
        detail = f"the recorded end is {end.seq}, and the chain goes to {verdict.seq}: nothing can be sealed any more"
        verdict.find(verdict.seq, "end", detail)
    elif verdict.hash != end.hash:
        verdict.find(end.seq, "end", "the hash of the chain's end is not that of its last place")
    elif end.last_id < verdict.last_id:
        detail = f"events up to {verdict.last_id} are sealed, and the recorded end says up to {end.last_id}"
        verdict.find(end.seq, "end", detail)


def _check_signed(connection: Connection, rhythm: Rhythm, signed: int, last: int, verdict: Verdict) -> None:
    """Tell of what no checkpoint signs although it is time: somebody may have made the chain anew.

    Times are compared with those of the newest events, not with the clock: a CA that is stopped signs nothing.
    """
    latest = clock.now() - SLACK
    ages = select(func.min(EVENT.c.at), func.max(EVENT.c.at)).join(AUDIT_SEALS, AUDIT_SEALS.c.event_id == EVENT.c.id)
    unsigned = ages.where(AUDIT_SEALS.c.seq > signed, AUDIT_SEALS.c.seq <= last, EVENT.c.at < latest)
    try:
        first, newest = connection.execute(unsigned).one()
    except (TypeError, ValueError):  # what is no time was changed, and is told of
        return
    is_far = last - signed > rhythm.events + SLACK_EVENTS
    is_old = first is not None and newest is not None and newest - first > timedelta(seconds=rhythm.interval) + SLACK
    if is_far or is_old:
        detail = f"no checkpoint signs the places {signed + 1} to {last}, which is longer than the worker waits"
        verdict.find(signed + 1, "unsigned", detail)


def _stored(connection: Connection, verdict: Verdict) -> Iterator[Checkpoint]:
    """Yield the checkpoints of the database, in their order; tell of those that cannot be read."""
    columns = AUDIT_CHECKPOINTS.c
    signed = columns.signed_at  # by SQLite as the text that it is, which need not be a time
    time_column: ColumnElement[Any] = type_coerce(signed, String()) if connection.dialect.name == "sqlite" else signed
    rows = select(columns.seq, columns.hash, time_column, columns.key_id, columns.signature).order_by(columns.seq)
    for seq, hash_, signed_at, key_id, signature in connection.execute(rows):
        try:
            time = signed_at if isinstance(signed_at, datetime) else datetime.fromisoformat(signed_at)
            yield Checkpoint(
                seq=int(seq),
                hash=bytes(hash_),
                signed_at=time.replace(tzinfo=UTC),
                key_id=str(key_id),
                signature=bytes(signature),
            )
        except (TypeError, ValueError, OverflowError) as error:
            verdict.checkpoints += 1
            verdict.find(0, "signature", f"the checkpoint of place {str(seq)[:20]!r} cannot be read: {error}")


@dataclass(slots=True)
class _Checks:
    """The checkpoints, each to be compared when its place is reached."""

    checkpoints: Sequence[Checkpoint]
    keys: Keys
    verdict: Verdict
    waiting: dict[int, list[bytes]] = field(default_factory=dict)
    signed: int = 0  # the last place that a checkpoint signed as it is

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
        else:
            self.signed = max(self.signed, seq)

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


def _slices(connection: Connection) -> Iterator[tuple[ChainEnd, Sequence[_Row]]]:
    """Yield all seals with their events, in the order of the chain, each time with the end read just before.

    The last time without any: what that end speaks of was read, unless it is not there.
    """
    seals = AUDIT_SEALS.c
    statement = Prepared(
        select(seals.seq, seals.event_id, seals.hash, canonical(connection))
        .select_from(AUDIT_SEALS.outerjoin(EVENT, seals.event_id == EVENT.c.id))
        .where(seals.seq > bindparam("after"))
        .order_by(seals.seq)
        .limit(SLICE)
    )
    after: object = -DISTANT
    while isinstance(after, int | float):  # SQLite puts what is no number last
        end, found = _end(connection), statement.rows(connection, {"after": after})
        yield end, found
        after = found[-1][0] if found else None


def _check_slice(rows: Sequence[_Row], verdict: Verdict, checks: _Checks) -> None:
    """Follow the chain through a slice; after something wrong it is followed from the hash that is stored."""
    previous, expected, waiting, last_id = verdict.hash, verdict.seq + 1, checks.waiting, verdict.last_id
    for seq, identifier, stored, form in rows:
        if type(stored) is not bytes or type(seq) is not int or type(identifier) is not int:
            verdict.find(seq if type(seq) is int else expected, "changed", "what is there is no seal")
            if type(seq) is int:
                previous, expected = stored if type(stored) is bytes else link(previous, form or b""), seq + 1
            continue
        if seq != expected:
            verdict.find(expected, "gap", f"the places {expected} to {seq - 1} of the chain are gone")
        if form is None:
            verdict.find(seq, "deleted", f"event {identifier} is gone")
        elif link(previous, form) != stored and seq == expected:
            verdict.find(seq, "changed", f"event {identifier} or its seal is not what it was, or is out of its place")
        previous, expected = stored, seq + 1
        last_id = max(last_id, identifier)
        if seq in waiting:
            checks.compare(seq, previous)
    verdict.events += len(rows)
    verdict.hash, verdict.seq, verdict.last_id = previous, expected - 1, last_id


def _check_unsealed(connection: Connection, end: ChainEnd, verdict: Verdict) -> None:
    """Tell of events that the sealer has passed and will never seal; count those that are yet to be."""
    missing = EVENT.outerjoin(AUDIT_SEALS, AUDIT_SEALS.c.event_id == EVENT.c.id)
    unsealed = select(EVENT.c.id).select_from(missing).where(AUDIT_SEALS.c.event_id.is_(None)).order_by(EVENT.c.id)
    for identifier in connection.scalars(unsealed):
        if identifier <= end.last_id and str(identifier) not in end.gaps:
            verdict.find(verdict.seq, "unsealed", f"event {identifier} has no place in the chain")
        else:
            verdict.unsealed += 1


def _check_terms(connection: Connection, end: ChainEnd, verdict: Verdict) -> None:
    """Tell of an index that lost or got words: searches would tell less than there is, or more."""
    found = connection.scalar(select(func.count()).select_from(AUDIT_TERMS)) or 0
    later = _end(connection)
    if later is not _UNREADABLE and end is not _UNREADABLE and not end.terms <= found <= later.terms:
        verdict.find(verdict.seq, "terms", f"the index for searches has {found} words; {later.terms} were written")
