"""Strict base64url (RFC 7515 §2, RFC 4648 §3.5) and strict JSON (RFC 8259, RFC 7515 §4)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from binascii import a2b_base64

from acme_ca.problems import Malformed

# The C decoder knows the other alphabet. Its own specials, and padding, become what no alphabet has.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
# Last characters whose unused low bits are zero, by the length modulo 4: one text for one value, RFC 4648 §3.5.
_CANONICAL_ENDS = {2: "AQgw", 3: "AEIMQUYcgkosw048"}
_PADDING = {0: b"", 2: b"==", 3: b"="}

# No message of ACME nests deeper than four; a decoder recurses for each level, so brackets are counted before it runs.
_MAX_BRACKETS = 256


def b64url_encode(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: object, what: str = "value") -> bytes:
    """Return the bytes that canonical base64url without padding stands for. Raises Malformed, naming `what`."""
    if not isinstance(text, str):
        raise Malformed(f"{what} is not a string; expected base64url without padding")
    tail = len(text) & 3
    if tail == 1:
        raise Malformed(f"{what} has {len(text)} characters, which is no length of base64url")
    if tail and text[-1] not in _CANONICAL_ENDS[tail]:
        raise Malformed(f"{what} ends with {text[-1]!a}; expected canonical base64url without padding")
    try:
        return a2b_base64(text.encode("ascii").translate(_TO_STANDARD) + _PADDING[tail], strict_mode=True)
    except ValueError as error:  # UnicodeEncodeError and binascii.Error are
        raise Malformed(f"{what} is not base64url without padding") from error


def load_json(data: bytes, what: str) -> object:
    """Return the value of a UTF-8 JSON text. Raises Malformed, naming `what`.

    Refuses what other decoders may read differently: duplicate members at any depth, NaN and Infinity.
    """
    if data.count(b"{") + data.count(b"[") > _MAX_BRACKETS:
        raise Malformed(f"{what} has more than {_MAX_BRACKETS} objects and arrays")
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Malformed(f"{what} is not UTF-8") from error
    except ValueError as error:  # JSONDecodeError is, and int() of too many digits
        raise Malformed(f"{what} is not JSON: {ascii(str(error))[1:-1]}") from error


def load_object(data: bytes, what: str) -> dict[str, object]:
    """Return the members of a UTF-8 JSON object, as `load_json`."""
    if not isinstance(value := load_json(data, what), dict):
        raise Malformed(f"{what} is not a JSON object")
    return value


def shown(value: object) -> str:
    """Quote a JSON value that a client sent, escaped and bounded, for the detail of a problem."""
    text = ascii(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


_MAX_SHOWN = 120


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {shown(twice)} is there twice")
    return members


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)
