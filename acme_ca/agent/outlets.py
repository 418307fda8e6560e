"""Where a new certificate goes: each outlet takes the material, and raises AgentError when it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from acme_ca.agent import envoy, files, shell
from acme_ca.agent.errors import AgentError
from acme_ca.agent.files import Content
from acme_ca.agent.material import BUNDLE, CERTIFICATE, CHAIN, FULL_CHAIN, KEY, Material, der
from acme_ca.agent.spiffe_messages import X509Svid
from acme_ca.clock import rfc3339

HOOK_SECONDS = 60.0
_VARIABLES = {"KEY": KEY, "CERT": CERTIFICATE, "CHAIN": CHAIN, "FULLCHAIN": FULL_CHAIN, "BUNDLE": BUNDLE}

log = structlog.get_logger(__name__)


class Outlet(Protocol):
    """Something that wants every new certificate."""

    def take(self, material: Material) -> None:
        """Use the material; raises AgentError, and is then asked again later."""


class Pushed(Protocol):
    """What keeps the newest SVID for the SPIFFE Workload API."""

    def replace(self, svid: X509Svid | None) -> None:
        """Push it to those who wait."""


@dataclass(frozen=True, slots=True)
class Files:
    """A folder with the set of PEM files."""

    folder: Path

    def take(self, material: Material) -> None:
        """Publish a new set."""
        files.publish(self.folder, material.contents())


@dataclass(frozen=True, slots=True)
class Envoy:
    """A folder that Envoy watches."""

    folder: Path

    def take(self, material: Material) -> None:
        """Replace the resources."""
        envoy.write(self.folder, material)


@dataclass(frozen=True, slots=True)
class Socket:
    """The SPIFFE Workload API."""

    current: Pushed

    def take(self, material: Material) -> None:
        """Push the SVID; a certificate without a SPIFFE ID is none."""
        spiffe_id = material.spiffe_id
        if spiffe_id is None:
            log.warning("spiffe.no_id", reason="the certificate has no SPIFFE ID; the socket serves none until one has")
            self.current.replace(None)
            return
        chain = der(material.issued.chain)
        self.current.replace(X509Svid(spiffe_id, chain, material.key_der, der(material.bundle)))


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that is run after each change, with the paths of the files in its environment."""

    command: str
    folder: Path
    seconds: float = HOOK_SECONDS

    def take(self, material: Material) -> None:
        """Run the command; raises AgentError unless it ends with 0."""
        variables = {f"ACME_WORKLOAD_{name}": str(self.folder / file) for name, file in _VARIABLES.items()}
        variables |= {
            "ACME_WORKLOAD_DIR": str(self.folder),
            "ACME_WORKLOAD_NOT_AFTER": rfc3339(material.issued.leaf.not_valid_after_utc),
            "ACME_WORKLOAD_SPIFFE_ID": material.spiffe_id or "",
        }
        ended = shell.run(self.command, variables, self.seconds, "the hook")
        if ended.code != 0:
            raise AgentError(f"the hook ended with {ended.code}")


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand, for a monitor to read."""

    not_after: datetime | None
    seconds_left: int
    renew_at: datetime | None
    last_error: str | None

    def write(self, file: Path) -> None:
        """Replace the status file; raises AgentError."""
        document = {
            "not_after": None if self.not_after is None else rfc3339(self.not_after),
            "seconds_left": self.seconds_left,
            "renew_at": None if self.renew_at is None else rfc3339(self.renew_at),
            "last_error": self.last_error,
        }
        files.make_folder(file.parent)
        files.write(file, Content(json.dumps(document).encode() + b"\n"))
