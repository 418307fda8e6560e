"""The little of DER that OCSP needs and cryptography does not do: several answers in one response. X.690 §8, §10.

What cannot be read raises DerError: lengths that are not the shortest, tags that were not expected, bytes left over.
"""

from __future__ import annotations

from datetime import UTC, datetime

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, ENUMERATED, TIME, SEQUENCE = 2, 3, 4, 5, 6, 10, 24, 0x30
BOOLEAN = 1
LONG = 0x80  # from this length on, its own bytes are counted first
LONGEST_LENGTH = 4  # bytes that a length may have


class DerError(ValueError):
    """Bytes that are not the DER that was expected."""


def context(number: int, *, constructed: bool = True) -> int:
    """Return the tag `[number]`, as EXPLICIT tags and IMPLICIT ones of a SEQUENCE are."""
    return 0x80 | (0x20 if constructed else 0) | number


class Reader:
    """Reads one value after the other."""

    def __init__(self, der: bytes) -> None:
        self._der = der
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._der)

    def take(self, tag: int) -> bytes:
        """Return the content of the next value, which has this tag."""
        start, end = self._bounds(tag)
        self._at = end
        return self._der[start:end]

    def take_whole(self, tag: int) -> bytes:
        """Return the next value with its tag and length."""
        begin = self._at
        _, self._at = self._bounds(tag)
        return self._der[begin : self._at]

    def maybe(self, tag: int) -> bytes | None:
        """Return the content of the next value if it has this tag, or None."""
        if self.is_at_end or self._der[self._at] != tag:
            return None
        return self.take(tag)

    def end(self) -> None:
        """Refuse anything that is left."""
        if not self.is_at_end:
            raise DerError(f"{len(self._der) - self._at} bytes are left over")

    def _bounds(self, tag: int) -> tuple[int, int]:
        if self.is_at_end or self._der[self._at] != tag:
            raise DerError(f"expected a value with tag {tag:#x} at byte {self._at}")
        length, start = self._length(self._at + 1)
        if start + length > len(self._der):
            raise DerError(f"the value at byte {self._at} is cut off")
        return start, start + length

    def _length(self, at: int) -> tuple[int, int]:
        first = self._der[at : at + 1]
        if not first:
            raise DerError("a length is missing")
        if first[0] < LONG:
            return first[0], at + 1
        size = first[0] - LONG
        digits = self._der[at + 1 : at + 1 + size]
        length = int.from_bytes(digits)
        if not 0 < size <= LONGEST_LENGTH or len(digits) < size or length < LONG or digits[0] == 0:
            raise DerError(f"the length at byte {at} is not in its shortest form")
        return length, at + 1 + size


def integer(content: bytes) -> int:
    """Return the number that the content of an INTEGER is. X.690 §8.3."""
    if not content or (len(content) > 1 and content[0] in {0, 0xFF} and (content[0] ^ content[1]) < LONG):
        raise DerError("an INTEGER is not in its shortest form")
    return int.from_bytes(content, signed=True)


def encode(tag: int, *contents: bytes) -> bytes:
    """Return a value with this tag whose content are these bytes."""
    content = b"".join(contents)
    size = len(content)
    if size < LONG:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, LONG | len(digits))) + digits + content


def time(moment: datetime) -> bytes:
    """Return a GeneralizedTime in whole seconds. RFC 5280 §4.1.2.5.2."""
    return encode(TIME, moment.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())
