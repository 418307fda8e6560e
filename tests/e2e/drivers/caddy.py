"""Caddy, a web server that gets its certificates itself."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from tests.e2e.ca import BRIEF
from tests.e2e.checks import is_ip
from tests.e2e.scenario import PATIENCE, Client, Issued, Scenario, Wish, run
from tests.support.tools import venv_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CADDYFILE = """
{{
    admin off
    http_port {ca.http_port}
    https_port {ca.tls_port}
    auto_https disable_redirects
    storage file_system {home}/storage
    renewal_window_ratio {ratio}
    renew_interval 1s
    skip_install_trust
}}
{sites} {{
    bind 127.0.0.1
    tls {{
        issuer acme {{
            dir {directory}
            trusted_roots {ca.root}
            {options}
        }}
    }}
}}
"""
DUE = 0.9999  # of a lifetime is left: every certificate is due
ORDINARY = 1 / 3


class Caddy(Client):
    """Caddy from PyPI, as its authors build it: without modules for DNS providers."""

    name = "Caddy"
    notes = (
        "`trusted_roots` (or `acme_ca_root`) names the root. Caddy takes a certificate to be due when less than five "
        "times `renew_interval` is left of it, which is 10 minutes by default: set `renew_interval 1m` for "
        "certificates of an hour, or they are renewed from their tenth minute on."
    )
    waits = True
    ari_profile = (
        BRIEF  # it asks again after what Retry-After says and not earlier, but knows the window from the start
    )
    ordinary = "tls-alpn-01"
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-01": "needs a module for the DNS provider, of which the standard build has none",
        "dns-persist-01": "not implemented",
        "wildcard": "needs dns-01",
        "revoke": "no command for it",
        "rollover": "no command for it",
        "deactivate": "no command for it",
    }

    @classmethod
    def version(cls) -> str:
        return run(venv_tool("caddy"), "version").split()[0].removeprefix("v")

    def issue(self, wish: Wish) -> Issued:
        return self.until(wish, lambda _: True)

    def renew(self, wish: Wish) -> Issued:
        before = self.issued(wish).serial
        return self.until(wish, lambda issued: issued.serial != before, ratio=DUE)

    def renew_if_due(self, wish: Wish) -> Issued:
        before = self.issued(wish).serial
        return self.until(wish, lambda issued: issued.serial != before)

    def until(self, wish: Wish, done: Callable[[Issued], bool], ratio: float = ORDINARY) -> Issued:
        """Run Caddy until it has the certificate that is waited for."""
        with self.running(wish, ratio) as caddy:
            deadline = time.monotonic() + PATIENCE
            while not ((issued := self.issued(wish)).key.with_suffix(".json").exists() and done(issued)):
                assert caddy.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.05)
        return issued

    @contextmanager
    def running(self, wish: Wish, ratio: float) -> Iterator[subprocess.Popen[bytes]]:
        """Run Caddy until the block ends."""
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "Caddyfile"
        config.write_text(self.caddyfile(wish, ratio))
        with (self.home / "log").open("ab") as log:
            caddy = subprocess.Popen(
                [venv_tool("caddy"), "run", "--adapter", "caddyfile", "--config", config],
                env={"HOME": str(self.home)},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield caddy
        finally:
            caddy.send_signal(signal.SIGTERM)
            caddy.wait(PATIENCE)

    def caddyfile(self, wish: Wish, ratio: float) -> str:
        """Write a site for the names, on the ports where the CA validates."""
        unwanted = "disable_http_challenge" if wish.challenge == "tls-alpn-01" else "disable_tlsalpn_challenge"
        options = [unwanted]
        if wish.profile:
            options.append(f"profile {wish.profile}")
        if self.eab:
            options.append(f"eab {self.eab.kid} {self.eab.secret}")
        return CADDYFILE.format(
            ca=self.ca,
            directory=self.directory,
            home=self.home,
            ratio=ratio,
            sites=", ".join(f"https://{name}" if is_ip(name) else name for name in wish.names),
            options="\n            ".join(options),
        )

    def issued(self, wish: Wish) -> Issued:
        """Point into Caddy's storage."""
        name = wish.names[0]
        folder = next((self.home / "storage" / "certificates").glob(f"*/{name}"), self.home / name)
        return Issued(folder / f"{name}.crt", folder / f"{name}.key")

    def log(self) -> str:
        """Read what Caddy said."""
        return (self.home / "log").read_text()
