"""Where the ACME clients of the end-to-end tests are, and how those that no setup installs get here.

certbot and Caddy are among the locked Python packages, Debian's clients are installed by `scripts/setup --test`. What
npm and Go bring is fetched by name on first use into a cache that survives test runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.tools import ROOT, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = ROOT / "tests" / "e2e"
HOOKS = HERE / "hooks"
CACHE = ROOT / ".cache" / "clients"
FETCH = 600  # seconds for a package manager: lego 5 is compiled


def debian_version(package: str, tool: str | None = None) -> str:
    """Tell the version of a client that Debian ships, without Debian's own revision."""
    require_tool(tool or package)
    version = _output(["dpkg-query", "--show", "--showformat=${Version}", package])
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]


@cache
def node_modules() -> Path:
    """Install the npm packages of tests/e2e/node as locked; their folder, which has the scripts beside them."""
    npm = require_tool("npm")
    require_tool("node")
    with _made_once("node", HERE / "node") as folder:
        if folder is not None:
            _fetch([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return CACHE / "node"


@cache
def go_program(name: str) -> Path:
    """Compile tests/e2e/go/NAME."""
    go = _go()
    with _made_once("go", HERE / "go") as folder:
        if folder is not None:
            (folder / "bin").mkdir()
            _fetch([go, "build", "-trimpath", "-o", folder / "bin", "./..."], folder)
    return CACHE / "go" / "bin" / name


def _go() -> Path:
    """Locate a Go that is new enough. scripts/setup installs none: its clients are tried where there is one."""
    go = require_tool("go")
    wanted = re.search(r"^go (\S+)", (HERE / "go" / "go.mod").read_text(), re.MULTILINE)
    found = re.match(r"go(\d[\d.]*)", _output([go, "env", "GOVERSION"]))
    if not wanted or not found or _numbers(found[1]) < _numbers(wanted[1]):
        pytest.skip(f"Go is older than tests/e2e/go wants: {found and found[1]}")
    return go


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.strip(".").split("."))


def _output(command: list[str | Path]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def _made_once(name: str, source: Path) -> Iterator[Path | None]:
    """Copy `source` into the cache and yield the copy for something to be made in it; None when that was done before.

    A stamp tells what it was made from, and is written last: a change or an interrupted run makes it afresh.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    target, stamp = CACHE / name, CACHE / f"{name}.stamp"
    files = sorted(path for path in source.rglob("*") if path.is_file())
    fingerprint = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    with (CACHE / f"{name}.lock").open("w") as lock:  # test processes run beside each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == fingerprint:
            yield None
            return
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        yield target
        stamp.write_text(fingerprint)


def _fetch(command: list[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
