"""Certificates that are valid are looked for among those that can be: claimed no longer ago than any ever lived."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.models.selection import Selection
from acme_ca.services import certificates, revocations, selecting
from acme_ca.vocabulary import Standing
from tests.support import ledger_lines as ledger
from tests.support.ca import RunningCa, start_ca, with_environment
from tests.support.ledger_lines import line

DAY = timedelta(days=1)


@pytest.fixture
def ca(service_settings: Config, tmp_path: Path, database_url: str) -> Iterator[RunningCa]:
    """A CA whose certificates live for an hour, and could once live for a week."""
    for profiles in (("server-1h", "server-7d"), ("server-1h",)):
        settings = with_environment(service_settings, "test", profiles=profiles)
        running = start_ca(settings, database_url, tmp_path / "state")
        if profiles == ("server-1h",):
            yield running
        running.close()


def test_what_was_issued_when_certificates_lived_longer_is_still_found(ca: RunningCa) -> None:
    now = clock.now()
    old = line(created_at=now - 6 * DAY, not_after=now + DAY)
    over = line(created_at=now - 8 * DAY, not_after=now - DAY)
    ledger.put(ca.authority.database, old, over)
    everything = Selection.of("test")
    assert [one.id for one in certificates.search(ca.authority, everything, standing=Standing.VALID).certificates] == [
        old.id
    ]
    assert selecting.preview(ca.authority, everything).total == 1
    assert revocations.start(ca.authority, everything, 4, by="uid:0").revoked == 1


def test_nothing_older_is_walked(ca: RunningCa) -> None:
    now = clock.now()
    with ca.authority.database.read() as connection:
        since = Selection.of("test").living(connection, now).since
        assert since is not None
        assert 7 * DAY < now - since < 8 * DAY, "the longest lifetime there ever was, and some hours"
        assert Selection.of("test", since=now - DAY).living(connection, now).since == now - DAY
        assert Selection.of("test", since=now - 9 * DAY).living(connection, now).since == since
        short = Selection.of("prod").living(connection, now).since
        assert short is not None
        assert now - short < DAY
