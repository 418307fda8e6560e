"""Publishing revocation lists: for each issuer the full one, and one for each shard. RFC 5280 §5.

A revocation marks its lists in its own transaction. The worker claims a list that is due, reads what is revoked, signs
with no transaction open, and puts the new list in the place of the old one if that is still the one it started from.
What fails in between leaves the old list where it is, and the claim runs out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from acme_ca import baton, clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models import crl as models
from acme_ca.models.certificate import Certificate
from acme_ca.models.crl import Crl
from acme_ca.pki import crl as pki
from acme_ca.pki.issuer import Issuer
from acme_ca.problems import NotFound, ServiceUnavailable
from acme_ca.services import audit

LEASE = timedelta(seconds=30)  # how long the making of a list may take, and the pause after one that failed
BACKDATE = timedelta(minutes=1)  # of thisUpdate: a list is "not yet valid" for clocks that are behind
ENTRIES_A_SECOND = 500  # a list of 1000 is made every two seconds at most, however many revocations ask for it
LONGEST_REST = timedelta(minutes=1)  # between two lists that were asked for
SETTLING = timedelta(minutes=1)  # after which a first list is made again: revocations of that moment may have missed it

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A list as it is served: DER."""

    number: int
    this_update: datetime
    next_update: datetime
    der: bytes


def mark(connection: Connection, lines: Iterable[Certificate], now: datetime) -> None:
    """Let the lists of revoked certificates be made anew: in the revocation's own transaction."""
    for key in models.keys_about(lines):
        models.mark(connection, key, now)


def publish_due(ca: Authority) -> int:
    """Make the lists that are due, and those that there should be and are not; return how many were published."""
    now = clock.now()
    with ca.database.read() as connection:
        known = {crl.key: crl for crl in models.states(connection)}
    published = 0
    for environment, issuer in _publishing(ca, now):
        wanted = {models.key_of(issuer.id, shard): shard for shard in _shards(issuer)}
        _begin(ca, environment, issuer, {key: shard for key, shard in wanted.items() if key not in known}, now)
        own = [crl for crl in known.values() if crl.issuer_id == issuer.id]
        _move(ca, [crl for crl in own if not set(_urls(issuer, crl)) <= set(crl.urls)], now)
        due = [crl.key for crl in own if _is_due(crl, now)]
        for key in (*due, *(wanted.keys() - known.keys())):
            published += _publish(ca, environment, issuer, key)
    return published


def current(ca: Authority, key: str) -> Published:
    """Return a list; `key` is ISSUER or ISSUER/SHARD. Raises NotFound, and ServiceUnavailable before its first one."""
    with ca.database.read() as connection:
        found = models.published(connection, key)
        is_known = found is not None or models.state(connection, key) is not None
    if not is_known:
        raise NotFound(f"there is no revocation list {key}")
    if found is None:
        raise ServiceUnavailable(f"revocation list {key} is not made yet", retry_after=1)
    return Published(*found)


def number(ca: Authority, key: str) -> int | None:
    """Return the number of a list without reading it, or None when there is no such list; 0 before its first one."""
    with ca.database.read() as connection:
        found = models.state(connection, key)
    return None if found is None else found.number


def listing(ca: Authority, after: str | None = None, limit: int | None = 100) -> list[Crl]:
    """Return the lists after this key without their DER, in the order of their keys; all of them without a limit."""
    with ca.database.read() as connection:
        found = sorted(models.states(connection), key=lambda crl: crl.key)  # databases may collate otherwise
    return [crl for crl in found if after is None or crl.key > after][:limit]


def regenerate(ca: Authority, issuer: str | None = None, *, by: str) -> list[str]:
    """Let the lists of an issuer, or all, be made anew by the worker; return their keys. Raises NotFound."""
    now = clock.now()
    with ca.database.write() as connection:
        keys = [crl for crl in models.states(connection) if issuer in {None, crl.issuer_id}]
        for crl in keys:
            models.mark(connection, crl.key, now)
            audit.record(connection, crl.environment, "crl.requested", crl.key, by=by)
    if not keys:
        raise NotFound(f"there are no revocation lists of issuer {issuer}" if issuer else "there are no lists yet")
    return [crl.key for crl in keys]


def overdue(ca: Authority) -> list[str]:
    """Return the keys of the lists of living issuers that are past their nextUpdate, or were begun and never made."""
    now = clock.now()
    living = {issuer.id for _, issuer in _publishing(ca, now)}
    with ca.database.read() as connection:
        found = models.states(connection)
    return [crl.key for crl in found if crl.issuer_id in living and (crl.next_update is None or crl.next_update < now)]


def show(ca: Authority) -> int:
    """Set the gauges of all lists, whichever host made them."""
    with ca.database.read() as connection:
        found = models.states(connection)
    for crl in found:
        if crl.this_update is not None and crl.next_update is not None and crl.environment in ca.environments:
            labels = (crl.environment, crl.issuer_id, "" if crl.shard is None else str(crl.shard))
            metrics.child(metrics.CRL_THIS_UPDATE, *labels).set(crl.this_update.timestamp())
            metrics.child(metrics.CRL_NEXT_UPDATE, *labels).set(crl.next_update.timestamp())
            metrics.child(metrics.CRL_NUMBER, *labels).set(crl.number)
            metrics.child(metrics.CRL_ENTRIES, *labels).set(crl.entries)
            metrics.child(metrics.CRL_BYTES, *labels).set(crl.size)
    return 0


def _publishing(ca: Authority, now: datetime) -> Iterator[tuple[Environment, Issuer]]:
    """Yield the issuers that this host can make lists of: until they end, for what they issued ends before them."""
    for environment in ca.environments.values():
        for issuer in environment.all_issuers:
            if issuer.is_open and issuer.certificate.not_valid_after_utc > now:
                yield environment, issuer


def _shards(issuer: Issuer) -> tuple[int | None, ...]:
    return (None, *range(issuer.crl_shards)) if issuer.crl_shards > 1 else (None,)


def _begin(
    ca: Authority, environment: Environment, issuer: Issuer, missing: dict[str, int | None], now: datetime
) -> None:
    """Add the lists that are missing. Those of shards that are configured no more stay: certificates name them."""
    for key, shard in missing.items():
        crl = Crl(key=key, environment=environment.name, issuer_id=issuer.id, shard=shard, due_at=now)
        try:
            with ca.database.write() as connection:
                base.insert(connection, crl)
        except AlreadyThereError:
            log.debug("crl.begun_elsewhere", crl=key)


def _move(ca: Authority, moved: Sequence[Crl], now: datetime) -> None:
    """Let shards be made anew that are at a URL which they do not name yet, unless somebody is about to."""
    for crl in moved:
        if crl.due_at > now + LEASE:
            with ca.database.write() as connection:
                models.mark(connection, crl.key, now)


def _publish(ca: Authority, environment: Environment, issuer: Issuer, key: str) -> bool:
    """Make one list; a signer that fails is told, and leaves the old one where it is."""
    before = _claim(ca, key)
    if before is None:
        return False
    try:
        with baton.aside():
            after = _made(ca, environment, issuer, before)
    except Exception:
        log.exception("crl.not_made", crl=key, next_update=before.next_update)
        return False
    with ca.database.write(durable=True) as connection:
        if not models.publish(connection, before, after):  # another process was faster, and may have seen less
            models.mark(connection, key, clock.now())
            return False
        audit.record(
            connection,
            before.environment,
            "crl.published",
            key,
            number=after.number,
            entries=after.entries,
            next_update=clock.rfc3339(after.next_update or after.due_at),
        )
    return True


def _is_due(crl: Crl, now: datetime) -> bool:
    """Whether a list is due, and the last one was made long enough ago for its size: a mass revocation asks often."""
    if crl.due_at > now:
        return False
    rest = min(timedelta(seconds=crl.entries / ENTRIES_A_SECOND), LONGEST_REST)
    age = LONGEST_REST if crl.this_update is None else now - crl.this_update - BACKDATE
    return not timedelta() <= age < rest  # negative: the clock had been ahead


def _claim(ca: Authority, key: str) -> Crl | None:
    """Return a list that is due as it was claimed, or None when somebody else makes it."""
    now = clock.now()
    with ca.database.write() as connection:
        crl = models.state(connection, key)
        if crl is None or not _is_due(crl, now) or not models.claim(connection, crl, now + LEASE):
            return None
    return crl


def _made(ca: Authority, environment: Environment, issuer: Issuer, before: Crl) -> Crl:
    """Return the list that comes after another one. What was revoked is read after the marks were."""
    now = clock.now()
    lifetime = timedelta(seconds=environment.settings.crl_lifetime)
    ended_after = models.ended_after(before.this_update, now, lifetime)
    with ca.database.read() as connection:
        revoked = [
            pki.Revoked(int(serial, 16), at, reason)
            for serial, at, reason in models.revoked_since(connection, before, ended_after)
        ]
    after = before.copy()
    after.number = models.next_number(before.number, now)
    after.this_update = _this_update(before, now)
    after.next_update = min(now.replace(microsecond=0) + lifetime, issuer.certificate.not_valid_after_utc)
    after.due_at = now + (lifetime / 2 if before.number else SETTLING)
    after.urls = list(dict.fromkeys((*before.urls, *_urls(issuer, before))))
    after.der = pki.make(
        pki.CrlRequest(
            number=after.number,
            this_update=after.this_update,
            next_update=after.next_update,
            revoked=revoked,
            urls=after.urls,
        ),
        issuer.certificate,
        issuer.key,
        issuer.signature,
    )
    after.entries, after.size = len(revoked), len(after.der)
    return after


def _urls(issuer: Issuer, crl: Crl) -> tuple[str, ...]:
    """Return the URL that the certificates of a list name now, if it is of a shard: a full list need not say it."""
    url = None if crl.shard is None else issuer.crl_url_of(crl.shard)
    return () if url is None else (url,)


def _this_update(before: Crl, now: datetime) -> datetime:
    """Return since when a list is valid: some time ago, but not before the list that it follows."""
    earliest = (now - BACKDATE).replace(microsecond=0)
    if before.this_update is None or before.this_update > now:  # it is from a clock that was ahead
        return earliest
    return max(before.this_update, earliest)
