"""Accounts over HTTP: search, detail, note, end; and the pauses of those that keep failing."""

from __future__ import annotations

from acme_ca.admin.calls import Answered, Asked, Call, Model, Note, Page, Paged, Text, Time
from acme_ca.models.account import Account, AccountStatus
from acme_ca.models.admin import Permission
from acme_ca.models.pause import Pause
from acme_ca.services import account_search, pauses
from acme_ca.services.account_search import Wanted

PATH = "/environments/{environment}/accounts"
PAUSES = "/environments/{environment}/pauses"


class Search(Paged):
    """Which accounts to list."""

    thumbprint: Text | None = None
    """The thumbprint of its key (RFC 7638), base64url."""
    eab_kid: Text | None = None
    """The external account key that it was bound by."""
    eab_label: Text | None = None
    """The label of that key."""
    status: AccountStatus | None = None
    """valid, deactivated (by its client) or revoked."""
    subject: Text | None = None
    """A workload that spoke for it."""
    since: Time | None = None
    """When it was made, or later."""
    until: Time | None = None
    """Before when it was made."""


class AccountView(Model):
    """An account, without its contacts."""

    id: str
    environment: str
    status: AccountStatus
    thumbprint: str
    eab_kid: str | None
    eab_label: str | None
    created_at: Time
    ended_at: Time | None
    note: str | None


class PauseView(Model):
    """A name that an account cannot order for some time."""

    id: str
    account_id: str
    name: str
    """Its type before a colon."""
    reason: str
    """failures, or renewals that are far too frequent."""
    failures: int
    """Failed validations in a row."""
    failing_since: Time
    paused_until: Time | None


class DetailView(AccountView):
    """An account with what it has."""

    certificates: int
    """How many were issued to it."""
    valid_certificates: int
    """How many of these are valid now."""
    orders: int
    """How many orders it has that did not end."""
    pauses: tuple[PauseView, ...]
    """The names that it cannot order now, 100 at most."""


class NoteChange(Model):
    """The operators' note of an account."""

    note: Note | None
    """What is to be known; null removes it."""


class Ending(Model):
    """How an account is to end."""

    revoke: int | None = None
    """Revoke its certificates too, for this reason (RFC 5280 §5.3.1)."""


class Ended(Model):
    """An account that ended."""

    account: AccountView
    revocation: str | None
    """The revocation of its certificates."""
    certificates: int
    """How many that are."""


def _search(asked: Asked) -> Page[AccountView]:
    query = asked.query
    chosen = {name: getattr(query, name) for name in Search.model_fields if name not in Paged.model_fields}
    wanted = Wanted(environment=asked.environment.name, **chosen)
    found = account_search.search(asked.ca, wanted, after=query.after, limit=query.limit)
    return Page[AccountView](items=tuple(map(_view, found.accounts)), next=found.after)


def _detail(asked: Asked) -> Answered:
    found = account_search.detail(asked.ca, asked.environment.name, asked.path["id"])
    view = DetailView(
        **_view(found.account).model_dump(),
        certificates=found.certificates,
        valid_certificates=found.valid_certificates,
        orders=found.orders,
        pauses=tuple(map(_pause, found.pauses)),
    )
    return Answered(view, etag=account_search.note_tag(found.account))


def _annotate(asked: Asked) -> Answered:
    changed = account_search.annotate(
        asked.ca,
        asked.environment.name,
        asked.path["id"],
        asked.body.note,
        by=asked.operator.by,
        require=lambda account: asked.require_match(account_search.note_tag(account)),
    )
    return Answered(_view(changed), etag=account_search.note_tag(changed))


def _end(asked: Asked) -> Ended:
    environment, account_id = asked.environment.name, asked.path["id"]
    by, revoke = asked.operator.by, asked.body.revoke
    if asked.dry_run:
        account, total = account_search.preview_end(asked.ca, environment, account_id, by=by, revoke=revoke)
        return Ended(account=_view(account), revocation=None, certificates=total)
    account, revocation = account_search.end(asked.ca, environment, account_id, by=by, revoke=revoke)
    return Ended(
        account=_view(account),
        revocation=None if revocation is None else revocation.id,
        certificates=0 if revocation is None else revocation.total,
    )


def _pauses(asked: Asked) -> Page[PauseView]:
    found = pauses.page(asked.ca, asked.environment.name, after=asked.query.after, limit=asked.query.limit)
    return Page[PauseView](items=tuple(map(_pause, found.pauses)), next=found.after)


def _unpause(asked: Asked) -> PauseView:
    found = pauses.get(asked.ca, asked.environment.name, asked.path["id"])
    (ended,) = pauses.unpause(asked.ca, found.environment, found.account_id, name=found.name, by=asked.operator.by)
    return _pause(ended)


def _view(account: Account) -> AccountView:
    return AccountView(
        id=account.id,
        environment=account.environment,
        status=AccountStatus(account.status),
        thumbprint=account.thumbprint,
        eab_kid=account.eab_kid,
        eab_label=account.eab_label,
        created_at=account.created_at,
        ended_at=account.ended_at,
        note=account.note,
    )


def _pause(one: Pause) -> PauseView:
    return PauseView(
        id=one.id,
        account_id=one.account_id,
        name=one.name,
        reason=one.reason,
        failures=one.failures,
        failing_since=one.failing_since,
        paused_until=one.paused_until,
    )


CALLS = (
    Call(
        method="GET",
        path=PATH,
        permission=Permission.READ,
        summary="Search accounts",
        work=_search,
        query=Search,
        answer=Page[AccountView],
    ),
    Call(
        method="GET",
        path=f"{PATH}/{{id}}",
        permission=Permission.READ,
        summary="Show an account with what it has",
        work=_detail,
        answer=DetailView,
    ),
    Call(
        method="PATCH",
        path=f"{PATH}/{{id}}",
        permission=Permission.OPERATE,
        summary="Set the operators' note of an account",
        work=_annotate,
        body=NoteChange,
        answer=AccountView,
        edits=True,
        dry_run="undone",
    ),
    Call(
        method="POST",
        path=f"{PATH}/{{id}}/deactivate",
        permission=Permission.OPERATE,
        summary="End an account, and its certificates if wanted",
        work=_end,
        body=Ending,
        answer=Ended,
        acts=True,
        dry_run="own",
    ),
    Call(
        method="GET",
        path=PAUSES,
        permission=Permission.READ,
        summary="List names that accounts cannot order for some time",
        work=_pauses,
        query=Paged,
        answer=Page[PauseView],
    ),
    Call(
        method="DELETE",
        path=f"{PAUSES}/{{id}}",
        permission=Permission.OPERATE,
        summary="Let an account order a name again",
        work=_unpause,
        answer=PauseView,
        dry_run="undone",
    ),
)
