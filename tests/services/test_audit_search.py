"""Searches in the audit trail: sealed events by their terms, the others by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from acme_ca.db import Database
from acme_ca.services import audit, audit_search
from acme_ca.services.audit_search import Wanted
from tests.support.trail import seal, trail

ACCOUNT, ORDER, OTHER = "a" * 26, "b" * 26, "c" * 26
CONDITIONS: list[tuple[dict[str, str], list[str]]] = [
    ({"account": ACCOUNT}, ["account.revoked", "certificate.issued", "order.created", "account.created"]),
    ({"subject": ORDER}, ["order.created"]),
    ({"subject": "*"}, ["key.blocked"]),
    ({"actor": "admin:eve"}, ["key.blocked", "account.revoked"]),
    ({"actor": ACCOUNT}, ["certificate.issued", "order.created", "account.created"]),
    ({"actor": "admin:eve", "account": ACCOUNT}, ["account.revoked"]),
    ({"about": ACCOUNT}, ["account.revoked", "certificate.issued", "order.created", "account.created"]),
    ({"about": "admin:eve"}, ["key.blocked", "account.revoked"]),
    ({"actor": "system"}, ["crl.published"]),
    ({"about": ACCOUNT, "event": "order"}, ["order.created"]),
    ({"about": "nobody"}, []),
]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = trail(database_url)
    with made.write() as connection:
        audit.record(connection, "test", "account.created", ACCOUNT, account_id=ACCOUNT)
        audit.record(connection, "test", "order.created", ORDER, account_id=ACCOUNT, names=["dns:a.test.localhost"])
        audit.record(connection, "test", "certificate.issued", "c1", account_id=ACCOUNT, order=ORDER, serial="0f")
        audit.record(connection, "test", "account.revoked", ACCOUNT, account_id=ACCOUNT, by="admin:eve")
        audit.record(connection, "", "key.blocked", "*", by="admin:eve")
        audit.record(connection, "test", "crl.published", "test-1")
        audit.record(connection, "prod", "order.created", OTHER, account_id=OTHER)
    yield made
    made.close()


def kinds(database: Database, **conditions: Any) -> list[str]:  # noqa: ANN401 - a condition's
    return [found.event for found in audit_search.search(database, Wanted(**conditions)).events]


@pytest.mark.parametrize(("conditions", "expected"), CONDITIONS, ids=str)
def test_events_are_found_before_and_after_they_are_sealed(
    database: Database, conditions: dict[str, str], expected: list[str]
) -> None:
    assert kinds(database, **conditions) == expected
    seal(database)
    assert kinds(database, **conditions) == expected


def test_sealed_events_are_about_their_order_too(database: Database) -> None:
    seal(database)
    assert kinds(database, about=ORDER) == ["certificate.issued", "order.created"]
    assert kinds(database, serial="0F") == ["certificate.issued"]
    assert kinds(database, name="A.test.localhost") == ["order.created"]


def test_pages_go_on_from_what_is_not_sealed_to_what_is(database: Database) -> None:
    seal(database)
    with database.write() as connection:
        audit.record(connection, "test", "order.created", OTHER, account_id=ACCOUNT)
        audit.record(connection, "test", "order.created", OTHER, account_id=ACCOUNT)
    seen, after = [], None
    while True:
        page = audit_search.search(database, Wanted(account=ACCOUNT, environment="test"), after=after, limit=1)
        seen += [found.event for found in page.events]
        if (after := page.after) is None:
            break
    assert seen == ["order.created"] * 2 + ["account.revoked", "certificate.issued", "order.created", "account.created"]


@pytest.mark.parametrize("more", [{}, {"event": "order.created", "environment": "test"}, {"event": "order"}], ids=str)
@pytest.mark.parametrize("condition", ["account", "subject", "actor", "about", "name", "serial"])
def test_searches_walk_the_newest_rows_of_their_term(tmp_path: Path, condition: str, more: dict[str, str]) -> None:
    database = trail(f"sqlite:///{tmp_path / 'a.db'}", 300)
    statements: list[tuple[str, Any]] = []

    def keep(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:  # noqa: ANN401 - the driver's
        statements.append((statement, parameters))

    with database.read() as connection:
        event.listen(connection.engine, "before_cursor_execute", keep)
        kinds(database, **{condition: ACCOUNT}, **more)
        event.remove(connection.engine, "before_cursor_execute", keep)
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statements[-1][0], statements[-1][1]).fetchall()
    database.close()
    steps = [row[-1] for row in plan]
    assert steps[0].startswith("SEARCH audit_terms USING PRIMARY KEY (term=?"), steps
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step], steps
