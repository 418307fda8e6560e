"""A CA that is none of ours, made with openssl: it signs what an issuer's key asks for, or something else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from acme_ca.keys import PrivateKey
from acme_ca.pki.ca import CA_EXTENDED_KEY_USAGE, CA_KEY_USAGE, constraints_to, key_identifier_of
from acme_ca.pki.signing import hash_for, new_serial
from tests.support.tools import require_tool

DAY = timedelta(days=1)


def openssl(*arguments: object) -> str:
    """Run openssl; what it prints."""
    command = [str(require_tool("openssl")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Corporate:
    """A root in files."""

    folder: Path
    name: str = "corp"

    @classmethod
    def make(
        cls, folder: Path, name: str = "corp", kind: Sequence[str] = ("ec", "ec_paramgen_curve:P-384")
    ) -> Corporate:
        """Make the root."""
        folder.mkdir(exist_ok=True)
        made = cls(folder, name)
        algorithm, option = kind
        openssl(
            *("req", "-x509", "-newkey", algorithm, "-pkeyopt", option, "-nodes", "-days", "3650"),
            *("-keyout", made.key_file, "-out", made.certificate_file, "-subj", f"/O=Corp/CN={name} root"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        return made

    @property
    def certificate_file(self) -> Path:
        """The root."""
        return self.folder / f"{self.name}.pem"

    @property
    def key_file(self) -> Path:
        """Its key."""
        return self.folder / f"{self.name}.key"

    @property
    def certificate(self) -> x509.Certificate:
        """The root."""
        return x509.load_pem_x509_certificate(self.certificate_file.read_bytes())

    @property
    def key(self) -> PrivateKey:
        """Its key."""
        found = load_pem_private_key(self.key_file.read_bytes(), None)
        assert isinstance(found, PrivateKey)
        return found

    def sign(self, request: Path, out: Path, *options: str) -> Path:
        """Sign a request as it is, with openssl."""
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate_file, "-CAkey", self.key_file, "-out", out),
            *("-copy_extensions", "copyall", "-days", "365", *options),
        )
        return out

    def issue(self, public_key: Any, out: Path, **changes: Any) -> Path:  # noqa: ANN401 - of any kind
        """Issue an intermediate for prod.localhost that is as it should be, but for the changes."""
        now = datetime.now(UTC)
        given: dict[str, Any] = {
            "not_before": now - DAY,
            "not_after": now + 365 * DAY,
            "ca": True,
            "path_length": 0,
            "usage": CA_KEY_USAGE,
            "constraints": constraints_to(("prod.localhost",), ()),
            "usages": CA_EXTENDED_KEY_USAGE,
            "name": "issuer",
        } | changes
        builder = (
            x509.CertificateBuilder()
            .serial_number(new_serial())
            .subject_name(x509.Name.from_rfc4514_string(f"CN={given['name']}"))
            .issuer_name(self.certificate.subject)
            .not_valid_before(given["not_before"])
            .not_valid_after(given["not_after"])
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(given["ca"], given["path_length"]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(key_identifier_of(self.certificate), critical=False)
        )
        for name, critical in (("usage", True), ("constraints", True), ("usages", False)):
            if given[name] is not None:
                builder = builder.add_extension(given[name], critical=critical)
        certificate = builder.sign(self.key, hash_for(self.key) or SHA256())
        out.write_bytes(certificate.public_bytes(Encoding.PEM))
        return out
