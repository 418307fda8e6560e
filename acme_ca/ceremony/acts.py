"""What a root's key does in a ceremony: told first, done when people agree, recorded before it is given out."""

from __future__ import annotations

import os
import pwd
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock, public_keys
from acme_ca.ceremony import fitting, transcript
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.ceremony.files import put
from acme_ca.ceremony.new_keys import make_key
from acme_ca.ceremony.plan import Lasting, Reviewed
from acme_ca.ceremony.transcript import Act, ActName, Key
from acme_ca.ceremony.verification import Verdict, digest_of, verify
from acme_ca.keys import AnyKey, PrivateKey, SoftwareKey
from acme_ca.pki import ca
from acme_ca.problems import BadPublicKey

Facts = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Made:
    """What an act made: for the file beside the plan, and for the record. `file` is None where one is there already."""

    file: str | None
    pem: str
    checked: tuple[str, ...]
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done: the files, the act, and the hash of its line, which is to be written down."""

    files: tuple[Path | AnyKey, ...]
    act: Act
    head: str


class Rite(ABC):
    """An act that is proposed. Whoever makes one gets CeremonyError when it cannot be done, and nothing is done yet."""

    act: ClassVar[ActName]
    name: str
    """What the plan calls what will be made."""
    remarks: tuple[str, ...] = ()
    """What people should know before they agree."""

    def __init__(self, reviewed: Reviewed) -> None:
        self.reviewed = reviewed
        self.text, self.verdict = _transcript(reviewed.transcript_file)

    @abstractmethod
    def facts(self, now: datetime) -> Facts:
        """Yield what will be done, each with its title."""

    @abstractmethod
    def make(self, key: PrivateKey, now: datetime) -> Made:
        """Do it; raises CeremonyError, and ValueError for what cannot be signed."""

    def open_key(self) -> tuple[PrivateKey, list[Path | AnyKey]]:
        """Return the root's key, and what was made for it."""
        return self.reviewed.plan.root.key.open(), []

    @property
    def root(self) -> x509.Certificate:
        """The root that the transcript is of; raises CeremonyError when there is none."""
        if self.verdict.root is None:
            raise CeremonyError(
                f"there is no transcript {self.reviewed.transcript_file}: `acme-ca root create` begins it, or "
                "`acme-ca root adopt` for a root that was made without one"
            )
        return self.verdict.root

    def require_root(self) -> None:
        """Raise CeremonyError unless the root of the transcript is the root of the plan."""
        require_fit(fitting.of_root(self.root, self.reviewed.plan, adopted=True))

    def require_key(self, key: PrivateKey) -> None:
        """Raise CeremonyError unless a key is the root's."""
        if key.public_key() != self.root.public_key():
            raise CeremonyError(f"{self.reviewed.plan.root.key} is not the key of {self.root.subject.rfc4514_string()}")


class Creation(Rite):
    """Make a root, and its key unless there is one."""

    act = "root.created"

    def __init__(self, reviewed: Reviewed) -> None:
        super().__init__(reviewed)
        self.name = reviewed.plan.root.name
        refuse_existing(reviewed.root_file, reviewed.transcript_file)
        for file in _files(reviewed.plan.root.key):
            if not file.parent.is_dir():  # else it would be made here, where a medium should be
                raise CeremonyError(f"there is no folder {file.parent}: bring in the medium that it is on, or make it")
        self._has_key = reviewed.plan.root.key.exists()

    def facts(self, now: datetime) -> Facts:
        """Yield what the root will be."""
        root = self.reviewed.plan.root
        yield "Root", f"CN={root.common_name}, O={root.organization}"
        yield "Key", f"{root.kind}, {'the one that is there' if self._has_key else 'to be made'}: {root.key}"
        yield "Validity", span(root, now)
        yield "Writes", f"{self.reviewed.root_file}, {self.reviewed.transcript_file}"

    def open_key(self) -> tuple[PrivateKey, list[Path | AnyKey]]:
        """Make the key, unless there is one already."""
        root = self.reviewed.plan.root
        if self._has_key:
            return super().open_key()
        return make_key(root.key, root.kind)

    def make(self, key: PrivateKey, now: datetime) -> Made:
        """Sign the root with itself."""
        root = self.reviewed.plan.root
        start, end = root.validity(now)
        certificate = ca.make_root(
            key, common_name=root.common_name, organization=root.organization, not_before=start, not_after=end
        )
        require_fit(fitting.of_root(certificate, self.reviewed.plan))
        return made_certificate(self.reviewed.root_file.name, certificate, f"the key is {root.kind}")


class Adoption(Rite):
    """Begin the transcript of a root that was made without one."""

    act = "root.adopted"

    def __init__(self, reviewed: Reviewed) -> None:
        super().__init__(reviewed)
        self.name = reviewed.plan.root.name
        refuse_existing(reviewed.transcript_file)
        try:
            self._certificate = x509.load_pem_x509_certificate(reviewed.root_file.read_bytes())
        except FileNotFoundError as error:
            raise CeremonyError(f"there is no {reviewed.root_file}: put the root's certificate there") from error
        except ValueError as error:
            raise CeremonyError(f"{reviewed.root_file} is no certificate in PEM: {error}") from error
        require_fit(fitting.of_root(self._certificate, reviewed.plan, adopted=True))

    def facts(self, now: datetime) -> Facts:
        """Yield what the root is."""
        del now
        yield "Root", f"{self._certificate.subject.rfc4514_string()}, as it is in {self.reviewed.root_file}"
        yield "SHA-256", digest_of(self._certificate)
        yield "Key", f"the one that is there: {self.reviewed.plan.root.key}"
        yield "Writes", str(self.reviewed.transcript_file)

    @property
    def root(self) -> x509.Certificate:
        """The root that is there."""
        return self._certificate

    def make(self, key: PrivateKey, now: datetime) -> Made:
        """Sign nothing but the record."""
        del now
        self.require_key(key)
        return made_certificate(None, self._certificate, "the key belongs to the certificate")


def perform(rite: Rite) -> Outcome:
    """Do what was proposed.

    The record is on the disk before the certificate or list is: nothing that the root signed can be somewhere and not
    in the transcript. Raises CeremonyError, KeyUnavailableError, KeyAway and OSError.
    """
    now = clock.now()
    if rite.verdict.acts and clock.rfc3339(now) < (last := rite.verdict.acts[-1].at):
        raise CeremonyError(f"the clock says {clock.rfc3339(now)}, and the last act was at {last}: set the clock")
    key, files = rite.open_key()
    described = _described(key, rite, made=bool(files))
    try:
        made = rite.make(key, now)
        record = transcript.signed(_act(rite, made, described, now), key)
        transcript.append(rite.reviewed.transcript_file, rite.text, record.line)
    except (ValueError, RuntimeError) as error:
        raise CeremonyError(str(error)) from error
    files.append(rite.reviewed.transcript_file)
    if made.file is not None:
        path = rite.reviewed.path.with_name(made.file)
        put(path, made.pem.encode(), replace=False)
        files.append(path)
    return Outcome(tuple(files), record.act, transcript.line_hash(record.line))


def made_certificate(file: str | None, certificate: x509.Certificate, *checked: str, **members: str) -> Made:
    """Return what is recorded of a certificate that fits the plan."""
    pem = certificate.public_bytes(Encoding.PEM).decode()
    of_it = {"certificate": pem, "certificate_sha256": digest_of(certificate)}
    last = "the certificate is as the plan says, and its signature verifies"
    return Made(file, pem, (*checked, last), of_it | members)


def refuse_existing(*paths: Path) -> None:
    """Raise CeremonyError if there is something already."""
    for path in paths:
        if path.exists():
            raise CeremonyError(f"{path} exists already; a ceremony overwrites nothing")


def require_fit(found: Iterable[str]) -> None:
    """Raise CeremonyError with everything that does not fit."""
    if reasons := list(found):
        raise CeremonyError("\n".join(["it is not signed:", *(f"  {reason}" for reason in reasons)]))


def span(planned: Lasting, now: datetime) -> str:
    """Say from when to when something will be valid."""
    start, end = planned.validity(now)
    return f"{clock.rfc3339(start)} to {clock.rfc3339(end)}"


def _transcript(path: Path) -> tuple[str, Verdict]:
    """Return the transcript so far; raises CeremonyError unless all of it is good."""
    if not path.exists():
        return "", Verdict()
    text = path.read_bytes().decode()
    verdict = verify(text)
    if verdict.findings:
        told = "\n".join(f"  {finding}" for finding in verdict.findings)
        raise CeremonyError(f"{path} is not as it was written, so that nothing is signed:\n{told}")
    return text, verdict


def _files(key: AnyKey) -> Iterator[Path]:
    if key.file is not None:
        yield key.file
    if isinstance(key, SoftwareKey) and key.passphrase.source == "file":
        yield Path(key.passphrase.name)


def _described(key: PrivateKey, rite: Rite, *, made: bool) -> Key:
    """Describe the root's key; raises CeremonyError when it is not of the kind that was planned."""
    root = rite.reviewed.plan.root
    try:
        kind = public_keys.check(key.public_key())
    except BadPublicKey as error:
        raise CeremonyError(f"{root.key}: {error.detail}") from error
    if kind != root.kind:
        raise CeremonyError(f"{root.key} is of kind {kind}, and the plan says {root.kind}")
    sha256 = public_keys.spki_sha256(key.public_key()).hex()
    return Key(description=str(root.key), kind=kind, sha256=sha256, made=made)


def _act(rite: Rite, made: Made, key: Key, now: datetime) -> Act:
    return Act.model_validate(
        {
            "number": len(rite.verdict.acts) + 1,
            "previous": rite.verdict.head,
            "act": rite.act,
            "name": rite.name,
            "at": clock.rfc3339(now),
            "user": _user(),
            "host": socket.gethostname(),
            "program": f"acme-ca {version('acme-ca')}",
            "plan": rite.reviewed.text,
            "plan_sha256": rite.reviewed.digest,
            "key": key,
            "checked": made.checked,
            "remarks": rite.remarks,
            **made.members,
        }
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
