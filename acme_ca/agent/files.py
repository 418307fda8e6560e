"""Files that others read while they change: nobody sees half of one, or a key that is not its certificate's.

A set of files is a folder of its own under `sets/`; `current` is a symbolic link to the newest, swapped in one step,
and each file's stable name is a link through `current`. Who opens key and certificate by way of the folder that
`current` names at one moment has a pair; the set before the newest is kept for those who are just reading it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from acme_ca.agent.errors import AgentError

SECRET = 0o600
PUBLIC = 0o644
SETS = "sets"
CURRENT = "current"

_FOLDER = 0o755
_KEPT = 2  # sets: the newest and the one before


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, and who may read it."""

    data: bytes
    mode: int = PUBLIC


def make_folder(folder: Path) -> None:
    """Make a folder where there is none; raises AgentError."""
    with _told(folder):
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)


def write(file: Path, content: Content) -> None:
    """Replace a file in one step, so that it survives a crash of the machine; raises AgentError."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with _told(file):
        try:
            _write_new(temporary, content)
            temporary.replace(file)
            _sync_folder(file.parent)
        finally:
            temporary.unlink(missing_ok=True)


def publish(folder: Path, contents: Mapping[str, Content]) -> None:
    """Make these files, by their names, the current set of a folder; raises AgentError."""
    make_folder(folder / SETS)
    with _told(folder):
        made = folder / SETS / f"{_newest_number(folder) + 1:08}-{secrets.token_hex(4)}"
        try:
            made.mkdir(mode=_FOLDER)
            for name, content in contents.items():
                _write_new(made / name, content)
            _sync_folder(made)
            _sync_folder(made.parent)
            _link(folder / CURRENT, f"{SETS}/{made.name}")
        except BaseException:
            if _current(folder) != made.name:
                shutil.rmtree(made, ignore_errors=True)
            raise
        for name in contents:
            _link(folder / name, f"{CURRENT}/{name}")
        _sync_folder(folder)
        _remove_old(folder)


def current(folder: Path) -> Path | None:
    """Return the folder of the current set, None if there is none."""
    name = _current(folder)
    return None if name is None or not (folder / SETS / name).is_dir() else folder / SETS / name


def _write_new(file: Path, content: Content) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, content.mode)
    with open(descriptor, "wb") as stream:  # noqa: PTH123 - of a descriptor that never was more open than its mode
        os.fchmod(descriptor, content.mode)  # whatever the umask is
        stream.write(content.data)
        stream.flush()
        os.fsync(descriptor)


def _link(link: Path, target: str) -> None:
    """Let a symbolic link have this target, in one step; nothing is done where it has."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    if link.is_dir() and not link.is_symlink():
        raise AgentError(f"{link} is a folder; expected nothing there, or a link that this program made")
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _current(folder: Path) -> str | None:
    link = folder / CURRENT
    return link.readlink().name if link.is_symlink() else None


def _sets(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / SETS).iterdir() if entry.name.partition("-")[0].isdecimal())


def _newest_number(folder: Path) -> int:
    return max((int(name.partition("-")[0]) for name in _sets(folder)), default=0)


def _remove_old(folder: Path) -> None:
    for name in _sets(folder)[:-_KEPT]:
        shutil.rmtree(folder / SETS / name, ignore_errors=True)


@contextlib.contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AgentError(f"{error.filename or place} cannot be written: {error.strerror}") from error
