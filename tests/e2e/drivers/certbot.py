"""certbot: the newest, and the one that Debian 12 ships."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.e2e.checks import is_ip
from tests.e2e.scenario import Client, Issued, Scenario, Wish, run
from tests.support import clients
from tests.support.tools import require_tool, venv_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOOK = clients.HOOKS / "certbot.sh"


class Certbot(Client):
    """certbot from PyPI: ARI, profiles and IP addresses."""

    name = "certbot"
    notes = (
        "`REQUESTS_CA_BUNDLE` names the root, also where the timer runs it. It renews by ARI; the packaged timers come "
        "twice a day, too seldom for an hour: run `certbot renew --no-random-sleep-on-renew` every few minutes."
    )
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "tls-alpn-01": "no authenticator for it",
        "dns-persist-01": "no authenticator for it",
        "rollover": "no command for it",
    }

    @classmethod
    def program(cls) -> Path:
        """Locate the program."""
        return venv_tool("certbot")

    @classmethod
    def version(cls) -> str:
        return run(cls.program(), "--version").split()[-1]

    def certbot(self, command: str, *arguments: str | Path) -> str:
        """Run a command without questions, everything it keeps being below our folder."""
        folders = [f"--{kind}-dir={self.home / kind}" for kind in ("config", "work", "logs")]
        return run(
            *(self.program(), command, "--non-interactive", f"--server={self.directory}", *folders, *arguments),
            env=self.trust | {"DNS_DOOR": self.ca.dns_door},
        )

    def issue(self, wish: Wish) -> Issued:
        self.certonly(wish)
        return self.issued(wish)

    def rehearse(self, wish: Wish) -> None:
        """Go through an issuance for nothing; certbot deactivates valid authorizations first, to prove names anew."""
        self.certonly(wish, "--dry-run")

    def certonly(self, wish: Wish, *options: str) -> None:
        """Run the command that gets a certificate."""
        account = ["--agree-tos", "--register-unsafely-without-email"]
        if self.eab:
            account += [f"--eab-kid={self.eab.kid}", f"--eab-hmac-key={self.eab.secret}"]
        self.certbot("certonly", *options, *account, *self.authenticator(wish), *self.wanted(wish))

    def authenticator(self, wish: Wish) -> list[str]:
        """Choose who answers the challenge."""
        if wish.challenge == "http-01":
            return ["--standalone", f"--http-01-port={self.ca.http_port}", "--http-01-address=127.0.0.1"]
        hooks = [f"--manual-auth-hook={HOOK} present", f"--manual-cleanup-hook={HOOK} cleanup"]
        return ["--manual", "--preferred-challenges=dns", *hooks]

    def wanted(self, wish: Wish) -> list[str]:
        """Say what the certificate is for."""
        names = [f"--ip-address={name}" if is_ip(name) else f"--domain={name}" for name in wish.names]
        profile = [f"--required-profile={wish.profile}"] if wish.profile else []
        return [f"--cert-name={self.lineage(wish)}", *names, *profile]

    def lineage(self, wish: Wish) -> str:
        """Name the certificate as a file name can."""
        return f"for-{wish.names[0].replace('*', 'any')}"

    def issued(self, wish: Wish) -> Issued:
        """Point to what certbot calls the live certificate."""
        live = self.home / "config" / "live" / self.lineage(wish)
        return Issued((live / "fullchain.pem").resolve(), (live / "privkey.pem").resolve())

    def renew(self, wish: Wish) -> Issued:
        self.certbot("renew", f"--cert-name={self.lineage(wish)}", "--no-random-sleep-on-renew", "--force-renewal")
        return self.issued(wish)

    def renew_if_due(self, wish: Wish) -> Issued:
        self.certbot("renew", f"--cert-name={self.lineage(wish)}", "--no-random-sleep-on-renew")
        return self.issued(wish)

    def revoke(self, issued: Issued) -> None:
        self.certbot("revoke", f"--cert-path={issued.chain}", "--no-delete-after-revoke")

    def deactivate(self) -> None:
        self.certbot("unregister")


class DebianCertbot(Certbot):
    """certbot 2.1, of Debian 12."""

    name = "certbot (Debian)"
    notes = "`REQUESTS_CA_BUNDLE` names the root. It renews on each run what has less than 30 days left."
    cannot: ClassVar[Mapping[Scenario, str]] = {
        **Certbot.cannot,
        "ip": "newer than it",
        "profile": "newer than it",
        "ari": "newer than it (renews whatever has less than 30 days left)",
    }

    @classmethod
    def program(cls) -> Path:
        return require_tool("certbot")
