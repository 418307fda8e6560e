"""The PostgreSQL server of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.support.postgres import Postgres


def test_each_test_has_a_database_of_its_own(postgres_url: str, postgres: Postgres) -> None:
    other = postgres.new_database()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(other) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_a_commit_is_on_disk(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        settings = connection.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        assert settings.fetchone() == ("on", "on")
