"""What search, revocation and issuance cost in a large ledger: `python -m scripts.benchmark.ledger --rows 1000000`.

Fills a throwaway SQLite database, and measures in it: one thread, medians. Nothing is signed: what grows with the table
are its statements.
"""

from __future__ import annotations

import argparse
import random
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.migrations.upgrade import upgrade
from acme_ca.models import base
from acme_ca.models import certificate as ledger
from acme_ca.models.certificate import CERTIFICATES, Certificate, CertificateStatus
from acme_ca.models.certificate_term import TERMS, terms_of
from acme_ca.models.selection import Selection, standing_at
from acme_ca.services import revocation

BATCH = 5_000  # rows in one transaction
HOSTS, ZONES, ACCOUNTS, KEYS = 50_000, 500, 20_000, 2_000
ROUNDS = 300
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
    """Write lines as if one had been issued each 100 ms until now."""
    for start in range(0, rows, BATCH):
        lines = [line(n, timedelta(seconds=(rows - n) / 10)) for n in range(start, min(rows, start + BATCH))]
        terms = [
            {"environment": one.environment, "term": term, "certificate_id": one.id}
            for one in lines
            for term in terms_of(one.names, one.eab_kid, None, None, None)
        ]
        with database.write() as connection:
            connection.execute(
                insert(CERTIFICATES), [{name: getattr(one, name) for name in one.columns} for one in lines]
            )
            connection.execute(insert(TERMS), terms)


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
        "issuance: line and terms": [],
        "issuance: line alone": [],
        "revocation of one": [],
    }
    for number in range(ROUNDS):
        one, other = line(number, timedelta()), line(number, timedelta())
        with database.write() as connection:
            found["issuance: line and terms"].append(timed(lambda o=one, c=connection: ledger.add(c, o)))  # type: ignore[misc]  # bound at once
            found["issuance: line alone"].append(timed(lambda o=other, c=connection: base.insert(c, o)))  # type: ignore[misc]  # as above
    now = clock.now()
    below = Selection.of("prod", below="example.com")
    with database.read() as connection:
        zone = Selection.of("prod", below="z7.example.com")
        found["count a zone"] = [timed(lambda: connection.scalar(zone.count(standing_at(now))))]
        found["count all"] = [timed(lambda: connection.scalar(below.count(standing_at(now))))]
    with database.write(durable=True) as connection:
        lines = base.find(connection, Certificate, below.lines(standing_at(now)).limit(100))
        for one in lines:
            found["revocation of one"].append(timed(lambda o=one: revocation.record(connection, o, 4, now, by="uid:0")))  # type: ignore[misc]  # as above
    return found


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
        for name, times in {**measure_searches(database), **measure_changes(database)}.items():
            sys.stdout.write(f"{name:28} median {statistics.median(times):9.3f} ms  worst {max(times):9.3f} ms\n")
        database.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
