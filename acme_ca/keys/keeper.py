"""Keys that sign when nobody asked them for a while, so that a lost session is found before it is needed."""

from __future__ import annotations

import atexit
import threading
from contextlib import suppress
from time import monotonic
from typing import Protocol
from weakref import WeakKeyDictionary

from acme_ca.keys.base import KeyAway

LONGEST_WAIT = 10.0  # seconds between looks at the keys; as many are waited for one that is just signing at the end


class Kept(Protocol):
    """A key that can be tried."""

    used_at: float
    """When it signed last, by the monotonic clock."""

    def try_out(self) -> None:
        """Sign something that is of no use."""


class Keeper:
    """Lets keys sign that were not used for a while: one thread of this process, while there are such keys."""

    def __init__(self) -> None:
        self._keys: WeakKeyDictionary[Kept, float] = WeakKeyDictionary()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, key: Kept, seconds: float) -> None:
        """Try a key whenever it was not used for so many seconds."""
        self._keys[key] = seconds
        if self._thread is None or not self._thread.is_alive():  # which it is not after a fork
            self._end = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._end,), name="keep-alive", daemon=True)
            self._thread.start()

    def let_go(self) -> None:
        """Forget all keys."""
        self._end.set()
        self._keys.clear()
        if self._thread is not None:
            self._thread.join(LONGEST_WAIT)
            self._thread = None

    def _run(self, end: threading.Event) -> None:
        while not end.wait(min([LONGEST_WAIT, *(seconds / 4 for seconds in self._keys.values())])):
            for key, seconds in list(self._keys.items()):
                if monotonic() >= key.used_at + seconds:
                    with suppress(KeyAway):  # it is logged, and a metric
                        key.try_out()


KEEPER = Keeper()
atexit.register(KEEPER.let_go)


def let_go() -> None:
    """Keep no key alive in this process any more."""
    KEEPER.let_go()
