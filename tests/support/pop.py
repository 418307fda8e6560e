"""Holders of certified keys: CAs, what they certify, and proofs of possession, well made or badly.

Apart from acme_ca.workload, so that neither mirrors a mistake of the other.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.jws import PrivateKey, algorithm, b64, raw_signature, shared_key

TYPE = "acme-workload-pop+jws"
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_HASHES: Mapping[str, HashAlgorithm] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}


def now() -> datetime:
    """The present without its fraction, as certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)


def distinguished(common_name: str | None, *more: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """A subject, empty without a common name and others."""
    pairs = [] if common_name is None else [(NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in (*pairs, *more)])


def usage(*, digital_signature: bool, signs_certificates: bool = False) -> x509.KeyUsage:
    """The keyUsage of a leaf, or with the second of a CA."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Holder:
    """A key and the chain that certifies it, the leaf first."""

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    def sign(self, url: str, payload: str | bytes, /, **changes: Any) -> dict[str, str]:  # noqa: ANN401 - header members
        """The evidence of a proof; a header member that is changed to None is left out."""
        return {"sig": self.compact(url, payload, changes)}

    def compact(self, url: str, payload: str | bytes, changes: Mapping[str, Any]) -> str:
        header = {
            "alg": algorithm(self.key),
            "typ": TYPE,
            "url": url,
            "x5c": [der64(certificate) for certificate in self.chain],
        }
        header = {name: value for name, value in (header | dict(changes)).items() if value is not None}
        octets = payload if isinstance(payload, bytes) else payload.encode()
        signing_input = f"{b64(json.dumps(header).encode())}.{b64(octets)}"
        return f"{signing_input}.{b64(signature(self.key, header.get('alg'), signing_input.encode()))}"


def signature(key: PrivateKey, alg: object, message: bytes) -> bytes:
    """The signature by one of RSA's six algorithms if alg is one, else by the key's own."""
    if not isinstance(key, rsa.RSAPrivateKey) or not isinstance(alg, str) or alg[:2] not in {"RS", "PS"}:
        return raw_signature(key, message)
    digest = _HASHES[alg[2:]]
    if alg.startswith("RS"):
        return key.sign(message, padding.PKCS1v15(), digest)
    return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)


def der64(certificate: x509.Certificate) -> str:
    """A certificate as x5c has it. RFC 7515 §4.1.6."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def write_pem(file: Path, *certificates: x509.Certificate) -> Path:
    """The file, with these certificates in it."""
    file.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
    return file


@dataclass(frozen=True)
class Authority:
    """A CA: a root, or one below another. `sent` is what its leaves send along to lead to the root."""

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    sent: tuple[x509.Certificate, ...] = ()

    @classmethod
    def root(cls, name: str, number: int = 0, uri: str | None = None) -> Authority:
        """A root; the number tells keys apart."""
        key, subject = shared_key("ec-p256", 1000 + number), distinguished(name)
        builder = _of_ca(key, subject, ())
        if uri is not None:
            builder = builder.add_extension(_san([x509.UniformResourceIdentifier(uri)]), critical=False)
        return cls(key, builder.issuer_name(subject).sign(key, SHA256()))

    def below(self, name: str, number: int, *extensions: x509.ExtensionType) -> Authority:
        """An intermediate."""
        key = shared_key("ec-p256", 1000 + number)
        builder = _of_ca(key, distinguished(name), extensions).issuer_name(self.certificate.subject)
        certificate = builder.add_extension(self._key_identifier, critical=False).sign(self._signer, SHA256())
        return Authority(key, certificate, (certificate, *self.sent))

    def leaf(
        self,
        *names: x509.GeneralName,
        subject: x509.Name | None = None,
        key: PrivateKey | None = None,
        begin: datetime | None = None,
        seconds: int = 3600,
        key_usage: x509.KeyUsage | None = None,
        critical_usage: bool = True,
        ca: bool = False,
        purposes: Sequence[x509.ObjectIdentifier] = BOTH,
        serial: int | None = None,
    ) -> Holder:
        """A leaf of a workload and its key, well made unless the arguments say otherwise."""
        key = key or shared_key("ec-p256", 1)
        subject = distinguished("workload") if subject is None else subject
        begin = begin or now() - timedelta(minutes=2)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(seconds=seconds))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(self._key_identifier, critical=False)
            .add_extension(key_usage or usage(digital_signature=True), critical=critical_usage)
        )
        if names:
            builder = builder.add_extension(_san(names), critical=not list(subject))
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return Holder(key, (builder.sign(self._signer, SHA256()), *self.sent))

    @property
    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    @property
    def _signer(self) -> Any:  # noqa: ANN401 - never an Ed25519 key, which SHA-256 would be wrong for
        assert not isinstance(self.key, ed25519.Ed25519PrivateKey)
        return self.key


def _san(names: Sequence[x509.GeneralName]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(names)


def _of_ca(key: PrivateKey, subject: x509.Name, extensions: Sequence[x509.ExtensionType]) -> x509.CertificateBuilder:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(digital_signature=False, signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder


def tls_server(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A context of a server on 127.0.0.1, and the PEM file of the root that its certificate leads to."""
    root = Authority.root("web root", 900)
    holder = root.leaf(x509.IPAddress(ip_address("127.0.0.1")), key=shared_key("ec-p256", 1901))
    chain, key = write_pem(folder / "server.pem", *holder.chain), folder / "server.key"
    key.write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context, write_pem(folder / "server-root.pem", root.certificate)
