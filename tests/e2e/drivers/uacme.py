"""uacme and its tls-alpn-01 responder ualpn: C with libcurl and GnuTLS."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, ClassVar

from tests.e2e.answers import web_root
from tests.e2e.scenario import PATIENCE, Client, Issued, Scenario, Wish, run
from tests.support import clients
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# uacme trusts the system's certificates and has no option for others: it gets a mount namespace of its own, in which
# our root stands in their place.
TRUSTING = 'mount --bind "$ROOT" /etc/ssl/certs/ca-certificates.crt && exec "$@"'

BACKEND = "127.0.0.1@9"  # ualpn wants a server for all other connections; none comes


class Uacme(Client):
    """uacme 1.7.4, of Debian 12."""

    name = "uacme"
    notes = "It trusts what the system trusts: install the root there. tls-alpn-01 is answered by its `ualpn`."
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-persist-01": "not implemented",
        "profile": "newer than it",
        "ari": "newer than it (renews what has less than 30 days left)",
    }

    @classmethod
    def version(cls) -> str:
        return clients.debian_version("uacme")

    def uacme(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run a command."""
        binding = ["--eab", f"{self.eab.kid}:{self.eab.secret}"] if self.eab else []
        options: tuple[str | Path, ...] = ("--verbose", "--yes", "--confdir", self.home, "--acme-url", self.directory)
        return run(
            *("unshare", "--map-root-user", "--mount", "sh", "-c", TRUSTING, "sh"),
            require_tool("uacme"),
            *(*options, *binding),
            *arguments,
            env={"ROOT": str(self.ca.root), "DNS_DOOR": self.ca.dns_door} | dict(env or {}),
        )

    def issue(self, wish: Wish) -> Issued:
        if not self.home.exists():
            self.uacme("new")
        env = {"CHALLENGE": wish.challenge, "UALPN": str(self.home / "ualpn.sock")}
        with ExitStack() as answers:
            if wish.challenge == "http-01":
                env["CHALLENGES"] = str(answers.enter_context(web_root(self.home / "www", self.ca.http_port)))
            if wish.challenge == "tls-alpn-01":
                answers.enter_context(self.ualpn(self.home / "ualpn.sock"))
            self.uacme("--force", "--hook", clients.HOOKS / "uacme.sh", "issue", *wish.names, env=env)
        name = wish.names[0].removeprefix("*.")
        return Issued(self.home / name / "cert.pem", self.home / "private" / name / "key.pem")

    @contextmanager
    def ualpn(self, sock: Path) -> Iterator[None]:
        """Run the responder until the block ends."""
        address = f"127.0.0.1@{self.ca.tls_port}"
        command = (require_tool("ualpn"), "--sock", sock, "--bind", address, "--connect", BACKEND)
        responder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + PATIENCE
            while not sock.exists() and responder.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            yield
        finally:
            responder.terminate()
            responder.communicate(timeout=PATIENCE)

    def revoke(self, issued: Issued) -> None:
        self.uacme("revoke", issued.chain)

    def roll_over(self) -> None:
        self.uacme("newkey")

    def deactivate(self) -> None:
        self.uacme("deactivate")
