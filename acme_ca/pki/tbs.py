"""What an issuer's key is asked to sign, read from its octets alone. RFC 5280 §4.1, §5.1.

A TBSCertificate and a TBSCertList differ in their very beginning: nothing is both. What is neither is refused, and so
is what another reader could take for more than was read here: the whole has to be the DER of its content.
"""

from __future__ import annotations

from typing import TypeAlias

from cryptography import x509

from acme_ca.pki import der
from acme_ca.pki.der import DerError, Reader

UTC_TIME = 0x17
VERSION_3, VERSION_2 = b"\x02\x01\x02", b"\x01"  # of a certificate, in its [0]; of a list, a bare INTEGER
NO_SIGNATURE = der.encode(der.BIT_STRING, b"\x00")

Tbs: TypeAlias = x509.Certificate | x509.CertificateRevocationList
"""What is to be signed, as cryptography has it: its signature is empty."""


def read(octets: bytes) -> Tbs:
    """Return what the octets are the TBS part of; raises ValueError for what is no certificate and no list."""
    whole = Reader(octets)
    fields = Reader(whole.take(der.SEQUENCE))
    whole.end()
    version = fields.maybe(der.context(0))
    if version == VERSION_3:
        fields.take(der.INTEGER)
        return _certificate(octets, fields.take_whole(der.SEQUENCE))
    if version is not None or fields.take(der.INTEGER) != VERSION_2:
        raise DerError("it is no certificate of version 3, and no revocation list of version 2")
    algorithm = fields.take_whole(der.SEQUENCE)
    fields.take(der.SEQUENCE)  # the issuer; in a certificate of version 1, the validity would come next
    if (fields.maybe(UTC_TIME) or fields.maybe(der.TIME)) is None:
        raise DerError("it is no revocation list: there is no thisUpdate")
    return _list(octets, algorithm)


def scheme_of(found: Tbs) -> tuple[str, str | None]:
    """Return how it says that it is signed, as keys name it: ("ecdsa", "sha256"). RFC 5280 §4.1.2.3."""
    name = _SCHEMES.get(found.signature_algorithm_oid)
    if name is None:
        raise ValueError(f"the algorithm {found.signature_algorithm_oid.dotted_string} is no issuer's")
    hash_ = None if name in _WITHOUT_HASH else found.signature_hash_algorithm
    return name, None if hash_ is None else hash_.name


def _certificate(octets: bytes, algorithm: bytes) -> x509.Certificate:
    found = x509.load_der_x509_certificate(der.encode(der.SEQUENCE, octets, algorithm, NO_SIGNATURE))
    _require_same(found.tbs_certificate_bytes, octets)
    return found


def _list(octets: bytes, algorithm: bytes) -> x509.CertificateRevocationList:
    found = x509.load_der_x509_crl(der.encode(der.SEQUENCE, octets, algorithm, NO_SIGNATURE))
    _require_same(found.tbs_certlist_bytes, octets)
    return found


def _require_same(read_back: bytes, octets: bytes) -> None:
    if read_back != octets:
        raise DerError("it is not in the one form that DER has for its content")


_OID = x509.SignatureAlgorithmOID
_SCHEMES = {
    **dict.fromkeys((_OID.ECDSA_WITH_SHA256, _OID.ECDSA_WITH_SHA384, _OID.ECDSA_WITH_SHA512), "ecdsa"),
    **dict.fromkeys((_OID.RSA_WITH_SHA256, _OID.RSA_WITH_SHA384, _OID.RSA_WITH_SHA512), "rsa-pkcs1"),
    _OID.RSASSA_PSS: "rsa-pss",
    _OID.ED25519: "ed25519",
    **dict.fromkeys((_OID.ML_DSA_44, _OID.ML_DSA_65, _OID.ML_DSA_87), "ml-dsa"),
}
_WITHOUT_HASH = {"ed25519", "ml-dsa"}
