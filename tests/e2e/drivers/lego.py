"""lego 4, of Debian 12."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.e2e.scenario import Challenge, Client, Issued, Scenario, Wish, run
from tests.support import clients
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Mapping


class Lego(Client):
    """lego's command line."""

    name = "lego (Debian)"
    notes = "`LEGO_CA_CERTIFICATES` names the root. `--dns.disable-cp` where it cannot reach the zone's own servers."
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-persist-01": "newer than it",
        "ip": "newer than it (sends addresses as dns names)",
        "profile": "newer than it",
        "ari": "newer than it",
        "rollover": "no command for it",
        "deactivate": "no command for it",
    }

    @classmethod
    def version(cls) -> str:
        return clients.debian_version("lego")

    def lego(self, wish: Wish, command: str, *arguments: str) -> str:
        """Run a command: lego takes what is wanted before the command's name."""
        account = ["--accept-tos", "--email=operator@example.com", f"--path={self.home}"]
        if self.eab:
            account += ["--eab", f"--kid={self.eab.kid}", f"--hmac={self.eab.secret}"]
        names = [f"--domains={name}" for name in wish.names]
        answers = self.answers(wish.challenge)
        program = require_tool("lego")
        return run(
            program,
            *(f"--server={self.directory}", *account, *answers, *names, command, *arguments),
            env=self.trust | {"HTTPREQ_ENDPOINT": self.ca.dns_door, "HTTPREQ_POLLING_INTERVAL": "1"},
        )

    def answers(self, challenge: Challenge) -> list[str]:
        """Choose who answers the challenge."""
        return {
            "http-01": ["--http", f"--http.port=127.0.0.1:{self.ca.http_port}"],
            "tls-alpn-01": ["--tls", f"--tls.port=127.0.0.1:{self.ca.tls_port}"],
            "dns-01": ["--dns=httpreq", "--dns.disable-cp"],
        }[challenge]

    def issue(self, wish: Wish) -> Issued:
        self.lego(wish, "run")
        return self.issued(wish)

    def renew(self, wish: Wish) -> Issued:
        self.lego(wish, "renew", "--no-random-sleep", "--days=3650")
        return self.issued(wish)

    def issued(self, wish: Wish) -> Issued:
        """Point to the files of the certificate."""
        stem = self.home / "certificates" / wish.names[0].replace("*", "_")
        return Issued(stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key"))

    def revoke(self, issued: Issued) -> None:
        self.lego(Wish((issued.chain.stem,), "http-01"), "revoke", "--keep")
