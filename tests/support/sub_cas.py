"""A CA that signs sub-CAs in its environment `test`, and what a mesh does with them: CSRs, leafs, openssl's opinion."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from acme_ca import clock
from acme_ca.pki.ca import CA_KEY_USAGE
from acme_ca.pki.signing import SigningKey, hash_for, new_serial
from tests.support.ca import make_ca_files

RULES = """
[environment.test.sub_ca]
name = "test-mesh-1"
certificate = "certificates/test-mesh-1.pem"
root = "certificates/root.pem"
key = { type = "software", path = "keys/test-mesh-1.key", passphrase = "file:keys/passphrase" }
max_lifetime = 8640000

[[environment.test.sub_ca.rule]]
name = "istio-eu"
common_name = "Istio EU"
dns = ["istio.test.localhost"]
ip = ["10.1.0.0/16"]
trust_domain = "eu.test.localhost"
lifetime = 2592000

[[environment.test.sub_ca.rule]]
name = "linkerd"
common_name = "identity.linkerd.test.localhost"
dns = ["linkerd.test.localhost"]
dns_names = ["identity.linkerd.test.localhost"]
key_types = ["ec-p256"]

[[environment.test.sub_ca.rule]]
name = "spire"
trust_domain = "spire.test.localhost"
path_length = 1
lifetime = 8640000
"""


def make_sub_ca_files(folder: Path, rules: str = RULES) -> Path:
    """Run `acme-ca init` for a CA with these rules; return the configuration file."""
    path = make_ca_files(folder)
    path.write_text(path.read_text() + rules)
    return make_ca_files(folder)


def key() -> ec.EllipticCurvePrivateKey:
    """A key of a mesh's CA."""
    return ec.generate_private_key(ec.SECP256R1())


def request(signer: SigningKey, common_name: str | None = None, *names: x509.GeneralName) -> str:
    """A CSR in PEM that asks for a CA, as meshes' tools write it."""
    subject = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(x509.BasicConstraints(ca=True, path_length=5), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, SHA256()).public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class Mesh:
    """A CA of a mesh: its certificate first, then what is above it, and its key."""

    chain: tuple[x509.Certificate, ...]
    key: SigningKey

    @classmethod
    def of(cls, pem: str, signer: SigningKey) -> Mesh:
        """A CA with a chain in PEM."""
        return cls(tuple(x509.load_pem_x509_certificates(pem.encode())), signer)

    def ca(self, common_name: str = "below") -> Mesh:
        """A CA below this one, whether it may have one or not."""
        own = key()
        built = self._builder(own, [x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        built = built.add_extension(CA_KEY_USAGE, critical=True)
        built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        return Mesh((built.sign(self.key, hash_for(self.key)), *self.chain), own)

    def leaf(self, *names: str) -> tuple[x509.Certificate, ...]:
        """A leaf for these names and its chain, whether the CA may certify them or not."""
        built = self._builder(key(), [])
        built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        built = built.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=True)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        built = built.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return (built.sign(self.key, hash_for(self.key)), *self.chain)

    def _builder(
        self, signer: ec.EllipticCurvePrivateKey, subject: list[x509.NameAttribute[str]]
    ) -> x509.CertificateBuilder:
        own, now = self.chain[0], clock.now()
        above = own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder()
            .serial_number(new_serial())
            .issuer_name(own.subject)
            .subject_name(x509.Name(subject))
            .not_valid_before(max(own.not_valid_before_utc, now - timedelta(minutes=1)))
            .not_valid_after(min(own.not_valid_after_utc, now + timedelta(minutes=5)))
            .public_key(signer.public_key())
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
        )


def _name(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def verdict(folder: Path, chain: Sequence[x509.Certificate], root: str, *options: str) -> str:
    """What openssl says of a chain, its first certificate being the one to verify: "" when it is good."""
    files = {"leaf.pem": chain[:1], "between.pem": chain[1:]}
    for name, certificates in files.items():
        (folder / name).write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    (folder / "root.pem").write_text(root)
    command = ["openssl", "verify", "-x509_strict", *options, "-CAfile", "root.pem", "-untrusted", "between.pem"]
    done = subprocess.run([*command, "leaf.pem"], cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr
