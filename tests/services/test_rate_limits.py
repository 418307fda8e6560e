"""Token buckets: never more than they hold, on each kind of database, by threads and by processes at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from acme_ca.models import rate_limit
from acme_ca.models.rate_limit import Bucket

START = datetime(2026, 1, 1, tzinfo=UTC)
PROCESS = """
import sys
from datetime import datetime, timedelta
from acme_ca.db import Database
from acme_ca.models import rate_limit
database = Database(sys.argv[1])
bucket = rate_limit.Bucket("e/l/s", 25, timedelta(hours=1))
taken = 0
for _ in range(20):
    with database.write() as connection:
        taken += rate_limit.take(connection, bucket, datetime.fromisoformat(sys.argv[2])) is None
database.close()
print(taken)
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    upgrade(database)
    yield database
    database.close()


def take(database: Database, bucket: Bucket, now: datetime) -> datetime | None:
    with database.write() as connection:
        return rate_limit.take(connection, bucket, now)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    count=st.integers(1, 7),
    seconds=st.integers(1, 100),
    gaps=st.lists(st.floats(0, 40), min_size=1, max_size=25),
)
def test_no_span_of_time_has_more_than_the_bucket_and_what_grew(
    database: Database, count: int, seconds: int, gaps: list[float]
) -> None:
    bucket = Bucket(f"test/x/{uuid4()}", count, timedelta(seconds=seconds))
    now, taken = START, []
    for gap in gaps:
        now += timedelta(seconds=gap)
        until = take(database, bucket, now)
        if until is None:
            taken.append(now)
        else:
            assert now < until <= now + bucket.period
            assert take(database, bucket, until - timedelta(microseconds=1)) is not None
            assert take(database, bucket, until) is None, "what Retry-After says is enough"
            now = until
            taken.append(now)
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            grown = (end - begin) // timedelta(microseconds=bucket.growth)
            assert last - first + 1 <= count + grown


def test_threads_take_no_more_than_there_is(database: Database) -> None:
    bucket = Bucket("e/l/s", 25, timedelta(hours=1))
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take(database, bucket, START) is None, range(80)))
    assert sum(taken) == 25


def test_processes_take_no_more_than_there_is(database: Database, database_url: str) -> None:
    command = [sys.executable, "-c", PROCESS, database_url, START.isoformat()]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    taken = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(taken) == 25
    assert take(database, Bucket("e/l/s", 25, timedelta(hours=1)), START) is not None


def test_what_is_rolled_back_is_not_counted(database: Database) -> None:
    bucket = Bucket("e/l/s", 1, timedelta(hours=1))
    for _ in range(3):
        with database.rehearsal():
            assert take(database, bucket, START) is None
    assert take(database, bucket, START) is None
    assert take(database, bucket, START) == START + timedelta(hours=1)


def test_an_empty_bucket_gets_no_emptier(database: Database) -> None:
    bucket = Bucket("e/l/s", 3, timedelta(minutes=3))
    for failures in range(9):
        with database.write() as connection:
            missing = rate_limit.missing_until(connection, bucket, START)
            rate_limit.spend(connection, bucket, START)
        assert (missing is not None) == (failures >= 3)
    assert missing == START + timedelta(minutes=1)


def test_full_buckets_are_forgotten_and_no_others(database: Database) -> None:
    for number in range(5):
        take(database, Bucket(f"e/l/{number}", 2, timedelta(seconds=2 * number + 2)), START)
    with database.write() as connection:
        assert rate_limit.forget_full(connection, START + timedelta(seconds=3.5), 2) == 2
        assert rate_limit.forget_full(connection, START + timedelta(seconds=3.5), 2) == 1
        left = rate_limit.used(connection, "e/l/", None, 9, START + timedelta(seconds=3.5))
    assert [key for key, _ in left] == ["e/l/3", "e/l/4"]
