"""What was done with a root's key, act by act: chained by hash, each signed by the root itself.

A line of the file is one record: an act and the root's signature over it, in canonical JSON (ASCII, members sorted, no
blanks). `previous` is the SHA-256 of the line before, 64 zeros in the first. No octet can be changed, and no line be
taken out, without the root's key. That the last lines are gone shows by what was kept elsewhere: a copy, or a hash.
"""

from __future__ import annotations

import fcntl
import json
import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from acme_ca.keys import PrivateKey
from acme_ca.pki import texts
from acme_ca.public_keys import PublicKey

NOTHING = "0" * 64
# Starts with a letter, so that no text is a TBSCertificate: `texts` says why, and refuses others.
HEADER = b"acme-ca act of a key ceremony\n"

ActName = Literal["root.created", "root.adopted", "intermediate.signed", "root.cross_signed", "crl.signed"]
BEGINNINGS: tuple[ActName, ...] = ("root.created", "root.adopted")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Key(_Part):
    """The root's key, as it was found."""

    description: str
    """Where it is kept."""
    kind: str
    """Its kind."""
    sha256: str
    """SHA-256 of its SubjectPublicKeyInfo, hexadecimal."""
    made: bool
    """Whether it was made in this act."""


class Act(_Part):
    """One thing that was done. Digests are SHA-256, hexadecimal: of the plan's and the request's text, of DER else."""

    format: Literal["acme-ca-ceremony-1"] = "acme-ca-ceremony-1"
    number: int
    previous: str
    act: ActName
    name: str
    """What the plan calls what was made; its file without the ending."""
    at: str
    """RFC 3339, by the clock of the machine."""
    user: str
    host: str
    program: str
    plan: str
    plan_sha256: str
    key: Key
    checked: tuple[str, ...]
    """What was looked at before the key signed."""
    remarks: tuple[str, ...] = ()
    """What people were told."""
    certificate: str | None = None
    certificate_sha256: str | None = None
    csr: str | None = None
    csr_sha256: str | None = None
    other: str | None = None
    """The certificate of the root that was cross-signed."""
    other_sha256: str | None = None
    crl: str | None = None
    crl_sha256: str | None = None

    @property
    def text(self) -> bytes:
        """What the root's key signs."""
        return HEADER + canonical(self).encode()


class Record(_Part):
    """An act and its signature, in base64."""

    act: Act
    signature: str

    @property
    def line(self) -> str:
        """The line of the file, without its end."""
        return canonical(self)

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether the signature is that of a key."""
        try:
            return texts.is_signed(self.act.text, b64decode(self.signature, validate=True), key)
        except NotBase64:
            return False


class BrokenLineError(Exception):
    """A line is no record. `number` counts from 1."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def canonical(part: BaseModel) -> str:
    """Return the one way to write a part down."""
    document = part.model_dump(mode="json", exclude_none=True)
    return json.dumps(document, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def signed(act: Act, key: PrivateKey) -> Record:
    """Return an act with the signature of the root's key."""
    return Record(act=act, signature=b64encode(texts.sign(key, act.text)).decode())


def line_hash(line: str) -> str:
    """Return what the next record calls this line."""
    return sha256(line.encode()).hexdigest()


def read(text: str) -> Iterator[tuple[str, Record]]:
    """Yield each line with its record; raises BrokenLineError for what is none, or is written in another way."""
    lines = text.split("\n")
    if lines.pop():
        raise BrokenLineError(len(lines) + 1, "it is cut off: there is no end of line")
    for number, line in enumerate(lines, 1):
        try:
            record = Record.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise BrokenLineError(number, f"it is no record of an act: {place or 'JSON'}: {first['msg']}") from error
        if record.line != line:
            raise BrokenLineError(number, "it is not written as records are: blanks, order or members were changed")
        yield line, record


def append(path: Path, expected: str, line: str) -> None:
    """Add a line to a transcript that reads as expected; raises OSError, and RuntimeError when it does not.

    Whoever comes at the same moment waits. When it returns, the line is on the disk.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+", encoding="utf-8", newline="") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if file.read() != expected:
            raise RuntimeError(f"{path} was changed meanwhile: look at it, and begin again")
        try:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, len(expected.encode()))
            raise
