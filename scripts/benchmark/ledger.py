"""What search, revocation, lists and issuance cost in a large ledger: `python -m scripts.benchmark.ledger --rows 9999`.

Fills a throwaway SQLite database, and measures in it: one thread, medians. No certificate is signed: what grows with
the table are its statements. All certificates of one issuer that are still valid are revoked, and listed.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from acme_ca.models import base
from acme_ca.models import certificate as ledger
from acme_ca.models import crl as models
from acme_ca.models.certificate import CERTIFICATES, Certificate, CertificateStatus
from acme_ca.models.certificate_term import TERMS, terms_of
from acme_ca.models.crl import Crl
from acme_ca.models.environment import EnvironmentKey
from acme_ca.models.prepared import Prepared
from acme_ca.models.selection import Selection, standing_at
from acme_ca.pki import ca, crl
from acme_ca.services import revocation

BATCH = 5_000  # rows in one transaction
HOSTS, ZONES, ACCOUNTS, KEYS = 50_000, 500, 20_000, 2_000
ROUNDS = 300
WARM = 20_000  # issuances after which what they need of the indexes is in memory, if there is enough
MOST_BATCHES = 300
DER = secrets.token_bytes(700)
EVIDENCE = secrets.token_bytes(350)


def line(number: int, age: timedelta) -> Certificate:
    """Return a line of the ledger: one name, three domains above it, an external key."""
    now = clock.now() - age
    host = random.randrange(HOSTS)  # noqa: S311 - a load, no secret
    return Certificate(
        id=base.first_id(now)[:13] + f"{secrets.randbits(52):013x}",
        serial=f"{secrets.randbits(127):034x}",
        environment="prod",
        account_id=f"{host % ACCOUNTS:026x}",
        order_id=secrets.token_hex(13),
        issuer_id=f"prod-{number % 2}",
        authority_key_id=b"a" * 20,
        status=CertificateStatus.ISSUED.value,
        profile=f"server-{number % 4}",
        policy_version="0" * 16,
        names=[f"dns:h{host}.z{host % ZONES}.example.com"],
        key_sha256=secrets.token_bytes(32),
        not_before=now,
        not_after=now + timedelta(hours=1),
        created_at=now,
        der=DER,
        eab_kid=f"kid{host % KEYS}",
        evidence=EVIDENCE,
    )


def fill(database: Database, rows: int) -> None:
    """Write lines as if one had been issued each 100 ms until now; indexes are made at the end, which is faster.

    That is done without a journal, by a connection of its own, and leaves the database closed.
    """
    adding = Prepared(insert(CERTIFICATES).inline(), list(CERTIFICATES.columns.keys()))
    with database.write() as connection:
        of_table = "FROM sqlite_master WHERE type = 'index' AND tbl_name = 'certificates' AND sql IS NOT NULL"
        indexes = connection.exec_driver_sql(f"SELECT name, sql {of_table}").fetchall()
        for name, _ in indexes:
            connection.exec_driver_sql(f"DROP INDEX {name}")
        base.insert(connection, EnvironmentKey(environment="prod", nonce_key=DER, created_at=clock.now(), longest=3600))
        connection.exec_driver_sql("CREATE TABLE unsorted (term, certificate_id)")
    for start in range(0, rows, BATCH):
        lines = [line(n, timedelta(seconds=(rows - n) / 10)) for n in range(start, min(rows, start + BATCH))]
        terms = [(term, one.id) for one in lines for term in terms_of(one.names, one.eab_kid, None, None, None)]
        with database.write() as connection:
            adding.change_many(connection, [{name: getattr(one, name) for name in one.columns} for one in lines])
            cast("Any", connection.connection.driver_connection).executemany(
                "INSERT INTO unsorted VALUES (?, ?)", terms
            )
    database.close()
    sort = f"INSERT INTO {TERMS.name} SELECT 'prod', term, certificate_id FROM unsorted ORDER BY term, certificate_id"  # noqa: S608 - a table's name
    before = ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = OFF", "PRAGMA cache_size = -1000000")
    driver = sqlite3.connect(str(database.url.database), isolation_level=None)
    for statement in (*before, sort, "DROP TABLE unsorted", *(sql for _, sql in indexes), "PRAGMA journal_mode = WAL"):
        driver.execute(statement)
    driver.close()


def searches() -> Iterator[tuple[str, Selection]]:
    """Yield selections, each of something else."""
    host = random.randrange(HOSTS)  # noqa: S311 - a load, no secret
    yield "name", Selection.of("prod", name=f"h{host}.z{host % ZONES}.example.com")
    yield "below a zone", Selection.of("prod", below=f"z{host % ZONES}.example.com")
    yield "below example.com", Selection.of("prod", below="example.com")
    yield "account", Selection.of("prod", account_id=f"{host % ACCOUNTS:026x}")
    yield "external key", Selection.of("prod", eab_kid=f"kid{host % KEYS}")
    yield "key", Selection.of("prod", key_sha256=secrets.token_hex(32))
    yield "serial", Selection.of("prod", serial=secrets.token_hex(16))
    yield "issuer", Selection.of("prod", issuer_id="prod-1")
    yield "profile", Selection.of("prod", profile="server-3")
    yield "time", Selection.of("prod", until=clock.now() - timedelta(seconds=random.randrange(100_000)))  # noqa: S311 - as above


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that something took."""
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def measure_searches(database: Database) -> dict[str, list[float]]:
    """Milliseconds of the first page of 100 of each search."""
    found: dict[str, list[float]] = {}
    for _ in range(30):
        for name, selection in searches():
            with database.read() as connection:
                statement = selection.lines().limit(100)
                found.setdefault(f"search by {name}", []).append(
                    timed(lambda s=statement, c=connection: base.find(c, Certificate, s))  # type: ignore[misc]  # bound at once
                )
    return found


def measure_changes(database: Database) -> dict[str, list[float]]:
    """Milliseconds of what an issuance adds, of counting, and of a certificate's revocation in a batch."""
    found: dict[str, list[float]] = {
        "issuance: line and terms, at first": [],
        "issuance: line alone, at first": [],
        "issuance: line and terms": [],
        "issuance: line alone": [],
    }
    for number in range(WARM + ROUNDS):
        one, other = line(number, timedelta()), line(number, timedelta())
        with database.write() as connection:
            whole = timed(lambda o=one, c=connection: ledger.add(c, o))  # type: ignore[misc]  # bound at once
            alone = timed(lambda o=other, c=connection: base.insert(c, o))  # type: ignore[misc]  # as above
        if number < ROUNDS or number >= WARM:
            when = ", at first" if number < ROUNDS else ""
            found[f"issuance: line and terms{when}"].append(whole)
            found[f"issuance: line alone{when}"].append(alone)
    now = clock.now()
    below = Selection.of("prod", below="example.com")
    with database.read() as connection:
        zone = Selection.of("prod", below="z7.example.com")
        for name, selection in (("count a zone", zone), ("count all", below)):
            living = selection.living(connection, now).count(standing_at(now))
            found[name] = [timed(lambda s=living: connection.scalar(s)) for _ in range(5)]  # type: ignore[misc]  # as above
    return found


def measure_revocation(database: Database) -> dict[str, list[float]]:
    """Milliseconds of a revoked certificate, of a transaction of 100 of them, and of the list that has them all."""
    found: dict[str, list[float]] = {"revocation of one": [], "revocation of 100": []}
    now, issuer = clock.now(), Selection.of("prod", issuer_id="prod-1")
    while len(found["revocation of 100"]) < MOST_BATCHES:
        started = time.perf_counter()
        with database.write(durable=True) as connection:
            living = issuer.living(connection, now).lines(standing_at(now)).limit(100)
            lines = base.find(connection, Certificate, living)
            for one in lines:
                found["revocation of one"].append(
                    timed(lambda o=one, c=connection: revocation.record(c, o, 4, now, by="uid:0"))  # type: ignore[misc]  # as above
                )
        found["revocation of 100"].append(1000 * (time.perf_counter() - started))
        if len(lines) < 100:  # noqa: PLR2004 - as above
            break
    return found


def measure_list(database: Database) -> dict[str, list[float]]:
    """Milliseconds to read what a list has, and to sign it with P-256."""
    now = clock.now()
    key = ec.generate_private_key(ec.SECP256R1())
    ends = now + timedelta(days=1)
    issuer = ca.make_root(key, common_name="prod-1", organization="test", not_before=now, not_after=ends)
    state = Crl(key="prod-1", environment="prod", issuer_id="prod-1", shard=None, due_at=now)
    revoked: list[crl.Revoked] = []

    def read() -> None:
        with database.read() as connection:
            found = models.revoked_since(connection, state, now - timedelta(days=1))
            revoked[:] = [crl.Revoked(int(serial, 16), at, reason) for serial, at, reason in found]

    def sign() -> None:
        crl.make(crl.CrlRequest(1, now, ends, revoked), issuer, key)

    reading = [timed(read) for _ in range(5)]
    return {f"list of {len(revoked)}: read": reading, f"list of {len(revoked)}: sign": [timed(sign) for _ in range(5)]}


def measured(database: Database) -> Iterator[tuple[str, list[float]]]:
    """Yield what is measured, each when the one before is printed."""
    for measure in (measure_searches, measure_changes, measure_revocation, measure_list):
        yield from measure(database).items()


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'ledger.db'}")
        upgrade(database)
        seconds = timed(lambda: fill(database, rows)) / 1000
        size = (Path(folder) / "ledger.db").stat().st_size / 2**20
        sys.stdout.write(f"{rows} rows in {seconds:.0f} s, {size:.0f} MiB\n")
        for name, times in measured(database):
            sys.stdout.write(f"{name:36} median {statistics.median(times):9.3f} ms  worst {max(times):9.3f} ms\n")
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
