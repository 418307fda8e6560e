"""What a workload has in the end: key, chain and trust anchors, as files and back. All files are PEM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from acme_ca.agent import files, jws
from acme_ca.agent.errors import AgentError
from acme_ca.agent.files import SECRET, Content
from acme_ca.agent.issuance import Issued, names_of

KEY, CERTIFICATE, CHAIN, FULL_CHAIN, BUNDLE = "key.pem", "cert.pem", "chain.pem", "fullchain.pem", "bundle.pem"


@dataclass(frozen=True, slots=True)
class Material:
    """A certificate with its key, and the roots by which the workload knows its peers."""

    issued: Issued
    bundle: tuple[x509.Certificate, ...]

    @property
    def spiffe_id(self) -> str | None:
        """The SPIFFE ID of the certificate, which its owner may not have asked for."""
        return next((uri for uri in names_of(self.issued.leaf)[0] if uri.startswith("spiffe://")), None)

    @property
    def key_pem(self) -> bytes:
        """The key, PKCS#8 in PEM."""
        return jws.to_pem(self.issued.key)

    @property
    def key_der(self) -> bytes:
        """The key, PKCS#8 in DER."""
        return self.issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def contents(self) -> dict[str, Content]:
        """Return the files of a set by their names."""
        chain = self.issued.chain
        return {
            KEY: Content(self.key_pem, SECRET),
            CERTIFICATE: Content(pem(chain[:1])),
            CHAIN: Content(pem(chain[1:])),
            FULL_CHAIN: Content(pem(chain)),
            BUNDLE: Content(pem(self.bundle)),
        }


def pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Render certificates in PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def der(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Render certificates in DER, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def load(folder: Path) -> Material | None:
    """Return the current set of a folder; None if there is none, or none that can be read."""
    found = files.current(folder)
    if found is None:
        return None
    try:
        key = jws.from_pem((found / KEY).read_bytes(), found / KEY)
        chain = tuple(x509.load_pem_x509_certificates((found / FULL_CHAIN).read_bytes()))
        bundle = tuple(x509.load_pem_x509_certificates((found / BUNDLE).read_bytes()))
    except (OSError, ValueError, AgentError):
        return None
    if not isinstance(key, EllipticCurvePrivateKey) or chain[0].public_key() != key.public_key():
        return None
    return Material(Issued(key, chain), bundle)


def account_key(file: Path) -> jws.AccountKey:
    """Return the account key in a file, which is made where there is none; raises AgentError."""
    try:
        found = jws.from_pem(file.read_bytes(), file)
    except FileNotFoundError:
        return new_account_key(file)
    except OSError as error:
        raise AgentError(f"{file} cannot be read: {error.strerror}") from error
    if not isinstance(found, EllipticCurvePrivateKey):
        raise AgentError(f"{file} has no EC key; expected an account key that this program made")
    return jws.AccountKey(found)


def new_account_key(file: Path) -> jws.AccountKey:
    """Put a new account key into a file in place of any other."""
    key = jws.new_key()
    files.make_folder(file.parent)
    files.write(file, Content(jws.to_pem(key), SECRET))
    return jws.AccountKey(key)
