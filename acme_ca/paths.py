"""Paths in the configuration: they start at the folder of its file, and what they lead to can be asked for."""

from __future__ import annotations

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
    if (info.context or {}).get("files") and not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


AnchoredPath = Annotated[Path, AfterValidator(anchored)]
ExistingFile = Annotated[Path, AfterValidator(existing)]
