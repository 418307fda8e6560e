"""Scripts of the documentation, run by somebody at a terminal who answers."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(text: str, folder: Path, answers: Sequence[str] = (), **environ: str) -> str:
    """Run a script in a folder, which has to work; return what it says."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours, theirs = pty.openpty()
    try:
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=folder,
            env=os.environ | {"PATH": path} | environ,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
