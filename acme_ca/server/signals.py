"""Waiting for signals and pipes at once, without a race: a signal that comes while nobody waits is not missed."""

from __future__ import annotations

import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP


class Signals:
    """Collects SIGTERM, SIGINT and SIGHUP from when it is made, and wakes up for SIGCHLD too."""

    def __init__(self) -> None:
        self._received: deque[int] = deque()
        self._reading, self._writing = socket.socketpair()
        self._reading.settimeout(0)
        self._writing.settimeout(0)
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in (*STOP, RELOAD, signal.SIGCHLD):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._received.append(number)

    def next(self) -> int | None:
        """Take the signal that came first."""
        return self._received.popleft() if self._received else None

    @property
    def ask_to_stop(self) -> bool:
        """Whether a request to stop waits to be taken."""
        return any(number in STOP for number in self._received)

    def wait(self, seconds: float, pipes: Mapping[int, Callable[[], None]]) -> None:
        """Wait for a signal or for something to read from a pipe, and call what belongs to the pipe."""
        if self._received:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._reading, selectors.EVENT_READ, self._drain)
            for descriptor, action in pipes.items():
                selector.register(descriptor, selectors.EVENT_READ, action)
            for key, _ in selector.select(seconds):
                key.data()

    def _drain(self) -> None:
        self._reading.recv(4096)
