"""The inventory counts what is valid, by what it is made of: as the ledger says, and of old lines as the DER does."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from acme_ca import clock
from acme_ca.models.certificate import CERTIFICATES, Certificate, CertificateStatus
from acme_ca.models.selection import Selection
from acme_ca.problems import NotFound
from acme_ca.services import inventory
from acme_ca.services.inventory import UNKNOWN
from tests.support import ledger
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.ledger_lines import line, put
from tests.support.web import WebServer

NAME = "a.test.localhost"
TEST = Selection(environment="test")


def counts(ca: RunningCa, selection: Selection = TEST) -> dict[inventory.Kind, int]:
    _, found = inventory.take(ca.authority, selection)
    return {one.kind: one.count for one in found}


def test_what_is_issued_is_counted(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    for _ in range(2):
        issue(client, website, [NAME])
    issue(client, website, [NAME], profile="client-1h")
    key, signature = "ec-p256", "ecdsa-sha256"
    assert counts(ca) == {
        ("test-1", "client-1h", key, signature): 1,
        ("test-1", "server-1h", key, signature): 2,
    }
    assert counts(ca, Selection(environment="test", profile="client-1h")) == {
        ("test-1", "client-1h", key, signature): 1,
    }
    assert counts(ca, Selection(environment="prod")) == {}


def test_lines_from_before_are_read(ca: RunningCa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "BATCH", 2)  # so that there are several
    old = [ledger.issue(ca.authority) for _ in range(3)]
    assert {one.key_type for one in old} == {None}
    put(ca.authority.database, line(der=b"no certificate"), line(key_type="ec-p256", signature="ecdsa-sha256"))
    assert counts(ca) == {
        ("test-1", "server-7d", "ec-p256", "ecdsa-sha256"): 3,
        ("test-1", "server-1h", UNKNOWN, UNKNOWN): 1,
        ("test-1", "server-1h", "ec-p256", "ecdsa-sha256"): 1,
    }
    _, found = inventory.take(ca.authority, Selection(environment="test", profile="server-7d"))
    assert (found[0].earliest, found[0].latest) == (
        min(one.not_after for one in old),
        max(one.not_after for one in old),
    )


def test_an_environment_that_is_not_there(ca: RunningCa) -> None:
    with pytest.raises(NotFound, match="there is no environment 'none'"):
        inventory.take(ca.authority, Selection(environment="none"))


LINES = st.fixed_dictionaries(
    {
        "issuer_id": st.sampled_from(["test-1", "test-2"]),
        "profile": st.sampled_from(["server-1h", "client-1h"]),
        "key_type": st.sampled_from(["ec-p256", "ml-dsa-65"]),
        "signature": st.sampled_from(["ecdsa-sha256", "rsa-pss-sha256"]),
        "minutes": st.integers(-30, 30).filter(bool),
        "status": st.sampled_from([one.value for one in CertificateStatus]),
        "is_revoked": st.booleans(),
        "environment": st.sampled_from(["test", "dev"]),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(drawn=st.lists(LINES, max_size=12))
def test_what_is_not_valid_is_not_counted(ca: RunningCa, drawn: list[dict[str, Any]]) -> None:
    now = clock.now()
    with ca.authority.database.write() as connection:
        connection.execute(delete(CERTIFICATES))
    made = [made_line(one, number) for number, one in enumerate(drawn)]
    put(ca.authority.database, *made)
    valid = [
        one
        for one in made
        if (one.status, one.revoked_at, one.environment) == ("issued", None, "test") and one.not_after > now
    ]
    kinds = [(one.issuer_id, one.profile, str(one.key_type), str(one.signature)) for one in valid]
    as_of, found = inventory.take(ca.authority, TEST)
    assert as_of >= now
    assert {one.kind: one.count for one in found} == Counter(kinds)
    for one in found:
        ends = [each.not_after for each, kind in zip(valid, kinds, strict=True) if kind == one.kind]
        assert (one.earliest, one.latest) == (min(ends), max(ends))


def made_line(drawn: dict[str, Any], number: int) -> Certificate:
    """A line that was claimed forty minutes ago."""
    minutes, is_revoked = drawn["minutes"], drawn["is_revoked"]
    changes = {name: value for name, value in drawn.items() if name not in {"minutes", "is_revoked"}}
    now = clock.now().replace(microsecond=0)
    return line(
        **changes,
        created_at=now - timedelta(minutes=40, seconds=number),
        not_after=now + timedelta(minutes=minutes),
        revoked_at=now - timedelta(minutes=1) if is_revoked else None,
    )
