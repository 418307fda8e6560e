"""Documents that others publish, JWKS and trust bundles: kept for a while, and used on when they cannot be had anew.

One thread fetches a document at a time; others go on with what is there, and wait only where there is nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from acme_ca.https import FetchFailedError
from acme_ca.workload.base import refusal

RENEWAL_GAP = 30.0  # seconds between two requests that unknown names provoke: anybody can make them up
PAUSE = 5.0  # seconds after a failure in which nobody asks again

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin(Generic[T]):
    """Where a document comes from. `load` fetches and parses it, and raises FetchFailedError whatever is wrong.

    It is loaded again after `refresh` seconds or, where there is a `stamp`, when that has changed (a file's times);
    when that fails it is used for `max_stale` seconds after it was last known to be the present one.
    """

    load: Callable[[], T]
    refresh: float
    max_stale: float
    stamp: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class _Loaded(Generic[T]):
    content: T
    stamp: object
    good_at: float


class Document(Generic[T]):
    """One document, shared by the threads of a process. Times are those of `monotonic`, in seconds."""

    def __init__(self, origin: Origin[T], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._origin = origin
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._loaded: _Loaded[T] | None = None
        self._failure: str | None = None
        self._paused_until = float("-inf")
        self._renewable_at = float("-inf")

    def current(self) -> T:
        """Return the content, not older than promised; raises provider_unavailable when there is none."""
        if self._due() and self._lock.acquire(blocking=self._usable() is None):
            try:
                if self._due():  # nobody else was faster
                    self._load()
            finally:
                self._lock.release()
        return self._content()

    def renewed(self) -> T:
        """Return the content after one more look at the origin, because it lacks what a proof names.

        Looks at most once in RENEWAL_GAP seconds. Raises provider_unavailable while the origin does not answer: it
        may have what is missing.
        """
        with self._lock:
            if self._monotonic() >= self._renewable_at:
                self._renewable_at = self._monotonic() + RENEWAL_GAP
                self._load()
            if self._failure is not None:
                self._renewable_at = self._paused_until
                raise refusal("provider_unavailable", self._failure)
        return self._content()

    def _due(self) -> bool:
        loaded = self._loaded
        if loaded is None:
            return True
        if self._origin.stamp is None:
            return self._monotonic() - loaded.good_at >= self._origin.refresh
        try:
            if self._origin.stamp() != loaded.stamp:
                return True
        except FetchFailedError:
            return True
        self._loaded = _Loaded(loaded.content, loaded.stamp, self._monotonic())
        return False

    def _load(self) -> None:
        """Load the document, unless that failed a moment ago. Under the lock."""
        began = self._monotonic()
        if began < self._paused_until:
            return
        try:
            stamp = None if self._origin.stamp is None else self._origin.stamp()
            self._loaded = _Loaded(self._origin.load(), stamp, began)
            self._failure = None
        except FetchFailedError as error:
            self._failure = str(error)
            self._paused_until = self._monotonic() + PAUSE
            log.warning("%s; it is asked again in %d s", error, PAUSE)

    def _usable(self) -> _Loaded[T] | None:
        loaded = self._loaded
        if loaded is None or self._monotonic() - loaded.good_at > max(self._origin.max_stale, self._origin.refresh):
            return None
        return loaded

    def _content(self) -> T:
        if (loaded := self._usable()) is None:
            raise refusal("provider_unavailable", self._failure or "the issuer's keys are too old; try again")
        return loaded.content


@dataclass(slots=True)
class Documents(Generic[T]):
    """The documents of a process by their places: two providers with one place share what is fetched from it."""

    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _found: dict[Hashable, Document[T]] = field(default_factory=dict)

    def at(self, place: Hashable, origin: Origin[T]) -> Document[T]:
        """Return the document at the place, which is described by the origin."""
        with self._lock:
            if (found := self._found.get(place)) is None:
                found = self._found[place] = Document(origin, self.monotonic)
        return found
