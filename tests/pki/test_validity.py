"""When a leaf is valid: what the profile says, and wishes within it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.validity import validity
from acme_ca.problems import Malformed

PROFILE = BUILTIN["server-1h"]
NOW = datetime(2030, 5, 17, 12, 30, 15, 678, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
BACK, LIFETIME = timedelta(seconds=PROFILE.backdate), timedelta(seconds=PROFILE.lifetime)

moments = st.datetimes(timezones=st.just(UTC))
near = st.timedeltas(-3 * HOUR, 3 * HOUR).map(lambda distance: NOW + distance)


def test_without_wishes_it_is_the_profiles_lifetime_from_now() -> None:
    assert validity(PROFILE, NOW) == (SECOND - BACK, SECOND + LIFETIME)
    assert validity(PROFILE, NOW, max_lifetime=600) == (SECOND - BACK, SECOND + 10 * MINUTE)
    assert validity(PROFILE, NOW, max_lifetime=10**9) == (SECOND - BACK, SECOND + LIFETIME)


def test_wishes_within_the_lifetime_are_honoured_to_the_second() -> None:
    start, end = SECOND + 5 * MINUTE, SECOND + 20 * MINUTE
    assert validity(PROFILE, NOW, not_before=start, not_after=end) == (start, end)
    assert validity(PROFILE, NOW, not_after=end) == (SECOND - BACK, end)


@pytest.mark.parametrize("start", [timedelta(0), BACK, 30 * MINUTE])
def test_later_start_does_not_move_the_end(start: timedelta) -> None:
    """A certificate for next month, which nobody could revoke until then, is not given today."""
    assert validity(PROFILE, NOW, not_before=SECOND + start) == (SECOND + start, SECOND + LIFETIME)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"not_before": SECOND - 3 * BACK}, "in the past"),
        ({"not_before": SECOND + LIFETIME}, "leaves no validity"),
        ({"not_before": SECOND + timedelta(days=30)}, "notBefore .* is too late"),
        ({"not_after": SECOND}, "leaves no validity"),
        ({"not_after": SECOND + LIFETIME + 2 * BACK}, "notAfter .* is too late"),
        ({"not_before": SECOND + 2 * MINUTE, "not_after": SECOND + MINUTE}, "leaves no validity"),
        ({"not_before": SECOND + 30 * MINUTE, "not_after": SECOND + 80 * MINUTE}, "notAfter .* is too late"),
    ],
)
def test_wish_that_cannot_be_honoured_is_malformed(wish: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        validity(PROFILE, NOW, **wish)


def test_order_that_was_slow_to_prove_its_names_keeps_its_start() -> None:
    later = NOW + 20 * MINUTE
    assert validity(PROFILE, later, not_before=SECOND, asked_at=NOW) == (SECOND, SECOND + BACK + LIFETIME)
    start, end = SECOND, SECOND + LIFETIME
    assert validity(PROFILE, later, not_before=start, not_after=end, asked_at=NOW) == (start, end)
    with pytest.raises(Malformed, match="leaves no validity"):
        validity(PROFILE, NOW + 2 * HOUR, not_before=SECOND, asked_at=NOW)


@given(
    not_before=st.none() | near | moments,
    not_after=st.none() | near | moments,
    max_lifetime=st.none() | st.integers(1, 10**9),
    waited=st.timedeltas(timedelta(0), 2 * HOUR),
)
def test_whatever_is_wished_for_the_bounds_hold(
    not_before: datetime | None, not_after: datetime | None, max_lifetime: int | None, waited: timedelta
) -> None:
    now = NOW + waited
    try:
        start, end = validity(PROFILE, now, max_lifetime, not_before, not_after, asked_at=NOW)
    except Malformed:
        return
    lifetime = timedelta(seconds=min(PROFILE.lifetime, max_lifetime or PROFILE.lifetime))
    assert now.replace(microsecond=0) < end <= now + lifetime + BACK
    assert NOW - 2 * BACK - timedelta(seconds=1) < start < end
    assert end - start <= lifetime + 3 * BACK
    if not_before is not None:
        assert start == not_before.replace(microsecond=0)
    if not_after is not None:
        assert end == not_after.replace(microsecond=0)
