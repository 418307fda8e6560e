"""Numbers of revocation lists. RFC 5280 §5.2.3."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from acme_ca.models import crl as models


@given(
    st.lists(
        st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - made aware below
        min_size=1,
    )
)
def test_numbers_only_grow_whatever_clocks_say(moments: list[datetime]) -> None:
    number = 0
    for moment in moments:
        now = moment.replace(tzinfo=UTC)
        following = models.next_number(number, now)
        assert number < following < 2**63
        assert following >= int(now.timestamp())
        number = following
