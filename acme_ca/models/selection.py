"""Which certificates of an environment are meant: what operators search, revoke and replace by.

A selection becomes SQL that walks one index from the newest certificate on, and can tell of a single ledger line
whether it belongs to it. Both say the same; a test compares them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, literal_column, select

from acme_ca import identifiers
from acme_ca.models.base import first_id
from acme_ca.models.certificate import CERTIFICATES, Certificate, CertificateStatus
from acme_ca.models.certificate_term import MAX_DEPTH, TERMS, domain_terms
from acme_ca.models.environment import oldest_claim
from acme_ca.models.hidden import Hidden
from acme_ca.named import key_sha256_of, serial_of
from acme_ca.problems import Malformed

_ISSUED = CERTIFICATES.c.status == literal_column(f"'{CertificateStatus.ISSUED.value}'")
_NOT_ABANDONED = CERTIFICATES.c.status != literal_column(f"'{CertificateStatus.ABANDONED.value}'")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The certificates of one environment for which everything holds that is not None. Made by `of`.

    `name` is `type:value` as the ledger has it; `below` a domain: names at it or below it. `serial` is hexadecimal of
    34 digits, `key_sha256` hexadecimal of the SubjectPublicKeyInfo's SHA-256. `subject`, `provider`, `rule` and
    `binding_id` are of the workload that proved a name; `rule` is without a version. The certificate was claimed at
    `since` or later, and before `until`.
    """

    environment: str
    name: str | None = None
    below: str | None = None
    serial: str | None = None
    account_id: str | None = None
    eab_kid: str | None = None
    key_sha256: str | None = None
    issuer_id: str | None = None
    profile: str | None = None
    binding_id: str | None = None
    subject: str | None = None
    provider: str | None = None
    rule: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(
        cls,
        environment: str,
        *,
        name: str | None = None,
        below: str | None = None,
        serial: str | None = None,
        key_sha256: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        **others: str | None,
    ) -> Self:
        """Return the selection of what a person wrote; raises Malformed naming what cannot be.

        `name` may be a DNS name, an address or a SPIFFE ID; `below` may begin with `*.`; digits may have colons
        between them.
        """
        return cls(
            environment=environment,
            name=None if name is None else _name(name),
            below=None if below is None else _domain(below),
            serial=None if serial is None else serial_of(serial),
            key_sha256=None if key_sha256 is None else key_sha256_of(key_sha256),
            since=None if since is None else _aware(since, "since"),
            until=None if until is None else _aware(until, "until"),
            **others,
        )

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Return the selection that `document` rendered."""
        times = {name: datetime.fromisoformat(document[name]) for name in ("since", "until") if name in document}
        return cls(**{**document, **times})

    def document(self) -> dict[str, Any]:
        """Render as a JSON object, without what is None."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in found.items()
            if value is not None
        }

    def living(self, connection: Connection, moment: datetime) -> Self:
        """Return the same selection without what had surely ended at a moment: claimed too long before it.

        The walk from the newest certificate on then ends where no older one can be valid.
        """
        since = oldest_claim(connection, self.environment, moment)
        if since is None or (self.since is not None and self.since >= since):
            return self
        return dataclasses.replace(self, since=since)

    def matches(self, line: Certificate) -> bool:
        """Whether a line of the ledger belongs to the selection, be it valid or not."""
        rule = None if line.workload_rule is None else line.workload_rule.rpartition("@")[0]
        pairs = (
            (self.environment, line.environment),
            (self.serial, line.serial),
            (self.account_id, line.account_id),
            (self.eab_kid, line.eab_kid),
            (self.key_sha256, line.key_sha256.hex()),
            (self.issuer_id, line.issuer_id),
            (self.profile, line.profile),
            (self.binding_id, line.binding_id),
            (self.subject, line.workload_subject),
            (self.provider, line.workload_provider),
            (self.rule, rule),
        )
        return (
            all(wanted in (None, found) for wanted, found in pairs)
            and self._has_name(line)
            and (self.since is None or line.id >= first_id(self.since))
            and (self.until is None or line.id < first_id(self.until))
        )

    def ids(
        self, *conditions: ColumnElement[bool], before: str | None = None, with_claimed: bool = False
    ) -> Select[str]:
        """Return the statement for the ids of issued certificates, the newest first; only those `before` an id.

        `with_claimed` are those too that are being signed now.
        """
        return self._walk(select(self._order), conditions, before, with_claimed=with_claimed)

    def lines(
        self, *conditions: ColumnElement[bool], before: str | None = None, with_claimed: bool = False
    ) -> Select[Any]:
        """Return the statement for ledger lines of issued certificates, as `ids` for their ids."""
        return self._walk(select(CERTIFICATES), conditions, before, with_claimed=with_claimed)

    def count(self, *conditions: ColumnElement[bool], with_claimed: bool = False) -> Select[int]:
        """Return the statement for how many issued certificates there are; `with_claimed` as in `ids`."""
        return self._walk(select(func.count()), conditions, None, in_order=False, with_claimed=with_claimed)

    def tally(self, *columns: ColumnElement[Any], condition: ColumnElement[bool]) -> Select[Any]:
        """Return the statement that counts issued certificates by columns: these, how many, the first and last end."""
        ends = CERTIFICATES.c.not_after
        counted = select(*columns, func.count(), func.min(ends), func.max(ends))
        return self._walk(counted, (condition,), None, in_order=False, with_claimed=False).group_by(*columns)

    def end(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        """Return the statement for when the last of the issued certificates ends."""
        last = select(func.max(CERTIFICATES.c.not_after))
        return self._walk(last, conditions, None, in_order=False, with_claimed=True)

    def _has_name(self, line: Certificate) -> bool:
        if self.name is not None and self.name not in line.names:
            return False
        if self.below is None:
            return True
        values = (name.removeprefix("dns:") for name in line.names if name.startswith("dns:"))
        return any(f".{self.below}" in domain_terms(value) for value in values)

    @property
    def _terms(self) -> list[str]:
        """The terms, the one that fewest certificates have first."""
        found = (
            ("", self.name),
            ("subject:", self.subject),
            ("eab:", self.eab_kid),
            (".", self.below),
            ("rule:", self.rule),
            ("provider:", self.provider),
        )
        return [prefix + value for prefix, value in found if value is not None]

    @property
    def _driving_column(self) -> str | None:
        """The column of the ledger whose index is walked: the one that fewest certificates share."""
        names = ("serial", "key_sha256", "binding_id", "account_id")
        wide = () if self._terms else ("issuer_id", "profile")
        return next((name for name in (*names, *wide) if getattr(self, name) is not None), None)

    @property
    def _driving_term(self) -> str | None:
        """The term whose rows are walked; None when an index of the ledger is better or there is none."""
        return next(iter(self._terms), None) if self._driving_column is None else None

    @property
    def _order(self) -> ColumnElement[str]:
        return CERTIFICATES.c.id if self._driving_term is None else TERMS.c.certificate_id

    def _walk(
        self,
        statement: Select[Any],
        conditions: tuple[ColumnElement[bool], ...],
        before: str | None,
        *,
        in_order: bool = True,
        with_claimed: bool,
    ) -> Select[Any]:
        order, driving = self._order, self._driving_term
        if driving is None:
            statement = statement.select_from(CERTIFICATES)
        else:
            joined = TERMS.join(CERTIFICATES, CERTIFICATES.c.id == TERMS.c.certificate_id)
            statement = statement.select_from(joined).where(
                TERMS.c.environment == self.environment, TERMS.c.term == driving
            )
        bounds = [order >= first_id(self.since)] if self.since is not None else []
        bounds += [order < first_id(self.until)] if self.until is not None else []
        bounds += [order < before] if before is not None else []
        status = _NOT_ABANDONED if with_claimed else _ISSUED
        statement = statement.where(status, *self._column_conditions(), *bounds, *conditions)
        statement = statement.where(*(self._has_term(term) for term in self._terms if term != driving))
        return statement.order_by(order.desc()) if in_order else statement

    def _column_conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield what the ledger's columns have to be.

        All but the driving one are hidden from the planner: without statistics it would take the index of any.
        """
        driving = self._driving_column
        by_environment = driving == "profile" or (driving is None and self._driving_term is None)
        environment = CERTIFICATES.c.environment
        if self._driving_term is None:  # whose rows have it
            yield (environment if by_environment else Hidden(environment)) == self.environment
        if self.key_sha256 is not None:
            yield CERTIFICATES.c.key_sha256 == bytes.fromhex(self.key_sha256)
        for name in ("serial", "account_id", "issuer_id", "profile", "binding_id"):
            if (value := getattr(self, name)) is not None:
                column = CERTIFICATES.c[name]
                yield (column if name == driving else Hidden(column)) == value

    def _has_term(self, term: str) -> ColumnElement[bool]:
        other = TERMS.alias()
        same = and_(
            other.c.environment == self.environment, other.c.term == term, other.c.certificate_id == CERTIFICATES.c.id
        )
        return exists().where(same)


def standing_at(moment: datetime) -> ColumnElement[bool]:
    """Return the condition that a certificate was valid at a moment: claimed before, neither expired nor revoked."""
    unrevoked = CERTIFICATES.c.revoked_at.is_(None) | (CERTIFICATES.c.revoked_at > moment)
    return and_(CERTIFICATES.c.id < first_id(moment), CERTIFICATES.c.not_after > moment, unrevoked)


def _name(text: str) -> str:
    if text.startswith("spiffe:"):
        return str(identifiers.parse("uri", text))
    try:
        return f"ip:{ip_address(text)}"
    except ValueError:
        return str(identifiers.parse("dns", text))


def _domain(text: str) -> str:
    try:
        name = identifiers.parse("dns", text.removeprefix("*."))
    except Malformed as problem:
        raise Malformed(f"below: {problem.detail}") from problem
    if name.wildcard or name.value.count(".") >= MAX_DEPTH:
        raise Malformed(f"below: expected a domain of at most {MAX_DEPTH} labels; look for the whole name instead")
    return name.value


def _aware(moment: datetime, what: str) -> datetime:
    if moment.tzinfo is None:
        raise Malformed(f"{what}: expected a time with its zone, as 2030-01-31T12:00:00Z")
    return moment.astimezone(UTC)
