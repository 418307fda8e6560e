"""Certificates of operators: who they are, for the TLS handshake with the admin listener and nothing else."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from acme_ca import public_keys
from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.signing import SigningKey, hash_for, new_serial
from acme_ca.public_keys import PublicKey

KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def make(
    issuer: x509.Certificate,
    issuer_key: SigningKey,
    public_key: PublicKey,
    *,
    name: str,
    not_before: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """Return a client certificate whose common name is the operator's; it ends with its issuer at the latest.

    Raises BadPublicKey for a weak key, ValueError when the key is not the issuer's.
    """
    public_keys.check(public_key)
    if issuer_key.public_key() != issuer.public_key():
        raise ValueError("the key of the admin issuer does not belong to its certificate")
    builder = (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .not_valid_before(max(not_before, issuer.not_valid_before_utc))
        .not_valid_after(min(not_after, issuer.not_valid_after_utc))
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(key_identifier_of(issuer), critical=False)
    )
    return builder.sign(issuer_key, hash_for(issuer_key))
