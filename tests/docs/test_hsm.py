"""docs/how-to/hsm.md: its commands run, with SoftHSM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import require_tool

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "files"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    require_tool("softhsm")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    return tmp_path


def run(folder: Path, name: str) -> str:
    """Run the commands of a file as an operator does."""
    environ = os.environ | {
        "SOFTHSM2_CONF": str(folder / "softhsm2.conf"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["bash", "-eu", str(FILES / name)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_ca_is_made_in_a_token_and_an_issuer_moves_there(folder: Path) -> None:
    run(folder, "hsm-token.sh")
    told = run(folder, "hsm-init.sh")
    assert "pkcs11:token=acme-ca;object=prod-1" in told
    assert [path.name for path in (folder / "ca" / "keys").glob("*.key")] == ["root.key"]
    config = folder / "ca" / "acme-ca.toml"
    before, first, after = config.read_text().partition("[[environment.prod.issuer]]\n")
    assert first
    config.write_text(before + (FILES / "hsm-issuer.toml").read_text() + "\n" + first + after)
    told = run(folder, "hsm-move.sh")
    assert "ec-p384" in told
    assert (folder / "ca" / "certificates" / "prod-2.pem").exists()
