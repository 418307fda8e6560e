"""Files of a ceremony: they reach the disk whole, and none takes another's place unless it is told to."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that must not exist yet, and let it reach the disk; raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def put(path: Path, content: bytes, *, replace: bool) -> None:
    """Let a file be there at once and whole, in the place of another only with `replace`; raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_new(beside, content)
    try:
        if replace:
            beside.replace(path)
        else:
            path.hardlink_to(beside)  # unlike a rename, it fails where something is
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    _sync(path.parent)


def private_folder(path: Path) -> None:
    """Make a folder that nobody else can look into, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
