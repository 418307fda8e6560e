"""Keys for external account binding over HTTP. RFC 8555 §7.3.4."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from acme_ca import clock
from acme_ca.admin.calls import Answered, Asked, Call, Model, Page, Paged, Query, Text, Time
from acme_ca.models.admin import Permission
from acme_ca.models.external_key import ExternalKey
from acme_ca.services import external_keys

HOURS_MAX = 876_000.0  # 100 years
PATH = "/environments/{environment}/eab"


class NewKey(Model):
    """A key that is wanted."""

    label: Text | None = None
    """What policy rules select by (`eab = [LABEL]`)."""
    reusable: bool = False
    """Whether it is good for any number of accounts; otherwise for one."""
    hours: Annotated[float, Field(gt=0, le=HOURS_MAX)] | None = None
    """How long it can bind accounts; for ever when left out."""


class KeyView(Model):
    """A key, without what is secret."""

    kid: str
    label: str | None
    status: Literal["usable", "used", "expired", "revoked"]
    reusable: bool
    created_at: Time
    expires_at: Time | None


class MadeKey(Model):
    """A key that was just made. `mac_key` is base64url without padding: nobody can tell it again.

    A dry run makes no key, and shows none.
    """

    kid: str
    mac_key: str | None
    expires_at: Time | None
    directory: str
    """The ACME directory that it is for."""


class Keys(Paged):
    """Which keys to list."""

    label: Text | None = None
    """Those with this label."""


class Revoking(Query):
    """How to revoke a key."""

    keep_accounts: bool = False
    """Let the accounts that were made with it go on."""


class Revoked(Model):
    """What came of revoking a key."""

    kid: str
    accounts: int
    """How many accounts ended with it."""


def _list(asked: Asked) -> Page[KeyView]:
    query = asked.query
    found, following = external_keys.page(
        asked.ca.database, asked.environment.name, query.after, query.limit, query.label
    )
    return Page[KeyView](items=tuple(_view(key) for key in found), next=following)


def _create(asked: Asked) -> Answered:
    body, environment = asked.body, asked.environment
    made = external_keys.create(
        asked.ca.database,
        environment.name,
        label=body.label,
        reusable=body.reusable,
        lifetime=None if body.hours is None else timedelta(hours=body.hours),
        by=asked.operator.by,
    )
    shown = MadeKey(
        kid=made.kid,
        mac_key=None if asked.dry_run else made.mac_key,
        expires_at=made.expires_at,
        directory=f"{environment.url}/directory",
    )
    return Answered(shown, location=f"/environments/{environment.name}/eab/{made.kid}")


def _get(asked: Asked) -> KeyView:
    return _view(external_keys.get(asked.ca.database, asked.environment.name, asked.path["kid"]))


def _revoke(asked: Asked) -> Revoked:
    kid = asked.path["kid"]
    ended = external_keys.revoke(
        asked.ca.database,
        asked.environment.name,
        kid,
        keep_accounts=asked.query.keep_accounts,
        by=asked.operator.by,
    )
    return Revoked(kid=kid, accounts=ended)


def _view(key: ExternalKey) -> KeyView:
    return KeyView(
        kid=key.kid,
        label=key.label,
        status=key.standing(clock.now()),
        reusable=key.reusable,
        created_at=key.created_at,
        expires_at=key.expires_at,
    )


CALLS = (
    Call(
        method="GET",
        path=PATH,
        permission=Permission.READ,
        summary="List keys for external account binding",
        work=_list,
        query=Keys,
        answer=Page[KeyView],
    ),
    Call(
        method="POST",
        path=PATH,
        permission=Permission.OPERATE,
        summary="Make a key for external account binding",
        work=_create,
        body=NewKey,
        answer=MadeKey,
        status=201,
        acts=True,
        dry_run="undone",
    ),
    Call(
        method="GET",
        path=f"{PATH}/{{kid}}",
        permission=Permission.READ,
        summary="Show a key for external account binding",
        work=_get,
        answer=KeyView,
    ),
    Call(
        method="DELETE",
        path=f"{PATH}/{{kid}}",
        permission=Permission.OPERATE,
        summary="Revoke a key, and end the accounts that were made with it",
        work=_revoke,
        query=Revoking,
        answer=Revoked,
        dry_run="undone",
    ),
)
