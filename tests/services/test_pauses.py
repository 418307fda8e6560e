"""Zombie control, and accounts as operators see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.config.pause import Pause
from acme_ca.models import base
from acme_ca.models import pause as models
from acme_ca.models.account import AccountStatus
from acme_ca.problems import BadRevocationReason, Malformed, NotFound
from acme_ca.services import account_search, pauses, revocations
from acme_ca.services.account_search import Wanted
from tests.support import ledger_lines as ledger
from tests.support import rows
from tests.support.acme_client import URN, AcmeClient, body_of
from tests.support.ca import RunningCa, start_ca, with_environment
from tests.support.issue import issue
from tests.support.ledger_lines import line
from tests.support.web import WebServer

NAME = "a.test.localhost"
BY = "admin:alice"
MakeCa = Callable[..., RunningCa]


@pytest.fixture
def make_ca(service_settings: Config, tmp_path: Path, database_url: str, website: WebServer) -> Iterator[MakeCa]:
    """Return a CA that pauses as it is told to."""
    running: list[RunningCa] = []

    def make(**pause: Any) -> RunningCa:  # noqa: ANN401 - settings of any kind
        network = service_settings.environment["test"].validation.model_copy(update={"http_port": website.port})
        settings = with_environment(service_settings, "test", validation=network, pause=Pause(**pause))
        running.append(start_ca(settings, database_url, tmp_path / "state"))
        return running[-1]

    yield make
    for ca in running:
        ca.close()


def account(client: AcmeClient) -> str:
    return rows.id_of(str(client.signer.kid))


def test_a_mark_is_not_ended_while_a_pause_begins(ca: RunningCa) -> None:
    """Also of an account that is marked already, where there is nothing to change."""
    account_id, now = account(ca.client().register()), clock.now()
    row = models.Pause.of("test", account_id, f"dns:{NAME}", now)
    row.begin(now + timedelta(hours=1), "failures")

    def end() -> None:
        with ca.authority.database.write() as connection:
            models.unmark_unpaused(connection, [account_id])

    ending = Thread(target=end)
    with ca.authority.database.write() as connection:
        models.mark_account(connection, account_id, paused=True)
    with ca.authority.database.write() as connection:
        models.mark_account(connection, account_id, paused=True)
        ending.start()
        ending.join(0.5)
        assert ending.is_alive(), "it waits"
        base.insert(connection, row)
    ending.join(30)
    (found,) = rows.select(ca.authority.database, "SELECT paused FROM accounts WHERE id = :id", id=account_id)
    assert found.paused


def fail(client: AcmeClient, website: WebServer, name: str = NAME) -> None:
    """Order a name and give a wrong answer."""
    _, order = client.order([name])
    challenge = client.challenge(order["authorizations"][0])
    website.token(challenge["token"], "wrong")
    answer = body_of(client.ok(challenge["url"], {}))
    while answer["status"] == "processing":
        answer = client.get(challenge["url"])
    assert answer["status"] == "invalid"


def order_refused(client: AcmeClient, name: str = NAME) -> tuple[str, int]:
    """The detail of the refusal, and Retry-After."""
    answer = client.post(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": name}]})
    assert answer.status_code == 429, answer.text
    body = body_of(answer)
    assert body["type"] == f"{URN}rateLimited"
    return body["detail"], int(answer.headers["Retry-After"])


def test_who_keeps_failing_has_to_wait_until_unpaused(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(failures=3, duration=600)
    client, other = ca.client().register(), ca.client().register()
    for _ in range(3):
        fail(client, website)
    detail, retry_after = order_refused(client)
    assert 590 <= retry_after <= 600
    assert "3 validations in a row failed" in detail
    assert f"pause of account {account(client)} in environment test" in detail
    client.order(["b.test.localhost"])
    other.order([NAME])
    (pause,) = pauses.page(ca.authority, "test").pauses
    assert (pause.account_id, pause.name, pause.failures) == (account(client), f"dns:{NAME}", 3)
    assert pauses.get(ca.authority, "test", pause.id) == pause
    with pytest.raises(NotFound):
        pauses.get(ca.authority, "prod", pause.id)
    ended = pauses.unpause(ca.authority, "test", account(client), name=f"dns:{NAME}", by=BY)
    assert [one.id for one in ended] == [pause.id]
    fail(client, website)
    client.order([NAME])
    for unknown in (account(client), "nothing"):
        with pytest.raises(NotFound):
            pauses.unpause(ca.authority, "test", unknown, by=BY)
    query = "SELECT event FROM audit_events WHERE event LIKE 'pause.%' ORDER BY id"
    assert [event.event for event in rows.select(ca.authority.database, query)] == ["pause.begun", "pause.ended"]
    assert rows.select(ca.authority.database, "SELECT id FROM accounts WHERE paused") == []


def test_success_in_between_counts(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(failures=3)
    client = ca.client().register()
    for _ in range(2):
        fail(client, website)
    issue(client, website, [NAME])
    url = client.order([NAME])[1]["authorizations"][0]
    client.ok(url, {"status": "deactivated"})
    for _ in range(2):
        fail(client, website)
    client.order([NAME])
    fail(client, website)
    assert "3 validations in a row" in order_refused(client)[0]


def test_pause_ends_by_itself_and_is_forgotten(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(failures=1, duration=60, forgotten_after=60)
    client = ca.client().register()
    fail(client, website)
    order_refused(client)
    assert pauses.sweep(ca.authority) == 0
    rows.change(ca.authority.database, "UPDATE pauses SET paused_until = :then", then=rows.LONG_AGO)
    client.order([NAME])
    assert pauses.page(ca.authority, "test").pauses == []
    rows.change(ca.authority.database, "UPDATE pauses SET expires_at = :then", then=rows.LONG_AGO)
    assert pauses.sweep(ca.authority) == 1
    assert rows.select(ca.authority.database, "SELECT id FROM pauses") == []
    assert rows.select(ca.authority.database, "SELECT id FROM accounts WHERE paused") == []


def test_without_a_bound_nobody_is_paused(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(failures=0)
    client = ca.client().register()
    for _ in range(3):
        fail(client, website)
    assert rows.select(ca.authority.database, "SELECT id FROM pauses") == []


def test_who_renews_far_too_often_has_to_wait(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(renewals=2, duration=300)
    client = ca.client().register()
    for _ in range(2):
        issue(client, website, [NAME])
    detail, retry_after = order_refused(client)
    assert "far more often" in detail
    assert 290 <= retry_after <= 300
    issue(client, website, ["b.test.localhost"])
    pauses.unpause(ca.authority, "test", account(client), by=BY)
    issue(client, website, [NAME])


def test_a_replacement_that_is_not_honoured_hides_no_renewal(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(renewals=2, duration=300)
    client = ca.client().register()
    for _ in range(2):
        issue(client, website, [NAME])
    answer = client.post(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": NAME}], "replaces": "AA.AQ"})
    assert (answer.status_code, "far more often" in body_of(answer)["detail"]) == (429, True)


class TestAccounts:
    def test_are_found_by_what_they_are(self, ca: RunningCa) -> None:
        clients = [ca.client().register() for _ in range(4)]
        ids = [account(client) for client in clients]
        database = ca.authority.database
        rows.change(database, "UPDATE accounts SET eab_kid = 'kid', eab_label = 'label' WHERE id = :id", id=ids[0])
        clients[1].ok(str(clients[1].signer.kid), {"status": "deactivated"})
        now = clock.now()
        for wanted, found in (
            (Wanted(environment="test"), ids[::-1]),
            (Wanted(environment="prod"), []),
            (Wanted(environment="test", eab_kid="kid"), ids[:1]),
            (Wanted(environment="test", eab_label="label"), ids[:1]),
            (Wanted(environment="test", thumbprint=clients[2].signer.thumbprint), ids[2:3]),
            (Wanted(environment="test", status=AccountStatus.DEACTIVATED), ids[1:2]),
            (Wanted(environment="test", status=AccountStatus.VALID), [ids[3], ids[2], ids[0]]),
            (Wanted(environment="test", until=now), ids[::-1]),
            (Wanted(environment="test", since=now), []),
            (Wanted(environment="test", subject="ns/web"), []),
        ):
            page = account_search.search(ca.authority, wanted)
            assert [one.id for one in page.accounts] == found, wanted
        first = account_search.search(ca.authority, Wanted(environment="test"), limit=3)
        second = account_search.search(ca.authority, Wanted(environment="test"), limit=3, after=first.after)
        assert [one.id for one in (*first.accounts, *second.accounts)] == ids[::-1]

    def test_end_with_their_certificates(self, ca: RunningCa, website: WebServer) -> None:
        client, other = ca.client().register(), ca.client().register()
        issue(client, website, [NAME])
        issue(client, website, ["b.test.localhost"])
        issue(other, website, ["c.test.localhost"])
        ledger.put(ca.authority.database, line(account_id=account(client), created_at=clock.now() - timedelta(days=1)))
        detail = account_search.detail(ca.authority, "test", account(client))
        assert (detail.certificates, detail.valid_certificates, detail.orders) == (3, 2, 0)
        with pytest.raises(BadRevocationReason):
            account_search.end(ca.authority, "test", account(client), by=BY, revoke=6)
        assert account_search.detail(ca.authority, "test", account(client)).account.status == "valid"
        ended, revocation = account_search.end(ca.authority, "test", account(client), by=BY, revoke=5)
        assert revocation is not None
        assert (ended.status, revocation.status, revocation.revoked) == ("revoked", "finished", 2)
        assert len(ledger.revoked(ca.authority.database)) == 2
        assert client.refused(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": NAME}]})[2] == 401
        again, revocation = account_search.end(ca.authority, "test", account(client), by=BY, revoke=5)
        assert revocation is not None
        assert (again.status, revocation.total) == ("revoked", 0)
        assert account_search.end(ca.authority, "test", account(other), by=BY)[1] is None
        assert len(revocations.page(ca.authority, "test").revocations) == 2

    def test_have_a_note(self, ca: RunningCa) -> None:
        client = ca.client().register()
        account_search.annotate(ca.authority, "test", account(client), "the build hosts", by=BY)
        assert account_search.detail(ca.authority, "test", account(client)).account.note == "the build hosts"
        account_search.annotate(ca.authority, "test", account(client), None, by=BY)
        assert account_search.detail(ca.authority, "test", account(client)).account.note is None
        with pytest.raises(Malformed, match="note"):
            account_search.annotate(ca.authority, "test", account(client), "x" * 2001, by=BY)

    def test_of_other_environments_are_not_found(self, ca: RunningCa) -> None:
        client = ca.client().register()
        for environment, key in (("prod", account(client)), ("test", "nothing")):
            with pytest.raises(NotFound):
                account_search.detail(ca.authority, environment, key)
            with pytest.raises(NotFound):
                account_search.end(ca.authority, environment, key, by=BY)
            with pytest.raises(NotFound):
                account_search.annotate(ca.authority, environment, key, "x", by=BY)
