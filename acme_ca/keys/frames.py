"""What the signer and those who ask it say to each other over its socket. docs/how-to/signer.md has the format.

A frame is the length of a header (2 octets, the first one first) and of a body (4 octets), the header in JSON, and the
body as it is: what is to be signed, or the signature. A connection is asked and answered in turns, and nothing else.
"""

from __future__ import annotations

import socket
from struct import Struct
from time import monotonic
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

LENGTHS = Struct(">HI")
LONGEST_HEADER = 2048  # octets
LONGEST_BODY = 64 * 1024 * 1024  # octets: a revocation list of a million and a half
LARGE = 64 * 1024  # octets; no certificate has as many
MOST = 256 * 1024  # octets read at once
BEGINNING = 10.0  # seconds in which the lengths have to be there once they began
SHORTEST = 0.001  # seconds; a timeout of 0 would not wait at all, not even for what is there

Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,64}$")]


class Header(BaseModel):
    """Either header: nothing in it may be unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Request(Header):
    """Asks for a signature by the key of an issuer, over the body."""

    version: Literal[1] = 1
    issuer: Word
    scheme: Word
    hash: Word | None = None


class Answer(Header):
    """`signed` comes with the signature. `detail` says why not, for operators, with what was seen and expected."""

    outcome: Literal["signed", "refused", "away"]
    detail: Annotated[str, StringConstraints(max_length=1000)] = ""
    retry_after: Annotated[int, Field(ge=0, le=3600)] = 0


AnyHeader = TypeVar("AnyHeader", bound=Header)


class FrameError(ValueError):
    """Octets that are no frame, or an end where none may be."""


def send(connection: socket.socket, header: Header, body: bytes = b"") -> None:
    """Send a frame; raises OSError."""
    encoded = header.model_dump_json(exclude_defaults=False).encode()
    start = LENGTHS.pack(len(encoded), len(body)) + encoded
    if len(body) < LARGE:
        connection.sendall(start + body)
        return
    connection.sendall(start)
    connection.sendall(body)


def lengths(connection: socket.socket) -> tuple[int, int] | None:
    """Return the lengths of the next header and body, None after the last one. Raises FrameError, OSError."""
    start = connection.recv(LENGTHS.size)
    if not start:
        return None
    start += _octets(connection, LENGTHS.size - len(start), monotonic() + BEGINNING)
    sizes: tuple[int, int] = LENGTHS.unpack(start)
    for what, size, most in zip(("header", "body"), sizes, (LONGEST_HEADER, LONGEST_BODY), strict=True):
        if size > most:
            raise FrameError(f"a {what} of {size} octets, expected at most {most}")
    return sizes


def rest(
    connection: socket.socket, kind: type[AnyHeader], sizes: tuple[int, int], seconds: float
) -> tuple[AnyHeader, bytes]:
    """Return the header and body that the lengths were of, if both are there in time. Raises FrameError, OSError."""
    whole = _octets(connection, sum(sizes), monotonic() + seconds)
    try:
        header = kind.model_validate_json(whole[: sizes[0]])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise FrameError(f"a header that is none: {place + ': ' if place else ''}{first['msg']}") from error
    return header, whole[sizes[0] :]


def _octets(connection: socket.socket, count: int, until: float) -> bytes:
    found = bytearray()
    while len(found) < count:
        connection.settimeout(max(SHORTEST, until - monotonic()))
        part = connection.recv(min(count - len(found), MOST))
        if not part:
            raise FrameError(f"an end after {len(found)} of {count} octets")
        found += part
    return bytes(found)
