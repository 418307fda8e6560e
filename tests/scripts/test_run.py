"""scripts/run: from nothing to a certificate that certbot got, and that openssl accepts."""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.tools import ROOT, require_tool

if TYPE_CHECKING:
    from pathlib import Path

API = ("spiffe://prod.localhost/ns/pay/sa/api", "api.pay.prod.localhost")
WEB = ("spiffe://prod.localhost/ns/pay/sa/web", "web.pay.prod.localhost")
PORTS = ("--http-port", "--https-port", "--status-port", "--admin-port")


def _free_ports(count: int) -> list[int]:
    """Return ports that differ from each other: all are taken before any is given back."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/run"), "--once", "--dir", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


@pytest.mark.timeout(600)
def test_it_ends_with_a_certificate_and_does_so_again(tmp_path: Path) -> None:
    require_tool("openssl")
    ports = [text for option, port in zip(PORTS, _free_ports(4), strict=True) for text in (option, str(port))]
    folder = tmp_path / "ca"
    first = _run(folder, *ports)
    assert first.returncode == 0, first.stdout + first.stderr
    certificate = folder / "certbot/live/app.prod.localhost/cert.pem"
    assert f"{certificate}: OK" in first.stdout
    root = (folder / "certificates/root.pem").read_bytes()

    for _ in range(2):
        again = _run(folder, "--workload")
        assert again.returncode == 0, again.stdout + again.stderr
        told = re.findall(r"URI:(\S+?),|DNS:(\S+)", again.stdout)
        assert [uri or dns for uri, dns in told if "pay" in uri + dns] == [*API, *API, *WEB], again.stdout
    assert (folder / "certificates/root.pem").read_bytes() == root


@pytest.mark.timeout(300)
def test_its_keys_may_be_in_a_token(tmp_path: Path) -> None:
    require_tool("softhsm")
    ports = [text for option, port in zip(PORTS, _free_ports(4), strict=True) for text in (option, str(port))]
    folder = tmp_path / "ca"
    for _ in range(2):
        done = _run(folder, "--hsm", *ports)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{folder}/certbot/live/app.prod.localhost/cert.pem: OK" in done.stdout
    assert [path.name for path in (folder / "keys").glob("*.key")] == ["root.key"]


def test_help_tells_the_options() -> None:
    answer = _asked("--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "--workload" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--twice"], "unknown argument --twice"),
        (["--dir"], "--dir needs a value"),
        (["--dir", "--once"], "--dir needs a value"),
        (["--dir", ""], "--dir needs a value"),
    ],
)
def test_a_wrong_argument_names_the_right_ones(arguments: list[str], wrong: str) -> None:
    answer = _asked(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"scripts/run: {wrong}; usage: scripts/run [--once]")


def _asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/run"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
