"""Our own server under test: a fresh CA in a folder, configured for the generator's responder."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .daemon import Ports, UnavailableError, free_port, running, wait_until_up
from .load import ZONE, Target
from .servers import Server

_ENVIRONMENT, _, _DOMAIN = ZONE.partition(".")


class AcmeCa(Server):
    """acme-ca of this checkout, or another one: as `acme-ca init` sets it up, and with loopback addresses allowed."""

    name = "acme-ca"

    def __init__(self, program: Path | None = None) -> None:
        self._chosen = program

    def install(self, cache: Path) -> None:
        """Find it: the chosen one, or the one of this Python."""
        del cache
        beside = self._chosen or Path(sys.executable).parent / "acme-ca"
        found = str(beside) if beside.exists() else shutil.which("acme-ca")
        if not found:
            raise UnavailableError("the command acme-ca is missing; scripts/setup installs it")
        self._program = found

    @contextlib.contextmanager
    def start(self, folder: Path, ports: Ports) -> Iterator[Target]:
        """Make a CA and serve it."""
        made = self._init(folder, ports)
        configuration, log = Path(made["config"]), folder / "serve.log"
        _allow_loopback(configuration)
        directory, root = made["directories"][_ENVIRONMENT], Path(made["root"]["certificate"])
        with running([self._program, "serve", "--config", configuration], log, {}) as process:
            wait_until_up(process, directory, root, log)
            yield Target(self.name, directory, root, (process.pid,))

    def _init(self, folder: Path, ports: Ports) -> dict[str, Any]:
        acme, status = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        options = {
            "--dir": str(folder / "ca"),
            "--external-url": f"https://localhost:{acme.rpartition(':')[2]}",
            "--domain": _DOMAIN,
            "--environment": _ENVIRONMENT,
            "--resolver": f"127.0.0.1:{ports.dns}",
            "--http-port": str(ports.http),
            "--acme-bind": acme,
            "--status-bind": status,
            "--admin-bind": "127.0.0.1:0",
        }
        command = [self._program, "init", "--json", *(part for option in options.items() for part in option)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own arguments
        if done.returncode:
            raise UnavailableError(f"acme-ca init: {done.stderr.strip()[-500:]}")
        made: dict[str, Any] = json.loads(done.stdout)
        return made


def _allow_loopback(configuration: Path) -> None:
    """Let validations go to the generator: `init` lists loopback networks as a comment only."""
    text, found = re.subn(r"(?m)^# (allow = )", r"\1", configuration.read_text())
    if not found:
        raise UnavailableError(f"{configuration} has no line that allows loopback networks")
    configuration.write_text(text)
