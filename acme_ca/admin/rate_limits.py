"""Rate limits over HTTP: what was used of them, and a new start for one client."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from acme_ca import clock
from acme_ca.admin.calls import Asked, Call, Model, Page, Paged, Query, Text, Time
from acme_ca.models.admin import Permission
from acme_ca.services import rate_limits

PATH = "/environments/{environment}/limits"


class Uses(Paged):
    """Which uses to list."""

    limit_name: Text | None = None
    """Those of one limit, such as `new_account_per_address`."""
    limited: bool = False
    """Only those of which nothing is left. Pages may then be short."""


class UseView(Model):
    """What was used of a limit by somebody."""

    limit: str
    subject: str
    """The account, the account and the name, or what stands for the client's address; `all` for an environment."""
    count: Annotated[int, Field(ge=1)]
    """How many may come at once."""
    seconds: int
    """How long it takes until as many may come at once again."""
    used: int
    limited: bool
    """Whether nothing is left now."""
    next_at: Time
    """From when on at least one may come."""
    full_at: Time
    """When it is as if nothing had been used."""


class Resetting(Query):
    """Whose use to forget."""

    subject: Text
    """As the list has it; or the IP address of a client."""


class Done(Model):
    """What was forgotten."""

    limit: str


def _list(asked: Asked) -> Page[UseView]:
    query, now = asked.query, clock.now()
    found, following = rate_limits.page(asked.ca, asked.environment, query.after, query.limit, query.limit_name)
    views = [
        UseView(
            limit=use.limit,
            subject=use.subject,
            count=use.count,
            seconds=use.seconds,
            used=use.missing,
            limited=use.is_limited(now),
            next_at=use.next_at,
            full_at=use.full_at,
        )
        for use in found
        if use.is_limited(now) or not query.limited
    ]
    return Page[UseView](items=tuple(views), next=following)


def _reset(asked: Asked) -> Done:
    limit = asked.path["limit"]
    rate_limits.reset(asked.ca, asked.environment, limit, asked.query.subject, by=asked.operator.by)
    return Done(limit=limit)


CALLS = (
    Call(
        method="GET",
        path=PATH,
        permission=Permission.READ,
        summary="List what was used of the rate limits",
        work=_list,
        query=Uses,
        answer=Page[UseView],
    ),
    Call(
        method="DELETE",
        path=f"{PATH}/{{limit}}",
        permission=Permission.OPERATE,
        summary="Forget what somebody used of a rate limit",
        work=_reset,
        query=Resetting,
        answer=Done,
        dry_run="undone",
    ),
)
