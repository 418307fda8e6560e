"""Apache httpd with mod_md, a server that gets its certificates itself."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.e2e.scenario import PATIENCE, Client, Eab, Issued, Scenario, Wish
from tests.support import clients
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.e2e.ca import Ca

HTTPD_CONF = """
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule md_module {modules}/mod_md.so
User www-data
Group www-data
ServerRoot {home}
ServerName localhost
PidFile {home}/pid
Mutex file:{home}
ErrorLog {home}/log
LogLevel warn md:info
StartServers 1
Listen 127.0.0.1:{ca.http_port}
Listen 127.0.0.1:{ca.tls_port} https
Protocols http/1.1 acme-tls/1
MDStoreDir {home}/md
MDCACertificateFile {home}/root.pem
MDCertificateAuthority {directory}
MDCertificateAgreement accepted
MDContactEmail operator@example.com
MDPortMap http:{ca.http_port} https:{ca.tls_port}
MDCAChallenges {challenge}
MDChallengeDns01 {home}/mod_md.sh {ca.dns_door}
MDRenewWindow {window}
MDRetryDelay 1s
{options}
MDomain {names} manual
<VirtualHost 127.0.0.1:{ca.tls_port}>
    ServerName {first}
    ServerAlias {names}
    SSLEngine on
</VirtualHost>
"""
DUE = "99%"  # of a lifetime is left: every certificate is due
ORDINARY = "33%"


class ModMd(Client):
    """mod_md, of Debian 12's httpd, which keeps it current."""

    name = "mod_md (httpd)"
    notes = (
        "`MDCACertificateFile` names the root. By default it looks twice a day whether something is due: set "
        "`MDCheckInterval 5m` for certificates of an hour. A new certificate is in use from the next graceful restart "
        "on: let `MDMessageCmd` do that on `renewed`."
    )
    waits = True
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-persist-01": "not implemented",
        "ip": "sends addresses as dns names",
        "revoke": "no command for it",
        "rollover": "no command for it",
        "deactivate": "no command for it",
    }

    def __init__(self, ca: Ca, home: Path, eab: Eab | None = None) -> None:
        # httpd gives root's rights up, so that folders of root's, pytest's among them, may be closed to it.
        home = Path(tempfile.mkdtemp(prefix="mod-md-"))
        weakref.finalize(self, shutil.rmtree, home)
        super().__init__(ca, home, eab)
        self.home.chmod(0o711)
        for path in (ca.root, clients.HOOKS / "mod_md.sh", clients.HOOKS / "dns.sh"):
            shutil.copy(path, self.home)

    @classmethod
    def version(cls) -> str:
        require_tool("mod_md")
        return clients.debian_version("apache2-bin", tool="apache2")

    def issue(self, wish: Wish) -> Issued:
        return self.until_new(wish, ORDINARY)

    def renew(self, wish: Wish) -> Issued:
        return self.until_new(wish, DUE)

    def renew_if_due(self, wish: Wish) -> Issued:
        return self.until_new(wish, ORDINARY)

    def until_new(self, wish: Wish, window: str) -> Issued:
        """Run httpd until it has staged a certificate, and on through the graceful restart that puts it to use."""
        before = self.serial(wish)
        with self.running(wish, window) as httpd:
            self.wait(httpd, lambda: self.is_staged(wish))
            httpd.send_signal(signal.SIGUSR1)
            self.wait(httpd, lambda: self.serial(wish) != before)
        return self.issued(wish)

    @contextmanager
    def running(self, wish: Wish, window: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run httpd on ports and in a folder of its own until the block ends."""
        config = self.home / "httpd.conf"
        config.write_text(self.httpd_conf(wish, window))
        command = (require_tool("apache2"), "-DFOREGROUND", "-f", config)
        httpd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            yield httpd
        finally:
            httpd.send_signal(signal.SIGTERM)
            httpd.wait(PATIENCE)

    def httpd_conf(self, wish: Wish, window: str) -> str:
        """Write a site for the names, on the ports where the CA validates."""
        options = [f"MDProfile {wish.profile}"] if wish.profile else []
        if self.eab:
            options.append(f"MDExternalAccountBinding {self.eab.kid} {self.eab.secret}")
        return HTTPD_CONF.format(
            ca=self.ca,
            directory=self.directory,
            home=self.home,
            modules=require_tool("mod_md").parent,
            challenge=wish.challenge,
            window=window,
            options="\n".join(options),
            names=" ".join(wish.names),
            first=wish.names[-1],
        )

    def wait(self, httpd: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
        """Wait for something to happen in the store."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert httpd.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def is_staged(self, wish: Wish) -> bool:
        """Read whether mod_md has got what it wants to put to use."""
        job = self.home / "md" / "staging" / wish.names[0] / "job.json"
        try:
            return json.loads(job.read_text()).get("finished") is True
        except (FileNotFoundError, json.JSONDecodeError):  # not yet written, or being written
            return False

    def serial(self, wish: Wish) -> int | None:
        """Read which certificate is in use."""
        try:
            return self.issued(wish).serial
        except FileNotFoundError:
            return None

    def issued(self, wish: Wish) -> Issued:
        """Point into mod_md's store."""
        folder = self.home / "md" / "domains" / wish.names[0]
        return Issued(folder / "pubcert.pem", folder / "privkey.pem")

    def log(self) -> str:
        """Read what httpd said."""
        return (self.home / "log").read_text()
