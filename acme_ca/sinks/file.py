"""A file of lines: `logrotate` may rename it at any time, and collectors may follow it."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Sequence
from typing import Literal

from acme_ca.paths import AnchoredPath
from acme_ca.sinks.base import DeliveryFailedError, SealedEvent, Sink
from acme_ca.sinks.formats import FORMATS
from acme_ca.vocabulary import FormatName

FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
TIMEOUT = 25.0  # seconds for what is no regular file, which may take nothing


class File(Sink):
    """A file on the worker's host, to which lines are appended. With several hosts one gets this, another one that."""

    type: Literal["file"] = "file"
    path: AnchoredPath
    """The file; made with mode 0640 when it is not there."""
    format: FormatName = "native"
    """How an event is written."""

    def deliver(self, events: Sequence[SealedEvent]) -> None:
        """Append the events and let them reach the disk."""
        render = FORMATS[self.format]
        lines = "".join(f"{render(event)}\n" for event in events).encode()
        try:
            descriptor = os.open(self.path, FLAGS, 0o640)
            try:
                torn = b"\n" if _is_torn(descriptor) else b""  # the events of a torn line come again, whole
                _write(descriptor, torn + lines)
                _sync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DeliveryFailedError(f"{self.path}: {error.strerror or 'it took too long'}") from error


def _write(descriptor: int, data: bytes) -> None:
    """Write everything; a pipe whose reader does not read ends it with TimeoutError."""
    deadline, rest = time.monotonic() + TIMEOUT, memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0 or not _may_be_written(descriptor, left):
                raise TimeoutError from None


def _may_be_written(descriptor: int, seconds: float) -> bool:
    """Wait until a pipe takes more; select() cannot, where many files are open."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(1000 * seconds))


def _sync(descriptor: int) -> None:
    """Let what was written reach the disk; what is no file, as a pipe or a terminal, has none."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise


def _is_torn(descriptor: int) -> bool:
    """Whether the file ends within a line: a power cut or a full disk cut it off."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
