"""Libraries in other languages: a small program around each takes one task as JSON on its standard input."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from tests.e2e.scenario import Client, Issued, Scenario, Wish, run
from tests.support.clients import HERE, go_program, node_modules
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class TaskClient(Client):
    """What these have in common: files beside each other below the home."""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Locate the program."""

    def do(self, act: str, stem: str = "", wish: Wish | None = None) -> str:
        """Have one task done."""
        task = {
            "act": act,
            "directory": self.directory,
            "home": str(self.home),
            "door": self.ca.dns_door,
            "dns": self.ca.dns_server,
            "httpPort": self.ca.http_port,
            "tlsPort": self.ca.tls_port,
            "eab": {"kid": self.eab.kid, "secret": self.eab.secret} if self.eab else None,
            "stem": stem,
            "names": wish.names if wish else (),
            "challenge": wish.challenge if wish else "",
            "profile": (wish.profile if wish else None) or "",
        }
        return run(*self.command(), env=self.trust, given=json.dumps(task))

    def issue(self, wish: Wish) -> Issued:
        issued = self.issued(wish)
        self.do("issue", issued.chain.stem, wish)
        return issued

    def issued(self, wish: Wish) -> Issued:
        """Point to the files of the certificate."""
        stem = re.sub(r"[^a-z0-9]", "-", wish.names[0])
        return Issued(self.home / f"{stem}.crt", self.home / f"{stem}.key")

    def revoke(self, issued: Issued) -> None:
        self.do("revoke", issued.chain.stem)

    def roll_over(self) -> None:
        self.do("rollover")

    def deactivate(self) -> None:
        self.do("deactivate")


class NodeClient(TaskClient):
    """npm's acme-client."""

    name = "acme-client (Node)"
    notes = "`NODE_EXTRA_CA_CERTS` names the root. It passes a `profile` on to the CA, though it does not know of them."
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-persist-01": "not implemented",
        "ari": "not implemented",
    }

    @classmethod
    def version(cls) -> str:
        package = node_modules() / "node_modules" / "acme-client" / "package.json"
        version: str = json.loads(package.read_text())["version"]
        return version

    def command(self) -> list[str | Path]:
        return [require_tool("node"), node_modules() / "client.mjs"]


class XCrypto(TaskClient):
    """golang.org/x/crypto/acme, of which cert-manager has a copy."""

    name = "x/crypto/acme (Go)"
    notes = "`SSL_CERT_FILE` names the root, or the `HTTPClient` one gives it. cert-manager: `spec.acme.caBundle`."
    cannot: ClassVar[Mapping[Scenario, str]] = {
        "dns-persist-01": "not implemented",
        "ari": "not implemented",
    }

    @classmethod
    def version(cls) -> str:
        return module_version("golang.org/x/crypto")

    def command(self) -> list[str | Path]:
        return [go_program("xcrypto")]


class Lego5(TaskClient):
    """lego 5, the library: modules that its command line needs are not to be had from the Go module proxy."""

    name = "lego 5 (Go)"
    notes = (
        "`LEGO_CA_CERTIFICATES` names the root. Tried as a library: its command line needs modules that the tests "
        "cannot get."
    )
    cannot: ClassVar[Mapping[Scenario, str]] = {}

    @classmethod
    def version(cls) -> str:
        return module_version("github.com/go-acme/lego/v5")

    def command(self) -> list[str | Path]:
        return [go_program("lego5")]

    def renew_if_due(self, wish: Wish) -> Issued:
        issued = self.issued(wish)
        self.do("renew-if-due", issued.chain.stem, wish)
        return issued


def module_version(module: str) -> str:
    """Read which version of a Go module the programs are made with."""
    require_tool("go")
    found = re.search(rf"^\s*{re.escape(module)} v(\S+)", (HERE / "go" / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]
