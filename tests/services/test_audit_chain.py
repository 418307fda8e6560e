"""The hash chain: every event has one place in it, and every way to tamper with it is found."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from acme_ca.db import AlreadyThereError, Database
from acme_ca.models.audit_chain import GENESIS, chain_end, link
from acme_ca.services import audit, audit_checkpoints, audit_seal, audit_verify
from tests.support.rows import change, select
from tests.support.trail import KEY, add, found, run, seal, sign, tampering, trail, verify

EVENTS = 10


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = trail(database_url, EVENTS)
    yield made
    made.close()


def seqs(database: Database) -> list[int]:
    return [row[0] for row in select(database, "SELECT seq FROM audit_seals ORDER BY seq")]


def test_untouched_trail_is_good(database: Database) -> None:
    verdict = verify(database)
    assert verdict.is_good, verdict.findings
    assert (verdict.events, verdict.checkpoints, verdict.unsealed, verdict.seq) == (EVENTS, 1, 0, EVENTS)


def test_the_hash_is_what_the_documentation_says(database: Database) -> None:
    """Made by hand, from the columns."""
    query = "SELECT id, environment, event, actor, account_id, subject FROM audit_events ORDER BY id LIMIT 1"
    identifier, environment, event, actor, account_id, subject = select(database, query)[0]
    with database.read() as connection:
        form = connection.exec_driver_sql("SELECT at FROM audit_events ORDER BY id LIMIT 1").scalar_one()
    time = form.replace(" ", "T") if isinstance(form, str) else f"{form.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    lines = [str(identifier), f"{time}Z", environment, event, actor, f"account {account_id}", subject, '{"number": 1}']
    expected = sha256(bytes(32) + "\n".join(lines).encode()).digest()
    assert bytes(select(database, "SELECT hash FROM audit_seals WHERE seq = 1")[0][0]) == expected


@pytest.mark.parametrize("table", ["audit_events", "audit_seals", "audit_checkpoints"])
def test_what_is_written_stays(database: Database, table: str) -> None:
    column = "subject" if table == "audit_events" else "hash"
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with pytest.raises((DBAPIError, AlreadyThereError)) as refused:
            change(database, statement)
        assert "append-only" in str(refused.value.__cause__ or refused.value)
    assert verify(database).is_good


TAMPERED = {
    "details": (["UPDATE audit_events SET details = '{\"number\"\\: 99}' WHERE subject = 'order-4'"], [(4, "changed")]),
    "a space": (["UPDATE audit_events SET details = '{\"number\"\\:4}' WHERE subject = 'order-4'"], [(4, "changed")]),
    "subject": (["UPDATE audit_events SET subject = 'order-x' WHERE subject = 'order-4'"], [(4, "changed")]),
    "actor": (["UPDATE audit_events SET actor = 'admin:eve' WHERE subject = 'order-4'"], [(4, "changed")]),
    "account": (["UPDATE audit_events SET account_id = NULL WHERE subject = 'order-4'"], [(4, "changed")]),
    "time": (["UPDATE audit_events SET at = '2020-01-01 00:00:00.000000' WHERE subject = 'order-4'"], [(4, "changed")]),
    "deleted event": (["DELETE FROM audit_events WHERE subject = 'order-4'"], [(4, "deleted")]),
    "deleted seal": (["DELETE FROM audit_seals WHERE seq = 4"], [(4, "gap"), (10, "unsealed")]),
    "deleted event and seal": (
        ["DELETE FROM audit_events WHERE subject = 'order-4'", "DELETE FROM audit_seals WHERE seq = 4"],
        [(4, "gap")],
    ),
    "deleted first event and seal": (
        ["DELETE FROM audit_events WHERE subject = 'order-1'", "DELETE FROM audit_seals WHERE seq = 1"],
        [(1, "gap")],
    ),
    "seal": (["UPDATE audit_seals SET hash = :zeros WHERE seq = 4"], [(4, "changed"), (5, "changed")]),
    "swapped events": (
        [
            "UPDATE audit_events SET id = 1004 WHERE subject = 'order-4'",
            "UPDATE audit_events SET id = :four WHERE subject = 'order-5'",
            "UPDATE audit_events SET id = :five WHERE subject = 'order-4'",
        ],
        [(4, "changed"), (5, "changed")],
    ),
    "swapped seals": (
        [
            "UPDATE audit_seals SET seq = 1004 WHERE seq = 4",
            "UPDATE audit_seals SET seq = 4 WHERE seq = 5",
            "UPDATE audit_seals SET seq = 5 WHERE seq = 1004",
        ],
        [(4, "changed"), (5, "changed"), (6, "changed")],
    ),
    "tail of events": (["DELETE FROM audit_events WHERE id > :five"], [(seq, "deleted") for seq in range(6, 11)]),
    "tail of seals": (
        ["DELETE FROM audit_seals WHERE seq > 8"],
        [(8, "unsealed"), (8, "unsealed"), (9, "truncated"), (10, "truncated")],
    ),
    "tail of events and seals": (
        ["DELETE FROM audit_events WHERE id > :eight", "DELETE FROM audit_seals WHERE seq > 8"],
        [(9, "truncated"), (10, "truncated")],
    ),
    "tail of everything": (
        [
            "DELETE FROM audit_events WHERE id > :eight",
            "DELETE FROM audit_seals WHERE seq > 8",
            "DELETE FROM audit_checkpoints",
        ],
        [(9, "truncated")],
    ),
    "end": (["UPDATE audit_chain_ends SET hash = :zeros"], [(10, "end")]),
    "end that lags behind": (["UPDATE audit_chain_ends SET seq = 8"], [(10, "end")]),
    "end of sealed events": (["UPDATE audit_chain_ends SET last_id = :four"], [(10, "end")]),
    "signed time": (["UPDATE audit_checkpoints SET signed_at = '2020-01-01 00:00:00.000000'"], [(10, "signature")]),
    "signed hash": (["UPDATE audit_checkpoints SET hash = :zeros"], [(10, "signature")]),
    "signing key": (["UPDATE audit_checkpoints SET key_id = 'another'"], [(10, "signature")]),
}


@pytest.mark.parametrize("name", list(TAMPERED))
def test_tampering_is_found_at_its_place(database: Database, name: str) -> None:
    statements, expected = TAMPERED[name]
    ids = [row[0] for row in select(database, "SELECT id FROM audit_events ORDER BY id")]
    with tampering(database) as connection:
        for statement in statements:
            run(connection, statement, four=ids[3], five=ids[4], eight=ids[7], zeros=bytes(32))
    assert found(database) == expected


def forge(database: Database, kept: int) -> None:
    """Cut everything after a place off and seal what is left anew, as somebody does who knows how it works."""
    with tampering(database) as connection:
        ids = list(connection.scalars(text("SELECT id FROM audit_events ORDER BY id")))
        connection.execute(text("DELETE FROM audit_seals"))
        connection.execute(text("DELETE FROM audit_terms"))
        connection.execute(text("DELETE FROM audit_events WHERE id > :last"), {"last": ids[kept - 1]})
        connection.execute(
            text("UPDATE audit_chain_ends SET seq = 0, last_id = 0, terms = 0, hash = :zeros, gaps = '{}'"),
            {"zeros": bytes(32)},
        )
    seal(database)


def test_whole_chain_made_anew_is_found_by_its_checkpoint(database: Database) -> None:
    with tampering(database) as connection:
        run(connection, "UPDATE audit_events SET subject = 'forged' WHERE subject = 'order-4'")
    forge(database, EVENTS)
    assert found(database) == [(EVENTS, "rewritten")]


def test_chain_that_was_cut_off_with_its_checkpoints_is_found_by_one_that_was_exported(database: Database) -> None:
    with database.read() as connection:
        kept = audit_checkpoints.last_checkpoint(connection, audit_checkpoints.key_id_of(KEY), EVENTS)
    assert kept is not None
    with tampering(database) as connection:
        run(connection, "DELETE FROM audit_checkpoints")
    forge(database, 5)
    assert found(database) == []
    kept = audit_checkpoints.from_document(json.dumps(audit_checkpoints.document(kept)))
    assert found(database, kept) == [(EVENTS, "truncated")]


def test_checkpoint_of_another_key_is_forged(database: Database) -> None:
    add(database, 1, EVENTS + 1)
    seal(database)
    sign(database, ec.generate_private_key(ec.SECP256R1()))
    assert found(database) == [(EVENTS + 1, "signature")]


def test_trail_made_anew_with_all_that_speaks_of_it_lacks_its_signatures(database: Database) -> None:
    """Nobody but who has the key can sign; how long the worker waits with it is known."""
    often, seldom = audit_verify.Rhythm(10, 3600), audit_verify.Rhythm(10, 30 * 86_400)

    def unsigned(rhythm: audit_verify.Rhythm) -> list[int]:
        verdict = audit_verify.verify(database, [KEY.public_key()], rhythm=rhythm)
        return [finding.seq for finding in verdict.findings if finding.kind == "unsigned"]

    with tampering(database) as connection:
        run(connection, "UPDATE audit_events SET at = '2026-01-01 00:00:00.000000' WHERE subject < 'order-5'")
        run(connection, "UPDATE audit_events SET at = '2026-01-09 00:00:00.000000' WHERE subject >= 'order-5'")
        run(connection, "DELETE FROM audit_checkpoints")
    forge(database, EVENTS)
    assert unsigned(often) == [1]
    assert unsigned(seldom) == []
    sign(database)
    assert unsigned(often) == []


def test_chain_without_its_end_cannot_be_verified(database: Database) -> None:
    change(database, "DELETE FROM audit_chain_ends")
    with pytest.raises(LookupError):
        verify(database)


def test_sealing_again_seals_nothing(database: Database) -> None:
    assert seal(database) == 0
    assert seqs(database) == list(range(1, EVENTS + 1))


def test_late_commit_is_sealed_at_the_end(postgres_url: str) -> None:
    """With PostgreSQL a slower transaction commits a smaller identifier later."""
    database = trail(postgres_url)
    slow, done = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with database.write() as connection:
            audit.record(connection, "test", "order.created", "slow")
            slow.set()
            assert done.wait(20)

    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert slow.wait(20)
    add(database, 2)
    assert seal(database) == 2
    with database.read() as connection:
        assert list(chain_end(connection).gaps) == ["1"]
    assert verify(database).is_good
    done.set()
    thread.join(20)
    assert seal(database) == 1
    with database.read() as connection:
        assert chain_end(connection).gaps == {}
    assert select(database, "SELECT event_id FROM audit_seals ORDER BY seq") == [(2,), (3,), (1,)]
    assert verify(database).is_good
    database.close()


def test_event_that_was_passed_by_is_sealed_in_the_end(database: Database) -> None:
    """As after the recorded end was changed, or the sealer had given a gap up."""
    add(database, 3, EVENTS + 1)
    change(database, "UPDATE audit_chain_ends SET last_id = last_id + 3")
    assert seal(database) == 0
    assert [kind for _, kind in found(database)] == ["unsealed"] * 3
    assert audit_seal.seal_forgotten(database, 0) == 0
    assert verify(database).is_good
    assert seqs(database) == list(range(1, EVENTS + 4))
    assert audit_seal.seal_forgotten(database, 0) == 0


def test_rolled_back_event_holds_nothing_up(postgres_url: str) -> None:
    database = trail(postgres_url)
    with suppress(ZeroDivisionError), database.write() as connection:
        audit.record(connection, "test", "order.created", "undone")
        raise ZeroDivisionError
    add(database, 3)
    assert seal(database) == 3
    add(database, 1, 4)
    assert seal(database) == 1
    assert verify(database).is_good
    database.close()


def test_many_writers_and_sealers_leave_one_chain(database_url: str) -> None:
    """Writers in threads and with connections of their own, as several hosts have them; sealers all the while."""
    trail(database_url).close()
    ended = threading.Event()

    def write(writer: int) -> None:
        own = Database(database_url)
        for number in range(20):
            add(own, 2, writer * 1000 + number * 2)
        own.close()

    def keep_sealing() -> None:
        own = Database(database_url)
        while not ended.wait(0.005):
            audit_seal.seal_batch(own)
        own.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    sealers = [threading.Thread(target=keep_sealing) for _ in range(2)]
    for thread in (*sealers, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    ended.set()
    for thread in sealers:
        thread.join(60)
    database = Database(database_url)
    seal(database)
    assert seqs(database) == list(range(1, 161))
    verdict = verify(database)
    assert (verdict.findings, verdict.events, verdict.unsealed) == ([], 160, 0)
    database.close()


TEXTS = st.text(max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(subject=TEXTS, actor=TEXTS, value=st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXTS, st.lists))
def test_whatever_is_recorded_is_one_event_of_eight_lines(
    database: Database, subject: str, actor: str, value: object
) -> None:
    with database.write() as connection:
        audit.record(connection, "test", "order.created", subject, by=actor, value=value, names=[subject, value])
    with database.read() as connection:
        form = audit_seal._found(connection, chain_end(connection), 1)[0][1]
    assert form.count(b"\n") == 7
    assert seal(database) == 1
    assert verify(database).is_good


@given(events=st.lists(st.text(min_size=1), min_size=2, unique=True), data=st.data())
def test_no_other_order_of_events_has_the_same_hash(events: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(events).filter(lambda drawn: drawn != events))

    def chain(forms: list[str]) -> bytes:
        end = GENESIS
        for form in forms:
            end = link(end, form.encode())
        return end

    assert chain(events) != chain(other)
    assert chain(events) != chain(events[:-1])
