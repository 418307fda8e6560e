"""Which process of this host works on a claim, and which of them died.

Each process that claims work holds a lock on a file that has its name. The kernel drops the lock when the process ends,
however it ends: no process number can be mistaken for another one, and no clock is asked. Other hosts know nothing of
it, and wait for the lease of a claim to run out.
"""

import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path


class Processes:
    """The processes of this host that share a state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._naming = threading.Lock()
        self._own: tuple[str, int] | None = None  # the name, and the descriptor that holds the lock

    @property
    def own(self) -> str:
        """The name of this process: 32 hexadecimal digits, never used again."""
        if self._own is None:
            with self._naming:
                if self._own is None:
                    self._own = self._enlist()
        return self._own[0]

    def dead(self) -> Iterator[str]:
        """Yield the name of each process that ended; it is forgotten once the next one is asked for."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path.name
                path.unlink(missing_ok=True)
            except BlockingIOError:
                pass  # it lives
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """End as far as others see; what this process still had claimed is anybody's."""
        own, self._own = self._own, None
        if own is not None:
            os.close(own[1])

    def _enlist(self) -> tuple[str, int]:
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = self._folder / secrets.token_hex(16)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():  # nobody looked between the two calls and took the process for dead
                return path.name, descriptor
            os.close(descriptor)
