"""Years that pass in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from acme_ca.clock import CLOCK


@contextmanager
def moving() -> Iterator[None]:
    """Let the clock of this process be moved, and set it right again."""
    before = CLOCK.ahead
    try:
        yield
    finally:
        CLOCK.ahead = before


def wait(time: timedelta) -> None:
    """Let some time pass."""
    CLOCK.ahead += time
