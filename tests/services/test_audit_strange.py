"""What somebody with the whole database may write: none of it blinds verification, or stops the sealer."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.exc import DBAPIError

from acme_ca import clock
from acme_ca.db import AlreadyThereError, Database
from acme_ca.models import base
from acme_ca.models.audit_chain import chain_end
from acme_ca.services import audit, audit_checkpoints, audit_verify
from tests.support.rows import change
from tests.support.trail import add, found, run, seal, tampering, trail, verify

EVENTS = 10


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = trail(database_url, EVENTS)
    yield made
    made.close()


def test_rows_are_not_replaced_by_inserting_them_anew(sqlite_url: str) -> None:
    """SQLite's OR REPLACE deletes without the trigger for it."""
    database = trail(sqlite_url, EVENTS)
    for table in ("audit_events", "audit_seals", "audit_checkpoints"):
        for verb in ("INSERT OR REPLACE", "REPLACE"):
            with pytest.raises((DBAPIError, AlreadyThereError)) as refused:
                change(database, f"{verb} INTO {table} SELECT * FROM {table} LIMIT 1")
            assert "append-only" in str(refused.value.__cause__ or refused.value)
    assert verify(database).is_good
    database.close()


def test_an_index_that_lost_words_is_found(database: Database) -> None:
    with database.write() as connection:
        audit.record(connection, "test", "order.created", "o", names=["dns:a.test.localhost", "dns:b.test.localhost"])
    seal(database)
    with pytest.raises((DBAPIError, AlreadyThereError)):
        change(database, "DELETE FROM audit_terms")
    assert verify(database).is_good
    with tampering(database) as connection:
        run(connection, "DELETE FROM audit_terms WHERE term = 'name\\:a.test.localhost'")
    assert found(database) == [(EVENTS + 1, "terms")]


def test_words_that_somebody_else_wrote_stop_no_sealer(database: Database) -> None:
    with database.write() as connection:
        run(connection, "INSERT INTO audit_terms VALUES ('id\\:ahead', :id)", id=EVENTS + 1)
        audit.record(connection, "test", "order.created", "ahead")
    assert seal(database) == 1
    assert verify(database).is_good, "what the index says is true"


STRANGE = {
    "subject": ("UPDATE audit_events SET subject = CAST(x'ff' AS TEXT) WHERE subject = 'order-4'", [(4, "changed")]),
    "hash": ("UPDATE audit_seals SET hash = 'text' WHERE seq = 4", [(4, "changed")]),
    "hash of no text": ("UPDATE audit_seals SET hash = CAST(x'ff' AS TEXT) WHERE seq = 4", [(4, "changed")]),
    "event": ("UPDATE audit_seals SET event_id = 'four' WHERE seq = 4", [(4, "changed"), (10, "unsealed")]),
    "place": (
        "UPDATE audit_seals SET seq = CAST(x'ff' AS TEXT) WHERE seq = 4",
        [(4, "gap"), (11, "changed")],
    ),
    "checkpoint": ("UPDATE audit_checkpoints SET signed_at = 'never'", [(0, "signature")]),
    "checkpoint's hash": ("UPDATE audit_checkpoints SET hash = CAST(x'ff' AS TEXT)", [(0, "signature")]),
    "checkpoint's key": ("UPDATE audit_checkpoints SET key_id = CAST(x'ff' AS TEXT)", [(10, "signature")]),
    "end": ("UPDATE audit_chain_ends SET gaps = 'none'", [(10, "end")]),
    "place of the end": ("UPDATE audit_chain_ends SET seq = 'none'", [(10, "end")]),
}


@pytest.mark.parametrize("name", list(STRANGE))
def test_what_no_column_should_have_is_found_and_the_rest_still_told(sqlite_url: str, name: str) -> None:
    """SQLite keeps whatever it is given."""
    database = trail(sqlite_url, EVENTS)
    statement, expected = STRANGE[name]
    with tampering(database) as connection:
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql("UPDATE audit_events SET actor = 'eve' WHERE subject = 'order-7'")
    assert sorted(found(database)) == sorted([*expected, (7, "changed")])
    database.close()


def test_event_that_is_no_text_is_sealed_like_any_other(sqlite_url: str) -> None:
    database = trail(sqlite_url, 1)
    columns = "at, environment, event, subject, details, actor"
    with database.write() as connection:
        for value in ("CAST(x'ff' AS TEXT)", "'line' || char(10) || 'break'"):
            connection.exec_driver_sql(
                f"INSERT INTO audit_events ({columns}) VALUES ({', '.join([value] * columns.count(',') + [value])})"
            )
    add(database, 2, 2)
    assert seal(database) == 4
    assert verify(database).is_good
    database.close()


def test_many_bogus_checkpoints_hide_nothing(database: Database) -> None:
    with database.write() as connection:
        key = ec.generate_private_key(ec.SECP256R1())
        bogus = audit_checkpoints.signed(chain_end(connection), key, clock.now())
        for seq in range(EVENTS + 1, EVENTS + 1 + audit_verify.MAX_FINDINGS + 5):
            base.insert(connection, dataclasses.replace(bogus, seq=seq))
    with tampering(database) as connection:
        run(connection, "UPDATE audit_events SET subject = 'order-x' WHERE subject = 'order-4'")
    verdict = verify(database)
    kinds = Counter(finding.kind for finding in verdict.findings)
    assert kinds == {"signature": audit_verify.MAX_FINDINGS, "changed": 1}
    assert verdict.untold == {"signature": 5}
