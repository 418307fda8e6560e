"""Paths in the configuration: they start at the folder of its file, and what they lead to can be asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


def anchored(path: Path, info: ValidationInfo) -> Path:
    """Return `path` as seen from the folder of the configuration file, the validation context's `folder`."""
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


def existing(path: Path, info: ValidationInfo) -> Path:
    """Return `path` as `anchored` does; refuse it if no file is there and the validation context asks for `files`."""
    path = anchored(path, info)
    if (info.context or {}).get("files") and not _may_be_there(path):
        raise ValueError(f"there is no file {path}")
    return path


@contextmanager
def within(folder: Path) -> Iterator[str]:
    """Give a short name for a folder: the path of a Unix socket may have no more than 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _may_be_there(path: Path) -> bool:
    """Whether there is a file, as far as this user may know: the folder may be for another one, as the signer's is."""
    try:
        return path.is_file()
    except PermissionError:
        return True


AnchoredPath = Annotated[Path, AfterValidator(anchored)]
ExistingFile = Annotated[Path, AfterValidator(existing)]
