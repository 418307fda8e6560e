"""The life of an issuer: staged, active, retiring, retired. What it is at a moment follows from a few times.

The issuers that follow each other in one place are a *line*; each of them is a generation of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from acme_ca.pki.issuer import MARGIN

SETTLING = timedelta(hours=2)
"""How much longer than its last leaf an issuer is served: a leaf may ask for an hour more, and clocks differ."""


class Stage(StrEnum):
    """`staged`: published, and signs no leafs. `retiring`: signs revocation lists and OCSP alone. `retired`: nothing.

    `preparing` is one that has no certificate yet.
    """

    PREPARING = "preparing"
    STAGED = "staged"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Span:
    """The times of one generation. `ends_at` is when the first certificate of its chain ends.

    `retired_at` is when it was found that nothing is left to serve for it, `activates_at` when it was to be the one
    that signs.
    """

    id: str
    number: int
    staged_at: datetime
    activates_at: datetime
    ends_at: datetime
    retired_at: datetime | None = None

    def signs_until(self, longest: timedelta) -> datetime:
        """Return until when it can sign a leaf of the longest lifetime."""
        return self.ends_at - longest - MARGIN


@dataclass(frozen=True, slots=True)
class Rules:
    """When issuers follow each other. `longest` is the longest lifetime of a leaf.

    The next one is to sign so long `before` the present one can no more, and is published so long `ahead` of that.
    """

    longest: timedelta
    before: timedelta
    ahead: timedelta

    def due_at(self, span: Span) -> datetime:
        """Return when the next generation is to be staged."""
        return span.signs_until(self.longest) - self.before - self.ahead

    def deadline(self, span: Span) -> datetime:
        """Return when the next generation has to be staged at the latest, to be published long enough ahead."""
        return span.signs_until(self.longest) - self.ahead

    def activation(self, span: Span, staged_at: datetime) -> datetime:
        """Return when one that is staged now is to sign: at once if the one before cannot any more."""
        return max(staged_at, min(staged_at + self.ahead, span.signs_until(self.longest)))


def active_since(line: Sequence[Span], longest: timedelta, now: datetime) -> Mapping[str, datetime]:
    """Return since when, or from when on, each generation of a line signs; those that are retired are left out.

    One whose predecessor is gone, or can sign no more, does not wait for its time. The newest stays when it has ended.
    """
    found: dict[str, datetime] = {}
    before: Span | None = None
    living = sorted((span for span in line if span.retired_at is None), key=lambda span: span.number)
    for span in living:
        if span.ends_at <= now and span is not living[-1]:
            continue
        earliest = span.staged_at if before is None else max(span.staged_at, before.signs_until(longest))
        found[span.id] = span.activates_at if span.activates_at <= now else min(span.activates_at, earliest)
        before = span
    return found


def stages(line: Sequence[Span], longest: timedelta, now: datetime) -> dict[str, Stage]:
    """Return what each generation of a line is at a moment: one is active, unless all are staged or retired."""
    since = active_since(line, longest, now)
    signing = [span for span in line if span.id in since and since[span.id] <= now]
    active = max(signing, key=lambda span: span.number, default=None)
    return {span.id: _stage(span, active, since) for span in line}


def _stage(span: Span, active: Span | None, since: Mapping[str, datetime]) -> Stage:
    if span.id not in since:
        return Stage.RETIRED
    if active is None or span.number > active.number:
        return Stage.STAGED
    return Stage.ACTIVE if span is active else Stage.RETIRING


def last_leaf_at(line: Sequence[Span], longest: timedelta, now: datetime, id: str) -> datetime | None:  # noqa: A002 - as it is called everywhere
    """Return when the last leaf of a generation ends at the latest; None while no other takes its place."""
    own = next(span for span in line if span.id == id)
    followers = [span for span in line if span.number > own.number]
    since = active_since([own, *followers], longest, now)
    successor = min((since[span.id] for span in followers if span.id in since), default=None)
    return None if successor is None else min(own.ends_at, successor + longest)
