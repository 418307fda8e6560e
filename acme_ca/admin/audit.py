"""The audit trail over HTTP: search and checkpoints. docs/audit.md. Verification reads the database itself."""

from __future__ import annotations

from typing import Any

from acme_ca.admin.calls import Asked, Call, Model, Page, Paged, Text, Time
from acme_ca.models.admin import Permission
from acme_ca.services import audit_checkpoints, audit_search
from acme_ca.services.audit_search import Wanted
from acme_ca.sinks import SealedEvent
from acme_ca.sinks.formats import native


class EventView(Model):
    """An event. `seq` and `hash` are its place in the chain; both are null while it is not sealed."""

    seq: int | None
    hash: str | None
    """SHA-256 in hexadecimal."""
    id: int
    time: str
    """RFC 3339, UTC, with six digits of the second."""
    environment: str
    """Empty for what belongs to none."""
    event: str
    """`noun.verb`."""
    actor: str
    """Who did it: an account's id, `admin:NAME`, `uid:N`, `system`."""
    account: str | None
    subject: str
    details: dict[str, Any]


class Search(Paged):
    """Which events: those that meet all conditions, newest first."""

    since: Time | None = None
    """The first moment."""
    until: Time | None = None
    """The first moment that is too late."""
    environment: Text | None = None
    event: Text | None = None
    """`noun.verb`, or a noun alone."""
    actor: Text | None = None
    account: Text | None = None
    subject: Text | None = None
    about: Text | None = None
    """The id of an order, account, certificate, … that events are of, by or about."""
    name: Text | None = None
    """A name of an order, authorization or certificate; finds sealed events only."""
    serial: Text | None = None
    """34 hexadecimal digits; finds sealed events only."""


class CheckpointView(Model):
    """A signed statement of where the chain ended at one moment."""

    seq: int
    hash: str
    time: str
    key: str
    """SHA-256 of the signing key's SubjectPublicKeyInfo, in hexadecimal."""
    signature: str
    """ECDSA over P-256 with SHA-256, DER in hexadecimal."""
    text: str
    """What is signed."""


def _search(asked: Asked) -> Page[EventView]:
    query = asked.query.model_dump(exclude={"limit", "after"})
    if asked.query.environment is not None:
        asked.environment_of(asked.query.environment)  # refuses one that is not there, or not the operator's
    wanted = Wanted(**query, environments=tuple(asked.operator.environments))
    page = audit_search.search(asked.ca.database, wanted, after=asked.query.after, limit=asked.query.limit)
    return Page[EventView](items=tuple(_view(event) for event in page.events), next=page.after)


def _checkpoints(asked: Asked) -> Page[CheckpointView]:
    limit = asked.query.limit
    found = audit_checkpoints.checkpoints(asked.ca.database, after=asked.query.after, limit=limit + 1)
    shown = [CheckpointView(**audit_checkpoints.document(checkpoint)) for checkpoint in found[:limit]]
    return Page[CheckpointView](items=tuple(shown), next=str(shown[-1].seq) if len(found) > limit else None)


def _view(event: SealedEvent) -> EventView:
    document = native.document(event)
    return EventView(**document | {"seq": event.seq or None, "hash": event.hash or None})


CALLS = (
    Call(
        method="GET",
        path="/audit",
        permission=Permission.AUDIT,
        summary="Search in the audit trail, newest first",
        work=_search,
        query=Search,
        answer=Page[EventView],
    ),
    Call(
        method="GET",
        path="/audit/checkpoints",
        permission=Permission.AUDIT,
        summary="List signed checkpoints of the audit trail, newest first",
        work=_checkpoints,
        query=Paged,
        answer=Page[CheckpointView],
    ),
)
