"""Our CA as its users run it, by `acme-ca init` and `acme-ca serve` in processes of their own; and a DNS server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.answers import DnsDoor, running
from tests.e2e.scenario import PATIENCE, CommandFailed, Eab, run
from tests.support import dns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DOMAIN = "e2e.corp"
OPEN, BOUND = "open", "bound"  # environments: accounts for everybody, and for those with an external account key
BRIEF = "brief"
BRIEF_LIFETIME = 60

# Backdated by half of its length, so that its renewal window opens at once: for a client that runs on until it does.
PROFILES = f"""
[profile.{BRIEF}]
description = "TLS server, a minute"
lifetime = {BRIEF_LIFETIME}
backdate = 58
extended_key_usages = ["serverAuth"]
revocation = "none"
"""


@dataclass(frozen=True, slots=True)
class Ca:
    """A running CA, and what its clients have to know of it."""

    folder: Path
    url: str
    http_port: int
    tls_port: int
    dns_server: str
    dns_door: str

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "acme-ca.toml"

    @property
    def root(self) -> Path:
        """The certificate that clients trust: for the CA's own TLS, and for what it issues."""
        return self.folder / "certificates" / "root.pem"

    @property
    def database(self) -> Path:
        """The database file."""
        return self.folder / "acme-ca.db"

    @property
    def directory(self) -> str:
        """The directory of the environment that is open to all."""
        return f"{self.url}/acme/{OPEN}/directory"

    @property
    def eab_directory(self) -> str:
        """The directory of the environment that wants external account binding."""
        return f"{self.url}/acme/{BOUND}/directory"

    def zone(self, *, bound: bool = False) -> str:
        """The zone of an environment."""
        return f"{BOUND if bound else OPEN}.{DOMAIN}"

    def new_eab(self) -> Eab:
        """Make a key for external account binding, as an operator does."""
        answer = run(*ACME_CA, "eab", "create", "--config", self.config, "--environment", BOUND, "--json")
        document = json.loads(answer)
        return Eab(document["kid"], document["mac_key"])


ACME_CA: list[str | Path] = [sys.executable, "-m", "acme_ca"]


@contextmanager
def serving(folder: Path, amend: Callable[[str], str] = str) -> Iterator[Ca]:
    """Make a CA in the folder and serve it until the block ends; `amend` changes what stands in its configuration."""
    with ExitStack() as stack:
        answering = stack.enter_context(dns.serve(dns.DnsServer(directory=folder)))
        zone = TxtRecords(answering.server)
        door = DnsDoor(zone.add, zone.remove)
        stack.enter_context(running(door.server))
        acme, status, http, tls = free_ports(4)
        ca = Ca(folder, f"https://localhost:{acme}", http, tls, f"127.0.0.1:{answering.port}", door.url)
        initialise(ca, f"127.0.0.1:{acme}", f"127.0.0.1:{status}")
        ca.config.write_text(amend(ca.config.read_text()))
        stack.enter_context(served(ca, status))
        yield ca


def initialise(ca: Ca, acme: str, status: str) -> None:
    """Run `acme-ca init`, and write into the file what an operator of such environments writes."""
    environments = [word for name in (OPEN, BOUND) for word in ("--environment", name)]
    ports = ["--http-port", str(ca.http_port), "--tls-port", str(ca.tls_port)]
    names = ["--external-url", ca.url, "--domain", DOMAIN, "--ip-network", "127.0.0.1/32"]
    listeners = ["--acme-bind", acme, "--status-bind", status, "--admin-bind", "127.0.0.1:0"]
    run(*ACME_CA, "init", "--dir", ca.folder, "--resolver", ca.dns_server, *environments, *names, *listeners, *ports)
    head, bound = ca.config.read_text().split(f"[environment.{BOUND}]")
    bound = bound.replace("external_account_required = false", "external_account_required = true")
    text = f"{head}[environment.{BOUND}]{bound}"
    for before, after in {
        "# allow = [": "allow = [",
        '"tls-alpn-01"]': '"tls-alpn-01", "dns-persist-01"]',
        '"server-8h"]': f'"server-8h", "{BRIEF}"]',
        "workers = 2": "workers = 1",
    }.items():
        assert before in text, f"acme-ca init no longer writes {before}"
        text = text.replace(before, after)
    text += PROFILES
    tomllib.loads(text)
    ca.config.write_text(text)


@contextmanager
def served(ca: Ca, status: int) -> Iterator[None]:
    """Run `acme-ca serve` and wait until it is ready; ended as a service manager ends it."""
    log = ca.folder / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*ACME_CA, "serve", "--config", ca.config], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_ready(status):
            if server.poll() is not None or time.monotonic() > deadline:
                raise CommandFailed(f"acme-ca serve did not get ready; it printed:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


def is_ready(status: int) -> bool:
    """Ask the status listener."""
    try:
        with socket.create_connection(("127.0.0.1", status), timeout=5) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Find ports that nothing listens on; all are held until all are found, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class TxtRecords:
    """The TXT records that hooks added, by name; a name can have several at a time (a wildcard beside its base)."""

    def __init__(self, server: dns.DnsServer) -> None:
        self.server = server
        self.values: dict[str, list[str]] = {}

    def add(self, name: str, value: str) -> None:
        """Add a record."""
        self.values.setdefault(name, []).append(value)
        self.server.txt(name, *self.values[name])

    def remove(self, name: str, value: str) -> None:
        """Remove one record; with an empty value all of the name (mod_md's teardown may know none)."""
        kept = [other for other in self.values.get(name, []) if value and other != value]
        self.values[name] = kept
        self.server.txt(name, *kept)
