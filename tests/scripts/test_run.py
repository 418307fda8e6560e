"""scripts/run: from nothing to a certificate that certbot got, and that openssl accepts."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.tools import ROOT, require_tool

if TYPE_CHECKING:
    from pathlib import Path

PORTS = ("--http-port", "--https-port", "--status-port")


def _free_ports(count: int) -> list[int]:
    """Return ports that differ from each other: all are taken before any is given back."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/run"), "--once", "--dir", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.timeout(240)
def test_it_ends_with_a_certificate_and_does_so_again(tmp_path: Path) -> None:
    require_tool("openssl")
    ports = [text for option, port in zip(PORTS, _free_ports(3), strict=True) for text in (option, str(port))]
    folder = tmp_path / "ca"
    first = _run(folder, *ports)
    assert first.returncode == 0, first.stdout + first.stderr
    certificate = folder / "certbot/live/app.prod.localhost/cert.pem"
    assert f"{certificate}: OK" in first.stdout
    root = (folder / "certificates/root.pem").read_bytes()

    again = _run(folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (folder / "certificates/root.pem").read_bytes() == root


def test_a_wrong_argument_names_the_right_ones() -> None:
    answer = subprocess.run([ROOT / "scripts/run", "--twice"], capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 1
    assert "unknown argument --twice; usage: scripts/run [--once]" in answer.stderr
