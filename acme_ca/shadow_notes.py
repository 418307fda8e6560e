"""Writes down what a policy in the shadow found: a second later, beside requests, never in their transactions."""

from __future__ import annotations

import threading

import structlog
from sqlalchemy import Connection

from acme_ca import clock
from acme_ca.db import AlreadyThereError, Database
from acme_ca.models import base
from acme_ca.models.shadow_finding import ShadowFinding, how_many, key_of
from acme_ca.policy.notes import Note, Notes, Subject
from acme_ca.policy.verdicts import Difference
from acme_ca.problems import ServiceUnavailable

PACE = 1.0  # seconds until notes are written
BATCH = 100  # notes in one transaction
TRIES = 3  # where other processes write the same
MAX_FINDINGS = 10_000  # rows of one shadow; what comes beyond them is in the metrics alone

log = structlog.get_logger(__name__)


class Noter:
    """Takes notes of a process and writes them to the database soon after."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._notes = Notes()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, environment: str, number: int, difference: Difference, account_id: str) -> bool:
        """Note a difference; return whether it is the first of its kind since notes were written."""
        is_first = self._notes.add(environment, number, difference, account_id)
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(PACE, self.write)
                self._timer.daemon = True
                self._timer.start()
        return is_first

    def write(self) -> None:
        """Write all notes down now. What the database does not take is lost here, and still counted by the metrics."""
        with self._lock:
            self._timer = None
        notes = self._notes.drain()
        for batch in _batches(sorted(notes.items(), key=lambda item: _key(item[0]))):
            try:
                self._write(batch)
            except (ServiceUnavailable, AlreadyThereError):
                log.warning("policy.shadow_not_written", notes=len(batch))

    def close(self) -> None:
        """Write what is left, and take no more."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self.write()

    def _write(self, batch: list[tuple[Subject, Note]]) -> None:
        for left in reversed(range(TRIES)):
            try:
                self._write_once(batch)
            except AlreadyThereError:  # another process saw the same for the first time
                if not left:
                    raise
            else:
                return

    def _write_once(self, batch: list[tuple[Subject, Note]]) -> None:
        room: dict[tuple[str, int], int] = {}  # how many findings of a version there may yet be
        with self._database.write() as connection:
            for subject, note in batch:
                _record(connection, subject, note, room)


def _record(connection: Connection, subject: Subject, note: Note, room: dict[tuple[str, int], int]) -> None:
    now, key, own = clock.now(), _key(subject), (subject.environment, subject.number)
    found = base.get(connection, ShadowFinding, key, lock=True)
    if found is not None:
        found.seen(note.times, now, note.rule, note.reason, note.account_id)
        base.update(connection, found)
        return
    if own not in room:  # counted once in a transaction: it takes some time
        room[own] = MAX_FINDINGS - how_many(connection, *own)
    if room[own] > 0:
        room[own] -= 1
        found = ShadowFinding(
            key=key,
            environment=subject.environment,
            number=subject.number,
            outcome=subject.outcome,
            name=subject.name,
            rule=note.rule,
            reason=note.reason,
            account_id=note.account_id,
            count=note.times,
            first_at=now,
            last_at=now,
            audit_due_at=now,
        )
        base.insert(connection, found)


def _key(subject: Subject) -> str:
    return key_of(subject.environment, subject.number, subject.outcome, subject.name)


def _batches(notes: list[tuple[Subject, Note]]) -> list[list[tuple[Subject, Note]]]:
    return [notes[start : start + BATCH] for start in range(0, len(notes), BATCH)]
