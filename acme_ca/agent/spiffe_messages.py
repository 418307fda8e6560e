"""The answers of the SPIFFE Workload API in the encoding of Protocol Buffers, of which they need only one wire type.

SPIFFE Workload API §5; protobuf.dev, Encoding: LEN is wire type 2. Written by hand: two messages need no compiler.
"""

from __future__ import annotations

from dataclasses import dataclass

_LEN = 2
_MORE = 0x80


@dataclass(frozen=True, slots=True)
class X509Svid:
    """A certificate with its key: chain (leaf first), key (PKCS#8) and trust anchors in DER, one after the other."""

    spiffe_id: str
    chain: bytes
    key: bytes
    bundle: bytes

    @property
    def trust_domain(self) -> str:
        """The ID of the trust domain, by which bundles are named."""
        return "spiffe://" + self.spiffe_id.removeprefix("spiffe://").partition("/")[0]

    def svid_response(self) -> bytes:
        """Return an X509SVIDResponse with this SVID alone."""
        svid = b"".join(
            (
                _field(1, self.spiffe_id.encode()),
                _field(2, self.chain),
                _field(3, self.key),
                _field(4, self.bundle),
            )
        )
        return _field(1, svid)

    def bundles_response(self) -> bytes:
        """Return an X509BundlesResponse with the bundle of the SVID's trust domain."""
        return _field(2, _field(1, self.trust_domain.encode()) + _field(2, self.bundle))


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | _LEN,)) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= _MORE:
        encoded.append(number & 0x7F | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
