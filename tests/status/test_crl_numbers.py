"""Numbers of revocation lists, and how often they are made. RFC 5280 §5.2.3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from acme_ca.models import crl as models
from acme_ca.models.crl import Crl
from acme_ca.services import crls


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


def test_a_long_list_is_not_made_for_each_revocation() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    made = Crl(key="i", environment="test", issuer_id="i", shard=None, due_at=now)
    assert crls._is_due(made, now), "there is none yet"
    made.this_update = now - timedelta(minutes=1)
    for entries, rest in ((0, 0), (100, 0.2), (2_000, 4), (30_000, 60), (10**6, 60)):
        made.entries = entries
        for seconds, is_due in ((-3600, False), (rest - 0.1, False), (rest, True), (rest + 10, True)):
            assert crls._is_due(made, now + timedelta(seconds=seconds)) == is_due
    made.this_update = now + timedelta(days=1)
    assert crls._is_due(made, now), "the clock had been ahead"
