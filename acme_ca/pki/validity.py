"""The validity period of a leaf. RFC 5280 §4.1.2.5, RFC 8555 §7.4 (notBefore, notAfter: honoured or refused)."""

from datetime import datetime, timedelta

from acme_ca.clock import rfc3339
from acme_ca.pki.profile import Profile
from acme_ca.problems import Malformed


def validity(
    profile: Profile,
    now: datetime,
    max_lifetime: int | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    asked_at: datetime | None = None,
) -> tuple[datetime, datetime]:
    """Return notBefore and notAfter in whole seconds; raises Malformed when what was asked for cannot be honoured.

    Without wishes it is `backdate` seconds before now until `lifetime` seconds after. Wishes have to lie within
    `lifetime` seconds of `asked_at` (now, unless the order is older), give or take what a clock may be wrong,
    `backdate`: nobody gets today what is good next month. `max_lifetime` (seconds) is policy's own bound.
    """
    now = now.replace(microsecond=0)
    asked_at = (asked_at or now).replace(microsecond=0)
    backdate = timedelta(seconds=profile.backdate)
    lifetime = timedelta(seconds=min(profile.lifetime, max_lifetime or profile.lifetime))
    latest = asked_at + lifetime
    start = not_before.replace(microsecond=0) if not_before else now - backdate
    if start < asked_at - backdate - backdate:
        raise Malformed(
            f"notBefore {rfc3339(start)} is in the past; it may be {rfc3339(asked_at - backdate)} at the earliest"
        )
    if start > latest:
        raise Malformed(f"notBefore {rfc3339(start)} is too late: {rfc3339(latest)} is the latest end allowed here")
    end = not_after.replace(microsecond=0) if not_after else min(start + backdate, now) + lifetime
    if not_after and end > latest + backdate:
        raise Malformed(
            f"notAfter {rfc3339(end)} is too late: {rfc3339(latest)} is the latest, "
            f"{lifetime.total_seconds():.0f} seconds being the longest lifetime allowed here"
        )
    if end <= max(start, now):
        raise Malformed(f"notAfter {rfc3339(end)} leaves no validity; it must be after {rfc3339(max(start, now))}")
    return start, end
