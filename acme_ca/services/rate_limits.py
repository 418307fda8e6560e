"""Rate limits: what clients may do how often, counted in the transaction of what they do. RFC 8555 §6.6.

Buckets of accounts and names have these in their keys. Those of client addresses have a keyed hash: addresses are
personal data.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from sqlalchemy import Connection

from acme_ca import clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.config import Limit
from acme_ca.models import rate_limit
from acme_ca.models.rate_limit import Bucket
from acme_ca.problems import NotFound, RateLimited
from acme_ca.services import audit

LIMITS = {
    "new_account_per_address": "new accounts from one address",
    "new_account_per_environment": "new accounts of this environment",
    "new_order_per_account": "orders of one account",
    "new_order_per_name": "orders of one account for one name",
    "new_order_per_address": "orders from one address",
    "new_order_per_environment": "orders of this environment",
    "failed_validation_per_name": "failed validations of one account for one name",
    "failed_validation_per_account": "failed validations of one account",
}
"""Every limit, by its setting, and what it counts."""
SWEEP_BATCH = 500  # rows deleted in one transaction
_NETWORK = 64  # bits of an IPv6 address that belong to one client (RFC 6177: at least so many)


@dataclass(frozen=True, slots=True)
class Use:
    """What was used of a limit. `missing` tokens are gone of `count`; one is there again at `next_at`."""

    limit: str
    subject: str
    count: int
    seconds: int
    missing: int
    next_at: datetime
    full_at: datetime

    def is_limited(self, now: datetime) -> bool:
        """Whether nothing is left now."""
        return self.next_at > now


def count_account(connection: Connection, environment: Environment, address: str | None, now: datetime) -> None:
    """Count a new account; raises RateLimited."""
    buckets = (
        *_per_address(environment, "new_account_per_address", address),
        *_bucket(environment, "new_account_per_environment"),
    )
    _take(connection, environment, buckets, now)


def count_order(
    connection: Connection,
    environment: Environment,
    account_id: str,
    names: Iterable[str],
    address: str | None,
    now: datetime,
) -> None:
    """Count an order; raises RateLimited. Of renewals by ARI only new names are to be counted (RFC 9773 §5)."""
    buckets = (
        *_bucket(environment, "new_order_per_account", account_id),
        *_per_name(environment, "new_order_per_name", account_id, names),
        *_per_address(environment, "new_order_per_address", address),
        *_bucket(environment, "new_order_per_environment"),
    )
    _take(connection, environment, buckets, now)


def count_names(
    connection: Connection, environment: Environment, account_id: str, names: Iterable[str], now: datetime
) -> None:
    """Count names that an order has more than the certificate that it renews; raises RateLimited."""
    _take(connection, environment, _per_name(environment, "new_order_per_name", account_id, names), now)


def count_failure(connection: Connection, environment: Environment, account_id: str, name: str, now: datetime) -> None:
    """Count a failed validation."""
    for bucket in _of_failures(environment, account_id, (name,)):
        rate_limit.spend(connection, bucket, now)


def require_validations(
    connection: Connection, environment: Environment, account_id: str, names: Iterable[str], now: datetime
) -> None:
    """Raise RateLimited when validations of one of the names failed too often to look again."""
    for bucket in _of_failures(environment, account_id, names):
        if (until := rate_limit.missing_until(connection, bucket, now)) is not None:
            _refuse(environment, bucket, until, now)


def page(
    ca: Authority, environment: Environment, after: str | None, limit: int, only: str | None = None
) -> tuple[list[Use], str | None]:
    """Return what was used of an environment's limits, by limit and subject, and where the next page begins.

    `only` is the setting of one limit; limits that are off now are left out.
    """
    now = clock.now()
    prefix = f"{environment.name}/" if only is None else f"{environment.name}/{only}/"
    with ca.database.read() as connection:
        start = None if after is None else f"{environment.name}/{after}"
        found = rate_limit.used(connection, prefix, start, limit + 1, now)
    uses = [use for key, full_at in found[:limit] for use in _uses(environment, key, full_at, now)]
    return uses, found[limit - 1][0].partition("/")[2] if len(found) > limit else None


def reset(ca: Authority, environment: Environment, limit: str, subject: str, *, by: str) -> None:
    """Forget what was used; raises NotFound. `subject` is one that `page` tells, or a client's IP address."""
    if limit not in LIMITS:
        raise NotFound(f"there is no limit {limit[:80]!a}; there are {', '.join(LIMITS)}")
    if limit.endswith("_per_address") and (hashed := address_key(environment, subject)) is not None:
        subject = hashed
    with ca.database.write() as connection:
        if not rate_limit.fill(connection, _key(environment, limit, subject)):
            raise NotFound(f"nothing was used of {limit} of environment {environment.name} by {subject[:300]!a}")
        audit.record(connection, environment.name, "rate_limit.reset", limit, used_by=subject, by=by)


def sweep(ca: Authority) -> int:
    """Delete what is as if it had never been used; return how many rows went."""
    gone = 0
    while True:
        now = clock.now()
        with ca.database.write() as connection:
            batch = rate_limit.forget_full(connection, now, SWEEP_BATCH)
        gone += batch
        if batch < SWEEP_BATCH:
            return gone


def address_key(environment: Environment, address: str) -> str | None:
    """Return what stands for a client's address: 32 hexadecimal digits, the same for an IPv6 network of 64 bits.

    None for what is no IP address. Without the environment's key nobody can tell what it stands for.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or ipaddress.ip_network((parsed, _NETWORK), strict=False).network_address
    key = hmac.digest(environment.nonce_key, b"rate limits", "sha256")  # a key of its own, apart from the nonces'
    return blake2b(parsed.packed, digest_size=16, key=key).hexdigest()


def _take(connection: Connection, environment: Environment, buckets: Iterable[Bucket], now: datetime) -> None:
    for bucket in buckets:
        if (until := rate_limit.take(connection, bucket, now)) is not None:
            _refuse(environment, bucket, until, now)


def _refuse(environment: Environment, bucket: Bucket, until: datetime, now: datetime) -> None:
    """Raise RateLimited; Retry-After is whole seconds, rounded up, so that the next request comes late enough."""
    limit = bucket.key.split("/")[1]
    wait = max(1, math.ceil((until - now).total_seconds()))
    headers = {"Retry-After": str(wait)}
    if environment.settings.limits.help is not None:
        headers["Link"] = f'<{environment.settings.limits.help}>;rel="help"'  # §6.6
    metrics.RATE_LIMITED.labels(environment.name, limit).inc()
    raise RateLimited(
        f"too many {LIMITS[limit]}{_named(bucket)}: the limit {limit} of environment {environment.name} is "
        f"{bucket.count} at once, and as many again within {bucket.period.total_seconds():.0f} seconds; "
        f"the next may come in {wait} seconds, at {now + timedelta(seconds=wait):%Y-%m-%d %H:%M:%S} UTC",
        headers=headers,
    )


def _named(bucket: Bucket) -> str:
    limit, _, subject = bucket.key.partition("/")[2].partition("/")
    return f" ({subject.partition('/')[2]})" if limit.endswith("_per_name") else ""


def _of_failures(environment: Environment, account_id: str, names: Iterable[str]) -> Iterator[Bucket]:
    yield from _bucket(environment, "failed_validation_per_account", account_id)
    yield from _per_name(environment, "failed_validation_per_name", account_id, names)


def _per_name(environment: Environment, limit: str, account_id: str, names: Iterable[str]) -> Iterator[Bucket]:
    """Yield the buckets in one order for everybody, so that no two transactions wait for each other."""
    for name in sorted(set(names)):
        yield from _bucket(environment, limit, f"{account_id}/{name}")


def _per_address(environment: Environment, limit: str, address: str | None) -> Iterator[Bucket]:
    if address is not None and getattr(environment.settings.limits, limit) != "off":
        subject = address_key(environment, address)
        if subject is not None:  # a Unix socket has no address
            yield from _bucket(environment, limit, subject)


def _bucket(environment: Environment, limit: str, subject: str = "all") -> Iterator[Bucket]:
    """Yield the bucket, if the limit is not off."""
    found = getattr(environment.settings.limits, limit)
    if isinstance(found, Limit):
        yield Bucket(_key(environment, limit, subject), found.count, timedelta(seconds=found.seconds))


def _key(environment: Environment, limit: str, subject: str) -> str:
    return f"{environment.name}/{limit}/{subject}"


def _uses(environment: Environment, key: str, full_at: int, now: datetime) -> Iterator[Use]:
    _, limit, subject = key.split("/", 2)
    if limit not in LIMITS:
        return
    for bucket in _bucket(environment, limit, subject):
        yield Use(
            limit=limit,
            subject=subject,
            count=bucket.count,
            seconds=int(bucket.period.total_seconds()),
            missing=min(bucket.count, -(-(full_at - rate_limit.microseconds(now)) // bucket.growth)),
            next_at=bucket.next_at(full_at),
            full_at=rate_limit.time_of(full_at),
        )
