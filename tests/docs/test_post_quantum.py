"""docs/how-to/post-quantum.md: its commands run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cryptography import x509

from acme_ca.pki.signing import signature_of
from tests.support.ca import make_ca_files

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "files"


def run(folder: Path, name: str) -> str:
    """Run the commands of a file as an operator does."""
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-eu", str(FILES / name)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def signature(folder: Path, name: str) -> str:
    pem = (folder / "ca" / "certificates" / f"{name}.pem").read_bytes()
    return signature_of(x509.load_pem_x509_certificate(pem))


def test_a_ca_on_ml_dsa_is_made(tmp_path: Path) -> None:
    told = run(tmp_path, "post-quantum-init.sh")
    assert "ml-dsa-65" in told
    names = ("root", "service-1", "root-ml-dsa-65", "prod-1")
    assert [signature(tmp_path, name) for name in names] == ["ecdsa-sha384"] * 2 + ["ml-dsa-65"] * 2
    assert {path.name for path in (tmp_path / "ca" / "keys").glob("root*")} == {"root.key", "root-ml-dsa-65.key"}


def test_an_issuer_is_put_beside_another(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path / "ca", "--environment", "prod")
    text = path.read_text().replace('"server-8h"]', '"server-8h", "quantum-1h"]')
    path.write_text(f"{text}\n{(FILES / 'post-quantum-beside.toml').read_text()}")
    run(tmp_path, "post-quantum-beside.sh")
    names = ("root", "prod-1", "root-2", "prod-2")
    assert [signature(tmp_path, name) for name in names] == ["ecdsa-sha384"] * 2 + ["ml-dsa-65"] * 2
    told = run(tmp_path, "post-quantum-inventory.sh")
    assert "no live certificate" in told
    assert '"total": 0' in told
