"""An audit trail of the test's own, and the ways to tamper with it that a person with the database has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, text

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from acme_ca.models import base
from acme_ca.models.audit_chain import Checkpoint, chain_end
from acme_ca.services import audit, audit_checkpoints, audit_seal, audit_verify
from acme_ca.services.audit_verify import Verdict

KEY = ec.generate_private_key(ec.SECP256R1())
TABLES = ("audit_events", "audit_seals", "audit_checkpoints", "audit_terms")


def trail(url: str, events: int = 0) -> Database:
    """Return a migrated database with so many sealed events and a checkpoint of them."""
    database = Database(url)
    upgrade(database)
    if events:
        add(database, events)
        seal(database)
        sign(database)
    return database


def add(database: Database, events: int, first: int = 1) -> None:
    """Record events in one transaction."""
    with database.write() as connection:
        for number in range(first, first + events):
            audit.record(connection, "test", "order.created", f"order-{number}", account_id="a" * 26, number=number)


def seal(database: Database) -> int:
    """Seal everything; return how many events were."""
    sealed = 0
    while batch := audit_seal.seal_batch(database):
        sealed += batch
    return sealed


def sign(database: Database, key: ec.EllipticCurvePrivateKey = KEY) -> None:
    """Sign a checkpoint of the chain as it is."""
    with database.write() as connection:
        base.insert(connection, audit_checkpoints.signed(chain_end(connection), key, clock.now()))


def verify(database: Database, *kept: Checkpoint) -> Verdict:
    """Verify with the trail's own key."""
    return audit_verify.verify(database, [KEY.public_key()], kept)


def found(database: Database, *kept: Checkpoint) -> list[tuple[int, str]]:
    """What verification finds: places and kinds."""
    return [(finding.seq, finding.kind) for finding in verify(database, *kept).findings]


@contextmanager
def tampering(database: Database) -> Iterator[Connection]:
    """A transaction of somebody who may do anything: the triggers are gone for as long as it takes."""
    with database.write() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        triggers: list[str] = []
        if is_postgresql:
            for table in TABLES:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        else:
            rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).fetchall()
            triggers = [row[1] for row in rows]
            for row in rows:
                connection.execute(text(f"DROP TRIGGER {row[0]}"))
        yield connection
        for trigger in triggers:
            connection.exec_driver_sql(trigger)
        if is_postgresql:
            for table in TABLES:
                connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def run(connection: Connection, statement: str, **values: object) -> None:
    """Execute a statement that has to change something, with those of the values that it names."""
    used = {name: value for name, value in values.items() if f":{name}" in statement}
    assert connection.execute(text(statement), used).rowcount > 0, statement
