"""What an operator means and expects: the certificates of a selection are counted before anything is done to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.models.selection import Selection, standing_at
from acme_ca.problems import Conflict, Malformed
from acme_ca.services.certificates import require_environment

COUNTED = 500  # ids read at a time


@dataclass(frozen=True, slots=True)
class Expected:
    """What an operator expects a selection to be: so many certificates, or just those that a preview counted."""

    total: int | None = None
    as_of: datetime | None = None
    digest: str | None = None


ANY_ONE = Expected()
"""What to expect of a selection of which nothing is said: that it has one certificate at most."""


@dataclass(frozen=True, slots=True)
class Preview:
    """How many certificates a selection had at a moment; `digest` (SHA-256, hexadecimal) is of which ones."""

    total: int
    as_of: datetime
    digest: str

    @property
    def expected(self) -> Expected:
        """What to expect of the same selection: just these certificates."""
        return Expected(self.total, self.as_of, self.digest)


def preview(ca: Authority, selection: Selection, *, as_of: datetime | None = None) -> Preview:
    """Count the certificates of a selection that were valid at a moment: now, unless a preview is to be repeated.

    Those that were being signed then are among them: a moment later they are issued.
    """
    require_environment(ca, selection.environment)
    moment = _moment(as_of)
    ca.database.settle()  # what was claimed until then is there to be counted
    digest = hashlib.sha256(json.dumps([selection.document(), moment.isoformat()], sort_keys=True).encode())
    total = 0
    for ids in _pages(ca, selection, moment):
        digest.update("".join(ids).encode())
        total += len(ids)
    return Preview(total, moment, digest.hexdigest())


def expect(ca: Authority, selection: Selection, expected: Expected | None) -> Preview:
    """Count a selection; raises Conflict unless it is what an operator expects, None being whatever it is."""
    if expected is None:
        return preview(ca, selection)
    if expected.digest is not None and expected.as_of is None:
        raise Malformed("as_of: a digest is of a moment; give the as_of of the preview too")
    found = preview(ca, selection, as_of=expected.as_of)
    if expected.total is not None and expected.total != found.total:
        raise Conflict(f"expect: the selection has {found.total} valid certificates, not {expected.total}; look again")
    if expected.digest is not None and expected.digest != found.digest:
        raise Conflict("digest: the selection is not what the preview counted; look again")
    if expected.total is None and expected.digest is None and found.total > 1:
        raise Conflict(f"expect: the selection has {found.total} valid certificates; say so to go on")
    return found


def _pages(ca: Authority, selection: Selection, moment: datetime) -> Iterator[Sequence[str]]:
    """Yield the ids of the certificates, the newest first, with no transaction open in between."""
    ids: Sequence[str] = ()
    before = None
    while before is None or len(ids) == COUNTED:
        with ca.database.read() as connection:
            living = selection.living(connection, moment)
            statement = living.ids(standing_at(moment), before=before, with_claimed=True)
            ids = connection.scalars(statement.limit(COUNTED)).all()
        if not ids:
            break
        yield ids
        before = ids[-1]


def _moment(as_of: datetime | None) -> datetime:
    now = clock.now()
    if as_of is None:
        return now
    if as_of.tzinfo is None or as_of > now:
        raise Malformed("as_of: expected the time of a preview, with its zone; it cannot be in the future")
    return as_of.astimezone(now.tzinfo)
