"""What a client signs: JWS with ES256 (RFC 7515, RFC 8555 §6.2) and PKCS#10 requests (RFC 2986)."""

import binascii
import hashlib
import json
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

_ES256 = ec.ECDSA(hashes.SHA256())
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")  # AlgorithmIdentifier, RFC 5758 §3.2
_URLSAFE = bytes.maketrans(b"+/", b"-_")


def b64url(data: bytes) -> bytes:
    """Base64url without padding. RFC 7515 §2."""
    return binascii.b2a_base64(data, newline=False).translate(_URLSAFE, b"=")


def compact(value: object) -> bytes:
    """JSON without white space."""
    return json.dumps(value, separators=(",", ":")).encode()


class AccountKey:
    """A P-256 account key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        point = key.public_key().public_numbers()
        x, y = (b64url(number.to_bytes(32, "big")).decode() for number in (point.x, point.y))
        self.jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        self.thumbprint = b64url(hashlib.sha256(compact(self.jwk)).digest()).decode()  # RFC 7638 §3

    @classmethod
    def generate(cls) -> "AccountKey":
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, der: bytes) -> "AccountKey":
        """Return the key of `dump`."""
        key = serialization.load_der_private_key(der, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("not an EC key")
        return cls(key)

    def dump(self) -> bytes:
        """PKCS#8 DER, to hand the key to another process of the generator."""
        return self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def jws(self, header: Mapping[str, object], payload: bytes) -> bytes:
        """Sign a flattened JWS; `alg` is added to the header. RFC 8555 §6.2."""
        protected, body = b64url(compact({"alg": "ES256", **header})), b64url(payload)
        r, s = decode_dss_signature(self._key.sign(protected + b"." + body, _ES256))
        signature = b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return b'{"protected":"%b","payload":"%b","signature":"%b"}' % (protected, body, signature)


class CsrTemplate:
    """Certificate requests for names of one length.

    All of the request but the name is built once; a new one costs a copy and a signature, which leaves the
    cores to the server.
    """

    def __init__(self, length: int) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self._key.public_key()
        placeholder = "x" * length
        names = x509.SubjectAlternativeName([x509.DNSName(placeholder)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        self._length = length
        self._before, self._after = request.tbs_certrequest_bytes.split(placeholder.encode())

    def der(self, name: str) -> bytes:
        """Return a signed request for a name of the template's length."""
        if len(name) != self._length:
            raise ValueError(f"{name!r} has {len(name)} characters, the template is for {self._length}")
        request_info = self._before + name.encode() + self._after
        signature = self._key.sign(request_info, _ES256)
        return _tagged(0x30, request_info + _ECDSA_WITH_SHA256 + _tagged(0x03, b"\0" + signature))


def _tagged(tag: int, content: bytes) -> bytes:
    """Encode a DER value. X.690 §8.1."""
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 - the short form of a length
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
