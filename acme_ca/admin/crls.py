"""Revocation lists over HTTP: how they stand, and new ones before their time. RFC 5280 §5."""

from __future__ import annotations

from acme_ca.admin.calls import Asked, Call, Model, Page, Paged, Time
from acme_ca.models.admin import Permission
from acme_ca.models.crl import Crl
from acme_ca.services import crls

PATH = "/crls"


class CrlView(Model):
    """A revocation list, without the list."""

    key: str
    """The issuer, and the shard after a slash."""
    environment: str
    issuer: str
    shard: int | None
    """None for the list of all certificates of the issuer."""
    number: int
    """The CRLNumber; 0 before the list was first made, and so have the times nothing."""
    this_update: Time | None
    next_update: Time | None
    entries: int
    """How many certificates are on it."""
    size: int
    """Bytes."""


class Requested(Model):
    """What the worker makes anew within seconds."""

    crls: tuple[str, ...]
    """The keys of the lists."""


def _list(asked: Asked) -> Page[CrlView]:
    query = asked.query
    seen = [crl for crl in crls.listing(asked.ca, query.after, limit=None) if asked.operator.sees(crl.environment)]
    items = seen[: query.limit]
    return Page[CrlView](items=tuple(map(_view, items)), next=items[-1].key if len(seen) > len(items) else None)


def _regenerate(asked: Asked) -> Requested:
    issuer = asked.path["issuer"]
    for environment in {crl.environment for crl in crls.listing(asked.ca, limit=None) if crl.issuer_id == issuer}:
        asked.environment_of(environment)
    return Requested(crls=tuple(crls.regenerate(asked.ca, issuer, by=asked.operator.by)))


def _view(crl: Crl) -> CrlView:
    return CrlView(
        key=crl.key,
        environment=crl.environment,
        issuer=crl.issuer_id,
        shard=crl.shard,
        number=crl.number,
        this_update=crl.this_update,
        next_update=crl.next_update,
        entries=crl.entries,
        size=crl.size,
    )


CALLS = (
    Call(
        method="GET",
        path=PATH,
        permission=Permission.READ,
        summary="List revocation lists",
        work=_list,
        query=Paged,
        answer=Page[CrlView],
    ),
    Call(
        method="POST",
        path=f"{PATH}/{{issuer}}/regenerate",
        permission=Permission.OPERATE,
        summary="Have the revocation lists of an issuer made anew",
        work=_regenerate,
        answer=Requested,
        acts=True,
        dry_run="undone",
    ),
)
