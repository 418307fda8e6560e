"""What one process saw of a policy in the shadow since it last wrote it down: bounded, and safe between threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from acme_ca.policy.verdicts import Difference

MAX_NOTES = 1000  # distinct ones between two writings; what comes beyond them is counted and not kept


@dataclass(frozen=True, slots=True)
class Subject:
    """What a note is about: the version `number` of the shadow, what it would do, and to which name."""

    environment: str
    number: int
    outcome: str
    name: str


@dataclass(slots=True)
class Note:
    """How often it was seen, and what was seen last."""

    times: int
    rule: str | None
    reason: str
    account_id: str


class Notes:
    """Notes of a process, until they are drained."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: dict[Subject, Note] = {}

    def add(self, environment: str, number: int, difference: Difference, account_id: str) -> bool:
        """Note a difference; return whether it is the first of its subject since the notes were drained."""
        subject = Subject(environment, number, difference.outcome, difference.name)
        with self._lock:
            note = self._notes.get(subject)
            if note is not None:
                note.times += 1
                note.rule, note.reason, note.account_id = difference.rule, difference.reason, account_id
                return False
            if len(self._notes) >= MAX_NOTES:
                return False
            self._notes[subject] = Note(1, difference.rule, difference.reason, account_id)
            return True

    def drain(self) -> dict[Subject, Note]:
        """Return all notes and forget them."""
        with self._lock:
            notes, self._notes = self._notes, {}
        return notes
