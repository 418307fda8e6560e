"""Keys for external account binding over HTTP. RFC 8555 §7.3.4."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acme_ca import clock
from acme_ca.admin.calls import Answered, Asked, Call, Model, Page, Paged, Query, Text, Time
from acme_ca.models.admin import Permission
from acme_ca.models.external_key import ExternalKey
from acme_ca.policy.patterns import NamePattern
from acme_ca.policy.scope import MAX_ENTRIES, Scope, stored
from acme_ca.problems import Malformed
from acme_ca.services import external_keys
from acme_ca.services.external_keys import Wanted

USES_MAX = 1_000_000
Network = IPv4Network | IPv6Network
HOURS_MAX = 876_000.0  # 100 years
PATH = "/environments/{environment}/eab"


class ScopeView(Model):
    """What a key is for, of what the rules allow. What is left out is not bounded by it."""

    dns: Annotated[tuple[NamePattern, ...], Field(strict=False, max_length=MAX_ENTRIES)] = ()
    """Names: NAME, *.NAME (one label below), **.NAME (all below), .NAME (itself and all below)."""
    ip: Annotated[tuple[Network, ...], Field(strict=False, max_length=MAX_ENTRIES)] = ()
    """Networks whose addresses it is for."""
    profiles: Annotated[tuple[Text, ...], Field(strict=False, max_length=MAX_ENTRIES)] = ()
    """Profiles of the environment."""


class NewKey(Model):
    """A key that is wanted."""

    label: Text | None = None
    """What policy rules select by (`eab = [LABEL]`)."""
    reusable: bool = False
    """Whether it is good for any number of accounts; otherwise for one, or as many as `uses` says."""
    uses: Annotated[int, Field(ge=1, le=USES_MAX)] | None = None
    """For how many accounts it is good."""
    scope: ScopeView = ScopeView()
    """What its accounts may have."""
    hours: Annotated[float, Field(gt=0, le=HOURS_MAX)] | None = None
    """How long it can bind accounts; for ever when left out."""

    @model_validator(mode="after")
    def _counts_one_way(self) -> Self:
        if self.reusable and self.uses is not None:
            raise ValueError("a key is reusable, for any number of accounts, or has `uses`: leave one of them out")
        return self


class KeyView(Model):
    """A key, without what is secret."""

    kid: str
    label: str | None
    status: Literal["usable", "used", "expired", "revoked"]
    reusable: bool
    uses_left: int | None
    """How many accounts more it is good for; null for one, or any number if it is reusable."""
    scope: ScopeView
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
    revoke: int | None = None
    """Revoke the certificates of these accounts too, for this reason (RFC 5280 §5.3.1)."""


class Revoked(Model):
    """What came of revoking a key."""

    kid: str
    accounts: int
    """How many accounts ended with it."""
    revocation: str | None
    """The revocation of their certificates."""
    certificates: int
    """How many that are."""


def _list(asked: Asked) -> Page[KeyView]:
    query = asked.query
    found, following = external_keys.page(
        asked.ca.database, asked.environment.name, query.after, query.limit, query.label
    )
    return Page[KeyView](items=tuple(_view(key) for key in found), next=following)


def _create(asked: Asked) -> Answered:
    body, environment = asked.body, asked.environment
    if unknown := [profile for profile in body.scope.profiles if profile not in environment.profiles]:
        known = ", ".join(environment.profiles)
        raise Malformed(f"scope.profiles: environment {environment.name} has no profile {unknown[0]}; it has {known}")
    wanted = Wanted(
        label=body.label,
        reusable=body.reusable,
        uses=body.uses,
        lifetime=None if body.hours is None else timedelta(hours=body.hours),
        scope=Scope(**body.scope.model_dump()),
    )
    made = external_keys.create(asked.ca.database, environment.name, wanted, by=asked.operator.by)
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
    kid, query = asked.path["kid"], asked.query
    how = {"keep_accounts": query.keep_accounts, "reason": query.revoke, "by": asked.operator.by}
    if asked.dry_run:
        ended, total = external_keys.preview_revoke(asked.ca, asked.environment.name, kid, **how)
        return Revoked(kid=kid, accounts=ended, revocation=None, certificates=total)
    ended, revocation = external_keys.revoke(asked.ca, asked.environment.name, kid, **how)
    return Revoked(
        kid=kid,
        accounts=ended,
        revocation=None if revocation is None else revocation.id,
        certificates=0 if revocation is None else revocation.total,
    )


def _view(key: ExternalKey) -> KeyView:
    return KeyView(
        kid=key.kid,
        label=key.label,
        status=key.standing(clock.now()),
        reusable=key.reusable,
        uses_left=key.uses_left,
        scope=ScopeView(**(stored(key.scope) or Scope()).model_dump()),
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
        dry_run="own",
    ),
)
