"""Policies that operators apply: declared as a whole, numbered, kept, and brought back. The newest one is in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete

from acme_ca import clock
from acme_ca import config as configuration
from acme_ca.config.mistakes import Location, dotted
from acme_ca.config.policies import misfits_of
from acme_ca.db import AlreadyThereError, Database
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.applied_policy import AppliedPolicy
from acme_ca.models.shadow_finding import SHADOW_FINDINGS
from acme_ca.models.version import VERSIONS, Version, digest_of, newest, next_version, numbered
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.lint import LintError, check_within
from acme_ca.policies_in_force import POLICY, SHADOW_POLICY, document_of, policy_of
from acme_ca.policy.document import Change, Document, changes
from acme_ca.problems import Conflict, Contended, Malformed, NotFound
from acme_ca.services import audit

Settings = configuration.Environment


@dataclass(frozen=True, slots=True)
class Standing:
    """The policy in force. `number` is None for the one of the configuration file, which has no time and no author.

    One that cannot be read has no rules here, and `unreadable` says why.
    """

    environment: str
    number: int | None
    document: Document
    created_at: datetime | None = None
    created_by: str | None = None
    comment: str | None = None
    unreadable: str | None = None

    @property
    def etag(self) -> str:
        """What a change has to be a change of."""
        return f"{self.number or 0}-{self.document.version}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a document: the version that holds now, and what is different from the one before."""

    changed: bool
    number: int
    version: str
    changes: tuple[Change, ...]


Require = Callable[[Standing], None]
"""Looks at what is in force, in the transaction of the change, and raises the problem that stops it."""


def check(document: Document, settings: Settings, issuers: Iterable[Issuer] = ()) -> None:
    """Raise Malformed with each rule that grants what its environment cannot give, by its place in the document.

    Networks have to be within the name constraints of each of the `issuers`.
    """
    misfits = (*misfits_of(document.rules, settings), *_beyond_issuers(document, issuers))
    found = [(("rules", *place), text) for place, text in misfits]
    if found:
        errors = [{"place": ".".join(map(str, place)), "reason": text} for place, text in found]
        place, text = found[0]
        raise Malformed(f"{dotted(place)}: {text}", extra={"errors": errors})


def _beyond_issuers(document: Document, issuers: Iterable[Issuer]) -> Iterator[tuple[Location, str]]:
    for issuer in issuers:
        for number, rule in enumerate(document.rules):
            for position, network in enumerate(() if rule.deny else rule.ip):
                edges = [Identifier("ip", str(address)) for address in (network[0], network[-1])]
                try:
                    check_within(edges, issuer.certificate)
                except LintError as error:
                    yield (number, "ip", position), f"{error} (issuer {issuer.id})"


def in_force(database: Database, environment: str, settings: Settings) -> Standing:
    """Return the policy in force."""
    with database.read() as connection:
        return _standing(connection, environment, settings, base.get(connection, AppliedPolicy, environment))


def apply(  # noqa: PLR0913 - what is applied where, and by whom
    database: Database,
    environment: str,
    settings: Settings,
    document: Document,
    *,
    by: str,
    comment: str | None = None,
    back_to: int | None = None,
    issuers: Iterable[Issuer] = (),
    require: Require | None = None,
) -> Applied:
    """Put a document in force; the same one again changes nothing. Raises Malformed for one that does not fit.

    `back_to` is the number of the version that it is taken from.
    """
    check(document, settings, issuers)
    policy_of(environment, settings, document)  # what cannot be put to use shall not come into force
    try:
        with database.write(durable=True) as connection:
            row = base.get(connection, AppliedPolicy, environment, lock=True)
            present = _standing(connection, environment, settings, row)
            if require is not None:
                require(present)
            if present.number is not None and present.unreadable is None and present.document == document:
                return Applied(changed=False, number=present.number, version=document.version, changes=())
            if present.number is None:
                _keep_configured(connection, present)
            new = _add(connection, environment, POLICY, document, by, comment)
            row = _row(connection, environment, row)
            row.put_in_force(new.number, new.created_at)
            base.update(connection, row)
            audit.record(
                connection,
                environment,
                "policy.applied" if back_to is None else "policy.rolled_back",
                new.key,
                by=by,
                version=document.version,
                before=present.document.version,
                back_to=back_to,
            )
    except AlreadyThereError as error:  # two were the first at once
        raise Contended from error
    return Applied(
        changed=True, number=new.number, version=document.version, changes=changes(present.document, document)
    )


def rollback(  # noqa: PLR0913 - what is applied where, and by whom
    database: Database,
    environment: str,
    settings: Settings,
    number: int,
    *,
    by: str,
    comment: str | None = None,
    issuers: Iterable[Issuer] = (),
    require: Require | None = None,
) -> Applied:
    """Put an old version's document in force again, as a new version. Raises NotFound, and Malformed for a misfit."""
    document = readable(version(database, environment, number))
    comment = comment or f"back to version {number}"
    return apply(
        database,
        environment,
        settings,
        document,
        by=by,
        comment=comment,
        back_to=number,
        issuers=issuers,
        require=require,
    )


def version(database: Database, environment: str, number: int) -> Version:
    """Return a version of the policy; raises NotFound."""
    with database.read() as connection:
        found = numbered(connection, environment, POLICY, number)
    if found is None:
        raise NotFound(f"environment {environment} has no version {number} of its policy")
    return found


def readable(found: Version) -> Document:
    """Return the document of a version; raises Conflict for one that this program cannot read."""
    try:
        return document_of(found.document)
    except ValueError as error:
        raise Conflict(f"version {found.number} of environment {found.environment}: {error}") from error


def history(database: Database, environment: str, after: int | None, limit: int) -> tuple[list[Version], int | None]:
    """Return versions of the policy, the newest first, and after which number the next page begins."""
    columns = VERSIONS.c
    statement = base.select(Version, columns.environment == environment, columns.kind == POLICY)
    if after is not None:
        statement = statement.where(columns.number < after)
    with database.read() as connection:
        found = base.find(connection, Version, statement.order_by(columns.number.desc()).limit(limit + 1))
    return found[:limit], found[limit - 1].number if len(found) > limit else None


def start_shadow(
    database: Database,
    environment: str,
    settings: Settings,
    document: Document,
    *,
    by: str,
    comment: str | None = None,
) -> tuple[int, bool]:
    """Let a document be evaluated beside the policy in force; return its number, and whether it is new.

    The findings of shadows before it are forgotten. Raises Malformed for a document that does not fit.
    """
    check(document, settings)
    policy_of(environment, settings, document)
    try:
        with database.write(durable=True) as connection:
            row = base.get(connection, AppliedPolicy, environment, lock=True)
            before = newest(connection, environment, SHADOW_POLICY)
            is_running = row is not None and before is not None and row.shadow == before.number
            if before is not None and is_running and before.digest == digest_of(_stored(environment, document)):
                return before.number, False
            new = _add(connection, environment, SHADOW_POLICY, document, by, comment)
            row = _row(connection, environment, row)
            row.put_beside(new.number, new.created_at)
            base.update(connection, row)
            connection.execute(delete(SHADOW_FINDINGS).where(SHADOW_FINDINGS.c.environment == environment))
            audit.record(connection, environment, "policy.shadow_started", new.key, by=by, version=document.version)
    except AlreadyThereError as error:
        raise Contended from error
    return new.number, True


def end_shadow(database: Database, environment: str, *, by: str) -> int:
    """End the shadow; what it found stays until the next one. Return its number; raises NotFound."""
    with database.write(durable=True) as connection:
        row = base.get(connection, AppliedPolicy, environment, lock=True)
        if row is None or row.shadow is None:
            raise NotFound(f"environment {environment} has no policy in the shadow")
        number = row.shadow
        row.put_beside(None, clock.now())
        base.update(connection, row)
        audit.record(connection, environment, "policy.shadow_ended", f"{environment}/{SHADOW_POLICY}/{number}", by=by)
    return number


def _standing(connection: Connection, environment: str, settings: Settings, row: AppliedPolicy | None) -> Standing:
    if row is None or row.number is None:
        return Standing(environment, None, Document(rules=settings.policy))
    found = numbered(connection, environment, POLICY, row.number)
    if found is None:
        return Standing(environment, row.number, Document(rules=()), unreadable=f"version {row.number} is gone")
    own = (found.created_at, found.created_by, found.comment)
    try:
        return Standing(environment, found.number, document_of(found.document), *own)
    except ValueError as error:
        return Standing(environment, found.number, Document(rules=()), *own, unreadable=str(error))


def _keep_configured(connection: Connection, present: Standing) -> None:
    """Give the configuration's policy a number too, so that it can be brought back."""
    before = newest(connection, present.environment, POLICY)
    stored = _stored(present.environment, present.document)
    if before is None or before.digest != digest_of(stored):
        base.insert(connection, next_version(before, present.environment, POLICY, stored, clock.now()))


def _add(
    connection: Connection, environment: str, kind: str, document: Document, by: str, comment: str | None
) -> Version:
    before = newest(connection, environment, kind)
    stored = _stored(environment, document)
    new = next_version(before, environment, kind, stored, clock.now(), created_by=by, comment=comment)
    base.insert(connection, new)
    return new


def _row(connection: Connection, environment: str, row: AppliedPolicy | None) -> AppliedPolicy:
    if row is None:
        row = AppliedPolicy(environment=environment, changed_at=clock.now())
        base.insert(connection, row)
    return row


def _stored(environment: str, document: Document) -> dict[str, Any]:
    return {"environment": environment, **document.to_json()}
