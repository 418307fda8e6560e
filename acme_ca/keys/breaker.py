"""Nobody waits for what was just found to be away: it is asked again with growing pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import TypeVar

import structlog

from acme_ca.keys.base import KeyAway, KeyUnavailableError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds, doubling
MANY = 10  # failures, after which the pause grows no more
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Breaker:
    """Lets nobody wait for what was just found to be away."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._reason = ""

    def __call__(self, ask: Callable[[], Result]) -> Result:
        """Return what `ask` does; raises KeyAway with the time until it is asked again."""
        self._enter()
        try:
            result = ask()
        except KeyAway as error:
            self._failed(error.reason)
            raise KeyAway(self._where, error.reason, retry_after=self._seconds_left()) from error
        except KeyUnavailableError as error:  # somebody has to act; then it works without a restart
            self._failed(str(error), lasting=True)
            raise KeyAway(self._where, str(error), retry_after=self._seconds_left()) from error
        self._succeeded()
        return result

    def _enter(self) -> None:
        with self._lock:
            now = monotonic()
            if now < self._until:
                raise KeyAway(self._where, self._reason, retry_after=self._seconds_left())
            if self._failures:  # one tries, the others go on without
                self._until = now + self._pause

    @property
    def _pause(self) -> float:
        return min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, MANY), LONGEST_PAUSE)

    def _seconds_left(self) -> int:
        return max(1, ceil(self._until - monotonic()))

    def _failed(self, reason: str, *, lasting: bool = False) -> None:
        with self._lock:
            self._failures += MANY if lasting else 1
            self._until = monotonic() + self._pause
            self._reason = reason
            log.warning("key.away", key=self._where, reason=reason, again_in=self._pause)
        self._tell(0)

    def _succeeded(self) -> None:
        if self._failures:
            with self._lock:
                self._failures, self._until = 0, 0.0
            log.info("key.back", key=self._where)
        self._tell(1)

    def _tell(self, value: int) -> None:
        from acme_ca import metrics  # which has to know first whether there are several processes

        metrics.child(metrics.KEY_UP, self._where).set(value)
