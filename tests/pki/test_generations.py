"""The life of issuers, by their times alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from acme_ca.pki.generations import SETTLING, Rules, Span, Stage, active_since, last_leaf_at, stages

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = Rules(longest=8 * HOUR, before=60 * DAY, ahead=7 * DAY)


def span(number: int, staged: timedelta, signs: timedelta, ends: timedelta) -> Span:
    return Span(f"prod-{number}", number, START + staged, START + signs, START + ends)


FIRST = span(1, timedelta(), timedelta(), 1000 * DAY)
SECOND = span(2, 900 * DAY, 907 * DAY, 1900 * DAY)


def seen(moment: timedelta, *line: Span) -> list[str]:
    found = stages(line, RULES.longest, START + moment)
    return [found[one.id].value for one in line]


def test_one_follows_the_other() -> None:
    assert seen(901 * DAY, FIRST, SECOND) == ["active", "staged"]
    assert seen(907 * DAY, FIRST, SECOND) == ["retiring", "active"]
    assert seen(1000 * DAY, FIRST, SECOND) == ["retired", "active"]
    gone = replace(FIRST, retired_at=START + 908 * DAY)
    assert seen(909 * DAY, gone, SECOND) == ["retired", "active"]
    assert last_leaf_at([FIRST, SECOND], RULES.longest, START + 901 * DAY, "prod-1") == START + 907 * DAY + 8 * HOUR
    assert last_leaf_at([FIRST, SECOND], RULES.longest, START + 901 * DAY, "prod-2") is None


def test_the_next_one_does_not_wait_for_its_time_when_the_one_before_can_sign_no_more() -> None:
    late = span(2, 999 * DAY, 1006 * DAY, 1900 * DAY)
    assert seen(999 * DAY + HOUR, FIRST, late) == ["active", "staged"]
    assert seen(999 * DAY + 17 * HOUR, FIRST, late) == ["retiring", "active"]
    assert seen(1001 * DAY, FIRST, late) == ["retired", "active"]
    assert RULES.activation(FIRST, START + 999 * DAY) == FIRST.signs_until(RULES.longest)
    assert RULES.activation(FIRST, START + 1001 * DAY) == START + 1001 * DAY
    gone = replace(FIRST, retired_at=START + 999 * DAY)  # nobody waits for one that is distrusted
    assert seen(999 * DAY, gone, late) == ["retired", "active"]


def test_the_newest_stays_though_it_has_ended() -> None:
    assert seen(1001 * DAY, FIRST) == ["active"]


def test_the_next_one_is_due_in_time() -> None:
    assert RULES.deadline(FIRST) + RULES.ahead == FIRST.signs_until(RULES.longest)
    assert RULES.due_at(FIRST) + RULES.before == RULES.deadline(FIRST)


SPANS = st.integers(0, 3000).map(lambda days: days * DAY)


@given(
    st.lists(st.tuples(SPANS, SPANS, SPANS, st.none() | SPANS), min_size=1, max_size=6),
    st.integers(0, 6000).map(lambda hours: hours * 12 * HOUR),
)
def test_at_any_moment_one_signs_and_older_ones_only_until_it_does(
    made: list[tuple[timedelta, timedelta, timedelta, timedelta | None]], moment: timedelta
) -> None:
    """Whatever the times are: those of hosts that disagree, of restores and of operators who were late."""
    line = [
        replace(span(number, staged, staged + wait, staged + wait + life), retired_at=None if gone is None else START)
        for number, (staged, wait, life, gone) in enumerate(made, 1)
    ]
    now = START + moment
    found, since = stages(line, RULES.longest, now), active_since(line, RULES.longest, now)
    active = [one for one in line if found[one.id] is Stage.ACTIVE]
    assert len(active) <= 1
    living = [one for one in line if one.retired_at is None]
    assert bool(active) == any(since.get(one.id, now + DAY) <= now for one in living)
    for one in line:
        if one.retired_at is not None:
            assert found[one.id] is Stage.RETIRED
        if active and found[one.id] is Stage.RETIRING:
            assert one.number < active[0].number
        if active and found[one.id] is Stage.STAGED:
            assert one.number > active[0].number
            assert since[one.id] > now
        if one.id in since:
            assert one.staged_at <= max(since[one.id], now)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=5), st.integers(0, 5))
def test_no_leaf_outlives_its_issuers_service(delays: list[int], hours: int) -> None:
    """Each next one is staged by the rules, more or less late; leafs are asked for at all times."""
    line, longest = [FIRST], RULES.longest
    for number, delay in enumerate(delays, 2):
        newest = line[-1]
        staged = max(RULES.due_at(newest), newest.staged_at) + delay * HOUR
        line.append(
            Span(f"prod-{number}", number, staged, RULES.activation(newest, staged), staged + (300 + 50 * number) * DAY)
        )
    for number in range(2400):
        now = START + number * 12 * HOUR + hours * HOUR
        known = [one for one in line if one.staged_at <= now]
        found = stages(known, longest, now)
        (active,) = [one for one in known if found[one.id] is Stage.ACTIVE]
        if now + longest + timedelta(minutes=5) > active.ends_at:
            assert len(known) == len(line) or line[len(known)].staged_at > now, (
                "only where nobody staged another in time"
            )
            continue
        served = last_leaf_at(known, longest, now, active.id)
        assert served is None or now + longest <= served + SETTLING
