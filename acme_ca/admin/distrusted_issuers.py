"""Distrusted issuers over HTTP: an issuer signs nothing any more, and its certificates are replaced."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from acme_ca.admin.calls import Answered, Asked, Call, Model, Page, Text, Time, reading
from acme_ca.config.fields import Link
from acme_ca.models.admin import Permission
from acme_ca.services import distrust
from acme_ca.vocabulary import MAX_SPREAD

PATH = "/environments/{environment}/distrusted-issuers"


class NewDistrust(Model):
    """An issuer that is to sign nothing any more."""

    issuer: Text
    """Its name in the configuration."""
    reason: Text
    """Why, for the audit trail."""
    spread: Annotated[int, Field(ge=0, le=MAX_SPREAD)] = 3600
    """The seconds within which all of its certificates have their turn to be replaced."""
    explanation_url: Link | None = None
    """A page that says why; clients show its URL."""
    unpublish: bool = False
    """Take it out of the SPIFFE bundle at once: certificates of workloads fail until they are replaced."""
    force: bool = False
    """Do it although nobody would be left to sign."""


class Unpublication(Model):
    """An issuer that is to leave the SPIFFE bundle."""

    force: bool = False
    """Do it although certificates remain that have no successor."""


class DistrustView(Model):
    """How far the end of an issuer is."""

    environment: str
    issuer: str
    key_sha256: str
    """Of its SubjectPublicKeyInfo, hexadecimal: the key is what is distrusted."""
    serial: str
    """Of its certificate, hexadecimal: what the root has to revoke."""
    reason: str
    distrusted_by: str
    distrusted_at: Time
    spread: int
    replacement: str | None
    """The id of the replacement of its certificates; none in the first seconds, until every process knows."""
    live: int
    """How many of its certificates are valid."""
    replaced: int
    """How many were replaced since."""
    remaining: int
    """How many of the valid ones have no successor."""
    last_not_after: Time | None
    """When the last of the valid ones ends."""
    published: bool | None
    """Whether the SPIFFE bundle has it; none where there is no bundle."""
    others: tuple[str, ...]
    """The trusted issuers of the environment, which sign instead."""


class Trusted(Model):
    """An issuer that signs again."""

    environment: str
    issuer: str


def _list(asked: Asked) -> Page[DistrustView]:
    return Page[DistrustView](items=tuple(map(_view, distrust.listing(asked.ca, asked.environment))))


def _show(asked: Asked) -> DistrustView:
    return _view(distrust.show(asked.ca, asked.environment, asked.path["issuer"]))


def _distrust(asked: Asked) -> Answered:
    body, environment = asked.body, asked.environment
    wish = distrust.Wish(body.reason, body.spread, body.explanation_url, body.unpublish, body.force)
    act = distrust.plan if asked.dry_run else distrust.distrust
    found = act(asked.ca, environment, body.issuer, wish, by=asked.operator.by)
    location = f"/environments/{environment.name}/distrusted-issuers/{found.issuer.issuer_id}"
    return Answered(_view(found), location=location)


def _trust(asked: Asked) -> Trusted:
    found = distrust.trust(asked.ca, asked.environment, asked.path["issuer"], by=asked.operator.by)
    return Trusted(environment=found.environment, issuer=found.issuer_id)


def _unpublish(asked: Asked) -> DistrustView:
    by, issuer = asked.operator.by, asked.path["issuer"]
    return _view(distrust.unpublish(asked.ca, asked.environment, issuer, force=asked.body.force, by=by))


def _view(found: distrust.Standing) -> DistrustView:
    row, replacement = found.issuer, found.replacement
    return DistrustView(
        environment=row.environment,
        issuer=row.issuer_id,
        key_sha256=row.key_sha256.hex(),
        serial=row.serial,
        reason=row.reason,
        distrusted_by=row.ordered_by,
        distrusted_at=row.created_at,
        spread=row.spread,
        replacement=None if replacement is None else replacement.id,
        live=found.live,
        replaced=found.replaced,
        remaining=found.remaining,
        last_not_after=found.ends_at,
        published=found.published,
        others=found.others,
    )


CALLS = (
    reading(
        path=PATH,
        summary="List distrusted issuers",
        work=_list,
        answer=Page[DistrustView],
    ),
    Call(
        method="POST",
        path=PATH,
        permission=Permission.ADMIN,
        summary="Distrust an issuer, and have its certificates replaced",
        work=_distrust,
        body=NewDistrust,
        answer=DistrustView,
        status=201,
        acts=True,
        dry_run="own",
    ),
    reading(path=f"{PATH}/{{issuer}}", summary="Show how far the end of an issuer is", work=_show, answer=DistrustView),
    Call(
        method="DELETE",
        path=f"{PATH}/{{issuer}}",
        permission=Permission.ADMIN,
        summary="Trust an issuer again that was distrusted by mistake",
        work=_trust,
        answer=Trusted,
        acts=True,
    ),
    Call(
        method="POST",
        path=f"{PATH}/{{issuer}}/unpublish",
        permission=Permission.ADMIN,
        summary="Take a distrusted issuer out of the SPIFFE bundle",
        work=_unpublish,
        body=Unpublication,
        answer=DistrustView,
        acts=True,
    ),
)
