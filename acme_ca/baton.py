"""One thread of a process works at a time; who waits for somebody else lays the baton aside.

Python runs one thread at once anyway, but offers to switch at every call into SQLite, cryptography or the kernel. With
several busy threads each offer is taken, at two switches of context each: a sixth of an issuance's CPU time. A thread
that holds the baton is not interrupted like that; the next one begins where this one waits or ends.

Whatever can take long must lay it aside: a network, another process's turn, a disk's confirmation, a token that signs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_baton = threading.Lock()
_mine = threading.local()


@contextmanager
def held() -> Iterator[None]:
    """Work with the baton in hand; a thread that has it already goes on with it."""
    if _has_it():
        yield
        return
    _take()
    try:
        yield
    finally:
        _lay_down()


@contextmanager
def aside() -> Iterator[None]:
    """Wait without the baton, if this thread has it."""
    if not _has_it():
        yield
        return
    _lay_down()
    try:
        yield
    finally:
        _take()


def _has_it() -> bool:
    return getattr(_mine, "has_it", False)


def _take() -> None:
    _baton.acquire()
    _mine.has_it = True


def _lay_down() -> None:
    _mine.has_it = False
    _baton.release()
