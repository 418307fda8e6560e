"""dehydrated: a shell script with curl and openssl."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar

from tests.e2e.answers import alpn_certificates, web_root
from tests.e2e.scenario import Client, Issued, Scenario, Wish, run
from tests.support import clients
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Mapping


class Dehydrated(Client):
    """dehydrated 0.7.0, of Debian 12; its tls-alpn-01 leaves the answering to a server of the user's."""

    name = "dehydrated"
    notes = (
        "`CURL_CA_BUNDLE` names the root. For tls-alpn-01 it writes certificates and leaves the answering to your "
        "server. It renews on each run what has less than 30 days left."
    )
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-persist-01": "not implemented",
        "ip": "newer than it",
        "profile": "newer than it",
        "ari": "not implemented (renews what has less than 30 days left)",
        "rollover": "no command for it",
    }

    @classmethod
    def version(cls) -> str:
        return clients.debian_version("dehydrated")

    def dehydrated(self, *arguments: str) -> str:
        """Run a command with a configuration of our own."""
        settings = {
            "CA": self.directory,
            "BASEDIR": self.home,
            "WELLKNOWN": self.home / "www" / ".well-known" / "acme-challenge",
            "ALPNCERTDIR": self.home / "alpn",
        }
        if self.eab:
            settings |= {"EAB_KID": self.eab.kid, "EAB_HMAC_KEY": self.eab.secret}
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "config"
        config.write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
        program = require_tool("dehydrated")
        return run(program, *arguments, "--config", config, env=self.trust | {"DNS_DOOR": self.ca.dns_door})

    def issue(self, wish: Wish) -> Issued:
        if not (self.home / "accounts").exists():
            self.dehydrated("--register", "--accept-terms")
        alias = wish.names[0].replace("*", "any")
        command = [
            "--cron",
            "--force",
            "--domain",
            " ".join(wish.names),
            "--alias",
            alias,
            "--challenge",
            wish.challenge,
        ]
        if wish.challenge == "dns-01":
            command += ["--hook", str(clients.HOOKS / "dehydrated.sh")]
        with ExitStack() as answers:
            if wish.challenge == "http-01":
                answers.enter_context(web_root(self.home / "www", self.ca.http_port))
            if wish.challenge == "tls-alpn-01":
                answers.enter_context(alpn_certificates(self.home / "alpn", self.ca.tls_port))
            self.dehydrated(*command)
        folder = self.home / "certs" / alias
        return Issued((folder / "fullchain.pem").resolve(), (folder / "privkey.pem").resolve())

    def revoke(self, issued: Issued) -> None:
        self.dehydrated("--revoke", str(issued.chain.with_name(issued.chain.name.replace("fullchain", "cert"))))

    def deactivate(self) -> None:
        self.dehydrated("--deactivate")
