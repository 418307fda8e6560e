"""acme-tiny: two hundred lines of Python that do http-01 and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.e2e.answers import web_root
from tests.e2e.scenario import Client, Issued, Scenario, Wish, run
from tests.support import clients
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

ONLY = "does http-01 for dns names, and nothing else"


class AcmeTiny(Client):
    """acme-tiny, of Debian 12; the keys and the CSR are openssl's."""

    name = "acme-tiny"
    notes = "`SSL_CERT_FILE` names the root. `--disable-check` where the host cannot reach its own name."
    cannot: ClassVar[Mapping[Scenario, str]] = dict.fromkeys(
        (
            "dns-01",
            "tls-alpn-01",
            "dns-persist-01",
            "wildcard",
            "ip",
            "profile",
            "eab",
            "ari",
            "revoke",
            "rollover",
            "deactivate",
        ),
        ONLY,
    )

    @classmethod
    def version(cls) -> str:
        return clients.debian_version("acme-tiny")

    def issue(self, wish: Wish) -> Issued:
        self.home.mkdir(parents=True, exist_ok=True)
        account, key, csr, chain = (self.home / name for name in ("account.pem", "key.pem", "csr.pem", "chain.pem"))
        if not account.exists():
            run("openssl", "genrsa", "-out", account, "2048")
        subject_names = ",".join(f"DNS:{name}" for name in wish.names)
        request = ("-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/", "-addext", f"subjectAltName={subject_names}")
        run("openssl", "req", *request, "-keyout", key, "-out", csr)
        program = require_tool("acme-tiny")
        with web_root(self.home / "www", self.ca.http_port) as challenges:
            files = ("--account-key", account, "--csr", csr, "--acme-dir", challenges)
            answer = run(
                program, *files, "--directory-url", self.directory, "--disable-check", "--quiet", env=self.trust
            )
        chain.write_text(answer)
        return Issued(chain, key)
