"""The stores of used nonces, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from acme_ca.problems import ServiceUnavailable
from acme_ca.spent_nonces import SpentNonces, SpentNoncesFile, spent_nonces


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[SpentNonces]:
    """The store that goes with the database."""
    database = Database(database_url)
    upgrade(database)
    yield spent_nonces(database, tmp_path)
    database.close()


def test_nonce_is_spent_once(store: SpentNonces) -> None:
    assert [store.spend(nonce) for nonce in (b"1" * 16, b"2" * 16, b"1" * 16)] == [True, True, False]


def test_records_below_a_time_are_forgotten(store: SpentNonces) -> None:
    for nonce in (b"1" * 16, b"2" * 16, b"3" * 16):
        store.spend(nonce)
    assert store.forget(b"3") == 2
    assert store.forget(b"3") == 0
    assert not store.spend(b"3" * 16)


def test_file_that_cannot_be_used_is_passing_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    store = SpentNoncesFile(folder / "nonces.db")
    with pytest.raises(ServiceUnavailable):
        store.spend(b"1" * 16)
    (folder / "nonces.db").mkdir(parents=True)
    with pytest.raises(ServiceUnavailable):
        store.spend(b"1" * 16)
    (folder / "nonces.db").rmdir()
    assert store.spend(b"1" * 16)
