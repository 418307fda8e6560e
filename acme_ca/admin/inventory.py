"""The inventory over HTTP: what the live certificates of an environment are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from acme_ca.admin.calls import Asked, Instant, Model, Time, reading
from acme_ca.admin.selections import SelectorQuery, selection_of
from acme_ca.services import inventory


class CountView(Model):
    """Live certificates that are made alike."""

    issuer_id: str
    profile: str
    key_type: str
    """The kind of their keys."""
    signature: str
    """What their issuer signed them with."""
    count: int
    """How many they are."""
    earliest_not_after: Time
    """When the first of them ends."""
    latest_not_after: Time
    """When the last of them ends."""


class InventoryView(Model):
    """The live certificates of a selection by what they are made of; what appears in no line, none has."""

    environment: str
    as_of: Instant
    """When they were valid."""
    total: int
    by_key_type: dict[str, int]
    by_signature: dict[str, int]
    items: tuple[CountView, ...]


def _take(asked: Asked) -> InventoryView:
    as_of, found = inventory.take(asked.ca, selection_of(asked, asked.query))
    items = tuple(map(_view, found))
    return InventoryView(
        environment=asked.environment.name,
        as_of=as_of,
        total=sum(one.count for one in items),
        by_key_type=_summed((one.key_type, one.count) for one in items),
        by_signature=_summed((one.signature, one.count) for one in items),
        items=items,
    )


def _view(one: inventory.Count) -> CountView:
    issuer_id, profile, key_type, signature = one.kind
    return CountView(
        issuer_id=issuer_id,
        profile=profile,
        key_type=key_type,
        signature=signature,
        count=one.count,
        earliest_not_after=one.earliest,
        latest_not_after=one.latest,
    )


def _summed(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for name, count in counts:
        found[name] += count
    return dict(sorted(found.items()))


CALLS = (
    reading(
        path="/environments/{environment}/inventory",
        summary="Count live certificates by the kind of their keys and by what they are signed with",
        work=_take,
        query=SelectorQuery,
        answer=InventoryView,
    ),
)
