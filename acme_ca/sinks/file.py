"""A file of lines: `logrotate` may rename it at any time, and collectors may follow it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from acme_ca.paths import AnchoredPath
from acme_ca.sinks.base import DeliveryFailedError, SealedEvent, Sink
from acme_ca.sinks.formats import FORMATS, FormatName


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
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            with open(descriptor, "ab") as file:  # noqa: PTH123 - pathlib cannot open a descriptor
                if _is_torn(descriptor):
                    file.write(b"\n")  # the events of a torn line come again, whole
                file.write(lines)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise DeliveryFailedError(f"{self.path}: {error.strerror}") from error


def _is_torn(descriptor: int) -> bool:
    """Whether the file ends within a line: a power cut or a full disk cut it off."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
