"""Roots, intermediates and cross-signs made on the spot, and what openssl says of a chain that ends at some of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock
from acme_ca.pki import ca
from tests.support.tools import require_tool

LONG = timedelta(days=3650)


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """The key of an authority, always the same."""
    del name
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Root:
    """A root with its key."""

    name: str
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str, now: datetime | None = None, lifetime: timedelta = LONG) -> Root:
        """Make a root that is valid from an hour before a moment on."""
        start = (now or clock.now()).replace(microsecond=0) - timedelta(hours=1)
        made = ca.make_root(
            key(name), common_name=name, organization="Corp", not_before=start, not_after=start + lifetime
        )
        return cls(name, made)

    def intermediate(self, name: str, zone: str = "test.localhost") -> x509.Certificate:
        """Sign an intermediate for leafs below a zone, for as long as the root."""
        return ca.make_intermediate(
            self.certificate,
            key(self.name),
            key(name).public_key(),
            common_name=name,
            permitted_dns=(zone,),
            not_before=self.certificate.not_valid_before_utc,
            not_after=self.certificate.not_valid_after_utc,
        )


def write(path: Path, *certificates: x509.Certificate) -> Path:
    """Write certificates in PEM."""
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    return path


def verifies(folder: Path, chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], *options: str) -> bool:
    """Whether openssl verifies a leaf, given first, by what follows it and these roots alone."""
    folder.mkdir(exist_ok=True)
    files = [write(folder / "roots.pem", *roots), write(folder / "leaf.pem", chain[0])]
    command = [str(require_tool("openssl")), "verify", *options]
    command += ["-no-CApath", "-no-CAstore", "-CAfile", str(files[0])]
    if chain[1:]:
        command += ["-untrusted", str(write(folder / "above.pem", *chain[1:]))]
    done = subprocess.run([*command, str(files[1])], check=False, capture_output=True, text=True)
    return done.returncode == 0
