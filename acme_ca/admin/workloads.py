"""Workloads over HTTP: which account acts for whom, the end of it, and one vouched for by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from acme_ca import clock
from acme_ca.admin.calls import Asked, Call, Model, Page, Paged, Text, Time
from acme_ca.models.admin import Permission
from acme_ca.models.binding import Binding
from acme_ca.services import bindings
from acme_ca.services.bindings import Wanted

PATH = "/environments/{environment}/bindings"
MINUTES_MIN, MINUTES_MAX = 1 / 60, 52_560_000.0  # a second, 100 years


class Search(Paged):
    """Which bindings to list."""

    subject: Text | None = None
    """Those of one workload."""
    rule: Text | None = None
    """Those by one rule."""
    provider: Text | None = None
    """Those of workloads that one provider vouched for."""
    account: Text | None = None
    """Those of one account."""
    live: bool = False
    """Only those that stand."""


class BindingView(Model):
    """A workload that was proved, and the account that acts for it."""

    id: str
    subject: str
    provider: str
    instance: str | None
    """The pod, machine or job that the workload ran in, where the provider tells."""
    mode: str
    """How the proof is bound to an account key: required, affinity or tofu."""
    rule: str
    spiffe_id: str | None
    account_id: str | None
    """None while nobody used its external account key."""
    status: Literal["live", "ended", "revoked"]
    reason: str | None
    """Why it was revoked."""
    created_at: Time
    expires_at: Time


class Admitting(Model):
    """A workload that an operator vouches for. The rules decide what it gets, as if the provider had."""

    provider: Text
    """The provider whose rules decide."""
    subject: Text
    """What stands in the token of such a workload as `sub`."""
    claims: dict[str, Any]
    """The claims that rules look at."""
    minutes: Annotated[float, Field(ge=MINUTES_MIN, le=MINUTES_MAX)] = 10.0
    """How long the key can be used."""


class Admitted(Model):
    """A single-use external account key for it. Nobody can tell `mac_key` again; a dry run makes none."""

    kid: str
    mac_key: str | None
    expires_at: Time
    binding: BindingView
    dns: tuple[str, ...]
    """The DNS names that are granted, or patterns `*.NAME`."""
    directory: str


class Chosen(Model):
    """Bindings, by one thing that they have in common."""

    binding: Text | None = None
    subject: Text | None = None
    rule: Text | None = None
    provider: Text | None = None

    @model_validator(mode="after")
    def _by_one_thing(self) -> Self:
        if sum(value is not None for value in (self.binding, self.subject, self.rule, self.provider)) != 1:
            raise ValueError("expected one of binding, subject, rule and provider")
        return self


class Revoking(Chosen):
    """Bindings that shall end."""

    reason: Text
    """Why, for the audit."""


class Ended(Model):
    """What ended."""

    ended: int
    """How many bindings."""


class Released(Model):
    """What was released."""

    released: int
    """How many instances another account key may speak for."""


def _list(asked: Asked) -> Page[BindingView]:
    query = asked.query
    wanted = Wanted(
        subject=query.subject, rule=query.rule, provider=query.provider, account=query.account, live=query.live
    )
    found, following = bindings.page(asked.ca, asked.environment.name, wanted, after=query.after, limit=query.limit)
    return Page[BindingView](items=tuple(map(_view, found)), next=following)


def _admit(asked: Asked) -> Admitted:
    body, environment = asked.body, asked.environment
    lifetime = timedelta(minutes=body.minutes)
    made = bindings.admit(
        asked.ca, environment, body.provider, body.subject, body.claims, lifetime, by=asked.operator.by
    )
    return Admitted(
        kid=made.kid or "",
        mac_key=None if asked.dry_run else made.mac_key,
        expires_at=made.key_expires_at,
        binding=_view(made.binding),
        dns=made.grant.dns,
        directory=f"{environment.url}/directory",
    )


def _revoke(asked: Asked) -> Ended:
    environment, body = asked.environment.name, asked.body
    return Ended(ended=bindings.revoke(asked.ca, environment, _wanted(body), body.reason, by=asked.operator.by))


def _release(asked: Asked) -> Released:
    environment = asked.environment.name
    return Released(released=bindings.release(asked.ca, environment, _wanted(asked.body), by=asked.operator.by))


def _wanted(chosen: Chosen) -> Wanted:
    return Wanted(binding=chosen.binding, subject=chosen.subject, rule=chosen.rule, provider=chosen.provider)


def _view(binding: Binding) -> BindingView:
    return BindingView(
        id=binding.id,
        subject=binding.subject,
        provider=binding.provider,
        instance=binding.instance,
        mode=binding.mode,
        rule=binding.rule,
        spiffe_id=binding.grant.get("spiffe_id"),
        account_id=binding.account_id,
        status=bindings.standing_of(binding, clock.now()),
        reason=binding.revoked_reason,
        created_at=binding.created_at,
        expires_at=binding.expires_at,
    )


CALLS = (
    Call(
        method="GET",
        path=PATH,
        permission=Permission.READ,
        summary="List which accounts act for which workloads",
        work=_list,
        query=Search,
        answer=Page[BindingView],
    ),
    Call(
        method="POST",
        path=PATH,
        permission=Permission.ADMIN,
        summary="Vouch for a workload that cannot prove itself yet",
        work=_admit,
        body=Admitting,
        answer=Admitted,
        status=201,
        acts=True,
        dry_run="undone",
    ),
    Call(
        method="POST",
        path=f"{PATH}/revoke",
        permission=Permission.OPERATE,
        summary="End bindings at once",
        work=_revoke,
        body=Revoking,
        answer=Ended,
        acts=True,
        dry_run="undone",
    ),
    Call(
        method="POST",
        path=f"{PATH}/release",
        permission=Permission.OPERATE,
        summary="Let other account keys speak for the instances of workloads",
        work=_release,
        body=Chosen,
        answer=Released,
        acts=True,
        dry_run="undone",
    ),
)
