"""The programs that the tests run. What is missing skips a test, but fails it in CI when scripts/setup installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from glob import glob
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # servers are not on everybody's PATH


def require_tool(name: str) -> Path:
    """Return where the tool is: one of scripts/tools.txt by its name there, or any other command."""
    pattern = _installed_by_setup().get(name)
    if (found := _find(pattern or name)) is not None:
        return found
    if pattern is not None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing, although `scripts/setup --test` installs it: {pattern} is not there")
    pytest.skip(f"{name} is missing; `scripts/setup --test` installs what Debian has")


def require_openssl(*version: int) -> None:
    """Skip a test that needs a newer openssl than there is."""
    said = subprocess.run([require_tool("openssl"), "version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(part) for part in said.split()[1].split(".")[: len(version)]) < version:
        pytest.skip(f"needs openssl {'.'.join(map(str, version))} or newer; there is {said.strip()}")


def venv_tool(name: str) -> Path:
    """Return a command of the locked Python packages (certbot, caddy, acme-ca); these are always there."""
    return Path(sys.executable).with_name(name)


@cache
def _installed_by_setup() -> dict[str, str]:
    lines = (ROOT / "scripts/tools.txt").read_text(encoding="utf-8").splitlines()
    return {name: where for _, name, where, _ in (line.split() for line in lines if not line.startswith("#"))}


def _find(where: str) -> Path | None:
    if not where.startswith("/"):
        where = shutil.which(where, path=SYSTEM_PATH) or where
    found = max(glob(where), default=None)  # noqa: PTH207 - an absolute pattern; the newest of several versions
    return Path(found) if found else None
