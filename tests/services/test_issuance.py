"""Issuances that are taken over."""

from __future__ import annotations

from pathlib import Path

from acme_ca import config
from acme_ca.services import issuance
from tests.support import rows
from tests.support.ca import make_ca_files, start_ca


def test_orders_of_an_environment_that_is_gone_are_in_nobodys_way(tmp_path: Path, sqlite_url: str) -> None:
    """They were being processed when the operators took the environment out of the configuration."""
    settings = config.load(make_ca_files(tmp_path / "ca"))
    before = start_ca(settings, sqlite_url, tmp_path / "state")
    gone, kept = before.client("prod").register(), before.client("test").register()
    for number in range(issuance.DUE_BATCH):
        gone.order([f"n{number}.prod.localhost"])
    url, _ = kept.order(["a.test.localhost"])
    before.close()
    only_test = settings.model_copy(update={"environment": {"test": settings.environment["test"]}})
    after = start_ca(only_test, sqlite_url, tmp_path / "state")
    rows.change(
        after.authority.database,
        "UPDATE orders SET status = 'processing', due_at = :then",
        then=rows.LONG_AGO,
    )
    assert issuance.resume_due(after.authority) == 1
    assert issuance.resume_due(after.authority) == 0
    found = rows.select(after.authority.database, "SELECT status FROM orders WHERE id = :id", id=rows.id_of(url))
    assert [tuple(row) for row in found] == [("invalid",)]
    after.close()
