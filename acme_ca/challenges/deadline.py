"""Deadlines: one end for everything that an attempt does, however many reads and names it takes."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the moment that is so many seconds away."""
        return cls(monotonic() + seconds)

    def within(self, seconds: float) -> Deadline:
        """Return the earlier one of this deadline and the moment that is so many seconds away."""
        return Deadline(min(self.at, monotonic() + seconds))

    def left(self) -> float:
        """Return the seconds that are left, more than zero; raises TimeoutError when there are none."""
        seconds = self.at - monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds
