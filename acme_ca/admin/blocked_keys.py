"""Blocked keys over HTTP: nobody may use them, in any environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from acme_ca.admin.calls import Asked, Call, Model, Page, Paged, Query, Text, Time
from acme_ca.models.admin import Permission
from acme_ca.models.certificate import BlockedKey
from acme_ca.named import key_hash_of
from acme_ca.services import blocked_keys

PATH = "/blocked-keys"


class NewBlock(Model):
    """A key that is to be blocked."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    """The key or a certificate of it in PEM, or SHA-256 of the SubjectPublicKeyInfo in hexadecimal."""
    reason: Text
    """Why."""


class Unblocking(Query):
    """Why a key may be used again."""

    reason: Text
    """Why."""


class BlockedView(Model):
    """A blocked key, by SHA-256 of its SubjectPublicKeyInfo in hexadecimal.

    Operators of some environments are not told what it has to do with others: by whom and why it was blocked.
    """

    key_sha256: str
    serial: str | None
    """The certificate whose revocation for keyCompromise blocked it."""
    reason: str | None
    blocked_by: str | None
    blocked_at: Time


def _list(asked: Asked) -> Page[BlockedView]:
    found = blocked_keys.page(asked.ca, after=asked.query.after, limit=asked.query.limit)
    return Page[BlockedView](items=tuple(_view(asked, key) for key in found.keys), next=found.after)


def _block(asked: Asked) -> BlockedView:
    key = key_hash_of(asked.body.key)
    return _view(asked, blocked_keys.block(asked.ca, key, asked.body.reason, by=asked.operator.by))


def _unblock(asked: Asked) -> BlockedView:
    key = key_hash_of(asked.path["key"])
    return _view(asked, blocked_keys.unblock(asked.ca, key, asked.query.reason, by=asked.operator.by))


def _view(asked: Asked, key: BlockedKey) -> BlockedView:
    is_told = not asked.operator.environments
    return BlockedView(
        key_sha256=key.key_sha256.hex(),
        serial=key.serial if is_told else None,
        reason=key.reason if is_told else None,
        blocked_by=key.blocked_by if is_told else None,
        blocked_at=key.blocked_at,
    )


CALLS = (
    Call(
        method="GET",
        path=PATH,
        permission=Permission.READ,
        summary="List blocked keys",
        work=_list,
        query=Paged,
        answer=Page[BlockedView],
    ),
    Call(
        method="POST",
        path=PATH,
        permission=Permission.OPERATE,
        everywhere=True,
        summary="Block a key in all environments",
        work=_block,
        body=NewBlock,
        answer=BlockedView,
        status=201,
        acts=True,
        dry_run="undone",
    ),
    Call(
        method="DELETE",
        path=f"{PATH}/{{key}}",
        permission=Permission.OPERATE,
        everywhere=True,
        summary="Let a key be used again",
        work=_unblock,
        query=Unblocking,
        answer=BlockedView,
        dry_run="undone",
    ),
)
