"""The plan of a ceremony under an offline root: a TOML file that people review, and nothing is signed but what it says.

Who reviewed a plan knows it by its digest: SHA-256 of the file, as `sha256sum` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from acme_ca.config.base import Settings
from acme_ca.config.fields import DomainName, Link, Name
from acme_ca.config.mistakes import ConfigError, Location, explain, parse, place, read, refuse
from acme_ca.keys import AnyKey
from acme_ca.vocabulary import AuthorityKeyType

BACKDATE = timedelta(hours=1)  # clients whose clock is behind accept what was just signed
DAYS = Field(default=None, ge=1, le=36_500)

Reason = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]
REASONS: dict[Reason, int] = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "privilegeWithdrawn": 9,
}
"""CRLReason of RFC 5280 §5.3.1, those of certificates that never come back."""


def _plain_http(value: str) -> str:
    if urlsplit(value).scheme != "http":
        raise ValueError(f"expected http://: who fetches it must not need another certificate first, not {value!r}")
    return value


def _hexadecimal(value: str) -> str:
    return f"{int(value.replace(':', ''), 16):x}"


def _bare(value: str) -> str:
    return value.replace(":", "").lower()


Text = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
HttpLink = Annotated[Link, AfterValidator(_plain_http)]
Serial = Annotated[
    str, StringConstraints(pattern=r"^[0-9A-Fa-f]{1,2}(:?[0-9A-Fa-f]{2}){0,19}$"), AfterValidator(_hexadecimal)
]


Digest = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$"), AfterValidator(_bare)]


class Lasting(Settings):
    """What has a validity: so many days from the signing on, or two moments."""

    lifetime_days: int | None = DAYS
    """Days from the signing until it ends; it begins an hour before the signing."""
    not_before: AwareDatetime | None = None
    """When it begins; with `not_after`, in the place of `lifetime_days`."""
    not_after: AwareDatetime | None = None
    """When it ends."""

    @model_validator(mode="after")
    def _one_way(self) -> Lasting:
        by_moments = self.not_before is not None and self.not_after is not None
        by_one = self.not_before is not None or self.not_after is not None
        if (self.lifetime_days is None) != by_moments or (self.lifetime_days is not None and by_one):
            raise ValueError("expected lifetime_days, or not_before and not_after")
        if self.not_before is not None and self.not_after is not None and self.not_before >= self.not_after:
            raise ValueError("not_after is not later than not_before")
        return self

    def validity(self, now: datetime) -> tuple[datetime, datetime]:
        """Return begin and end for a signing at `now`, in whole seconds."""
        if self.not_before is not None and self.not_after is not None:
            return self.not_before.replace(microsecond=0), self.not_after.replace(microsecond=0)
        start = now.replace(microsecond=0)
        return start - BACKDATE, start + timedelta(days=self.lifetime_days or 0)


class Root(Lasting):
    """The root. Its files are NAME.pem, NAME.NUMBER.crl and NAME.transcript.jsonl beside the plan."""

    name: Name
    """The name of its files."""
    common_name: Text
    """What people see in trust stores."""
    organization: Text
    """The organization in its name, and in those of intermediates."""
    kind: AuthorityKeyType
    """The kind of its key."""
    key: AnyKey
    """Where its key is kept."""


class Intermediate(Lasting):
    """An intermediate. Its file is NAME.pem beside the plan."""

    name: Name
    """The name of its file, and what the command line calls it."""
    common_name: Text
    """The common name of its subject."""
    permitted_dns: tuple[DomainName, ...] = ()
    """The zones that it may sign for; none: no DNS name."""
    permitted_ips: tuple[IPv4Network | IPv6Network, ...] = ()
    """The networks that it may sign for; none: no address."""
    path_length: int = Field(default=0, ge=0, le=5)
    """How many intermediates may stand below it."""
    issuer_url: HttpLink | None = None
    """Where the root's certificate is published in DER (AIA)."""
    crl_url: HttpLink | None = None
    """Where the root's revocation list is published."""

    @model_validator(mode="after")
    def _for_something(self) -> Intermediate:
        if not self.permitted_dns and not self.permitted_ips:
            raise ValueError("expected permitted_dns or permitted_ips: without any it could sign nothing")
        return self


class CrossSign(Lasting):
    """Another root that this one vouches for. Its file is NAME.pem beside the plan."""

    name: Name
    """The name of its file, and what the command line calls it."""
    sha256: Digest
    """SHA-256 of the other root's certificate (DER), hexadecimal: `openssl x509 -fingerprint -sha256` shows it."""
    path_length: int = Field(default=1, ge=0, le=6)
    """How many CAs may stand below the other root."""
    issuer_url: HttpLink | None = None
    """Where this root's certificate is published in DER (AIA)."""
    crl_url: HttpLink | None = None
    """Where this root's revocation list is published."""


class Revoked(Settings):
    """A certificate that is revoked."""

    serial: Serial
    """Its serial number, hexadecimal."""
    reason: Reason
    """Why."""
    date: AwareDatetime
    """Since when."""


class Crl(Settings):
    """The root's next revocation list."""

    number: Literal["time", "sequence"] | Annotated[int, Field(ge=1, lt=2**159)] = "time"
    """`time`: the seconds since 1970; `sequence`: one more than that of the list before; or a number."""
    next_update_days: int | None = DAYS
    """Days until the next list has to be there."""
    next_update: AwareDatetime | None = None
    """The moment until which the next list has to be there; in the place of `next_update_days`."""
    revoked: tuple[Revoked, ...] = ()
    """All certificates that are revoked, those of earlier lists too."""

    @model_validator(mode="after")
    def _one_way(self) -> Crl:
        if (self.next_update_days is None) == (self.next_update is None):
            raise ValueError("expected next_update_days or next_update")
        serials = [one.serial for one in self.revoked]
        refuse("revoked", _repeated(serials, "revoked", "serial"))
        return self

    def ends_at(self, now: datetime) -> datetime:
        """Return nextUpdate for a signing at `now`, in whole seconds."""
        found = self.next_update or now + timedelta(days=self.next_update_days or 0)
        return found.replace(microsecond=0)


class Plan(Settings):
    """The plan of a ceremony. Relative paths start at the folder of the file."""

    root: Root
    """The root."""
    intermediate: tuple[Intermediate, ...] = ()
    """The intermediates that it signs."""
    cross_sign: tuple[CrossSign, ...] = ()
    """The other roots that it signs."""
    crl: Crl | None = None
    """The revocation list that it signs."""

    @model_validator(mode="after")
    def _told_apart(self) -> Plan:
        names, others = [one.name for one in self.intermediate], [one.name for one in self.cross_sign]
        refuse("plan", _repeated(names, "intermediate", "name"))
        refuse("plan", _repeated(others, "cross_sign", "name"))
        if self.root.name in (*names, *others):
            refuse("plan", [(("root", "name"), "something that it signs has this name, and would have the same file")])
        both = "an intermediate has this name, and would have the same file"
        refuse("plan", [(("cross_sign", n, "name"), both) for n, name in enumerate(others) if name in names])
        return self


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A plan with its text, which people reviewed, and the place where everything is put."""

    plan: Plan
    text: str
    path: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def root_file(self) -> Path:
        """The root's certificate."""
        return self.path.with_name(f"{self.plan.root.name}.pem")

    @property
    def transcript_file(self) -> Path:
        """The transcript."""
        return self.path.with_name(f"{self.plan.root.name}.transcript.jsonl")


def load(path: Path) -> Reviewed:
    """Read a plan; raises ConfigError with every mistake, each with its line."""
    read(path)  # says what is wrong with the file
    return loads(path.read_bytes().decode(), path.absolute())  # octet for octet: the digest is of these


def loads(text: str, path: Path) -> Reviewed:
    """Like `load`, for a text that stands in the file `path`."""
    data = parse(text, path)
    try:
        plan = Plan.model_validate_json(json.dumps(data, default=str), context={"folder": path.parent})
    except ValidationError as error:
        raise ConfigError(place(path, text, explain(error, data, Plan.model_json_schema()))) from error
    return Reviewed(plan, text, path)


def _repeated(values: list[str], table: str, setting: str) -> Iterator[tuple[Location, str]]:
    for number, value in enumerate(values):
        if value in values[:number]:
            yield (table, number, setting), f"{value!r} stands there twice"
