"""What every client is asked to do, and the shape in which a client is driven."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.ca import Ca

Challenge = Literal["http-01", "dns-01", "tls-alpn-01", "dns-persist-01"]
Scenario = Literal[
    "http-01",
    "dns-01",
    "tls-alpn-01",
    "dns-persist-01",
    "wildcard",
    "ip",
    "profile",
    "eab",
    "renew",
    "ari",
    "revoke",
    "rollover",
    "deactivate",
]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

PATIENCE = 60  # seconds: far beyond what any command here takes, on a machine that is busy with other tests


@dataclass(frozen=True, slots=True)
class Eab:
    """An external account key: its identifier, and the secret as base64url without padding. RFC 8555 §7.3.4."""

    kid: str
    secret: str


@dataclass(frozen=True, slots=True)
class Wish:
    """One certificate that is wanted."""

    names: tuple[str, ...]
    challenge: Challenge
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """What a client has on its disk when it is done: PEM files, the chain beginning with the leaf."""

    chain: Path
    key: Path

    def certificates(self) -> list[x509.Certificate]:
        """Parse the chain."""
        return x509.load_pem_x509_certificates(self.chain.read_bytes())

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return self.certificates()[0]

    @property
    def serial(self) -> int:
        """The leaf's serial number."""
        return self.leaf.serial_number


class CommandFailed(AssertionError):
    """A program failed; all that it printed follows."""


def run(*command: str | Path, env: Mapping[str, str] | None = None, given: str = "") -> str:
    """Run a client to its end and return all that it printed; `given` is its standard input."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        command,
        env=environment | dict(env or {}),
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise CommandFailed(
            f"{shlex.join(map(str, command))}\nended with {done.returncode}; it printed:\n{done.stdout}"
        )
    return done.stdout


class Client(ABC):
    """An ACME client with one account, at home in a folder of its own.

    A subclass implements what its client can do; `cannot` gives the reason for each scenario that it cannot.
    """

    name: ClassVar[str]
    notes: ClassVar[str]  # for the reader of docs/clients.md: how it is made to work with a private CA
    waits: ClassVar[bool] = False  # whether it runs on until a certificate is due, in place of telling that none is
    ari_profile: ClassVar[str | None] = None  # of the certificate whose renewal the CA asks for
    ordinary: ClassVar[Challenge] = "http-01"  # for the scenarios that are not about a challenge type
    cannot: ClassVar[Mapping[Scenario, str]]

    def __init__(self, ca: Ca, home: Path, eab: Eab | None = None) -> None:
        self.ca = ca
        self.home = home
        self.eab = eab
        self.directory = ca.eab_directory if eab else ca.directory

    @classmethod
    def slug(cls) -> str:
        """Render the name so that it can stand in host and file names."""
        return re.sub(r"[^a-z0-9]+", "-", cls.name.lower()).strip("-")

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Locate the client and tell its version. Skips or fails the test when it is not there."""

    @abstractmethod
    def issue(self, wish: Wish) -> Issued:
        """Get a certificate, registering the account first if need be."""

    def renew(self, wish: Wish) -> Issued:
        """Replace the certificate that `issue` got for the same wish, due or not."""
        return self.issue(wish)

    def renew_if_due(self, wish: Wish) -> Issued:
        """Let the client decide by ARI whether the certificate is due; what there is afterwards. RFC 9773 §4.2."""
        raise NotImplementedError(wish)

    def revoke(self, issued: Issued) -> None:
        """Revoke the certificate."""
        raise NotImplementedError(issued)

    def roll_over(self) -> None:
        """Change the account's key. RFC 8555 §7.3.5."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Deactivate the account. RFC 8555 §7.3.6."""
        raise NotImplementedError

    @cached_property
    def trust(self) -> dict[str, str]:
        """The variables by which OpenSSL, requests, curl, Go and Node find the root."""
        root = str(self.ca.root)
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "LEGO_CA_CERTIFICATES", "NODE_EXTRA_CA_CERTS")
        return dict.fromkeys(names, root)
