"""Accounts and their pauses over HTTP."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from acme_ca import clock
from acme_ca.models import base
from acme_ca.models.account import Account
from acme_ca.models.order import Order
from acme_ca.models.pause import Pause
from tests.admin.conftest import Api
from tests.support import ledger_lines as ledger

ACCOUNTS = "/environments/test/accounts"
PAUSES = "/environments/test/pauses"


def account(api: Api, **changes: Any) -> str:  # noqa: ANN401 - columns
    """An account of the environment `test`, and its id."""
    values: dict[str, Any] = {"environment": "test", "thumbprint": secrets.token_urlsafe(32), "jwk": {}, "contact": []}
    made = Account(**{**values, "created_at": clock.now(), **changes})
    with api.ca.database.write() as connection:
        base.insert(connection, made)
    return made.id


def order(api: Api, account_id: str, status: str, *, expires_in: timedelta = timedelta(hours=1)) -> None:
    now = clock.now()
    with api.ca.database.write() as connection:
        base.insert(
            connection,
            Order(
                environment="test",
                account_id=account_id,
                status=status,
                identifiers=[],
                authorization_ids=[],
                profile="server-1h",
                created_at=now,
                expires_at=now + expires_in,
            ),
        )


def pause(api: Api, account_id: str, name: str = "dns:a.test.localhost") -> str:
    now = clock.now()
    made = Pause.of("test", account_id, name, now)
    made.begin(now + timedelta(hours=1), "failures")
    with api.ca.database.write() as connection:
        base.insert(connection, made)
    return made.id


def test_a_dry_run_tells_what_would_end(api: Api) -> None:
    account_id = account(api)
    ledger.put(api.ca.database, ledger.line(account_id=account_id), ledger.line(account_id=account_id))
    path = f"{ACCOUNTS}/{account_id}/deactivate"
    told = api("POST", f"{path}?dry_run=true", {"revoke": 4})
    assert told.status == 200, told.text
    assert (told.json["account"]["status"], told.json["certificates"], told.json["revocation"]) == ("revoked", 2, None)
    assert api("POST", f"{path}?dry_run=true", {}).json["certificates"] == 0
    assert api("POST", f"{path}?dry_run=true", {"revoke": 6}).refused(400, "badRevocationReason")
    assert api("GET", f"{ACCOUNTS}/{account_id}").json["status"] == "valid"
    assert api("GET", "/environments/test/revocations").json["items"] == []
    done = api("POST", path, {"revoke": 4})
    assert (done.json["account"]["status"], done.json["certificates"]) == ("revoked", 2)
    assert api("GET", f"/environments/test/revocations/{done.json['revocation']}").json["revoked"] == 2
    assert api("GET", f"{ACCOUNTS}/{account_id}").json["valid_certificates"] == 0


def test_a_note_is_changed_by_who_knows_what_it_was(api: Api) -> None:
    path = f"{ACCOUNTS}/{account(api)}"
    before = api("GET", path).headers["ETag"]
    assert "If-Match" in api("PATCH", path, {"note": "x"}).refused(428, "preconditionRequired")
    changed = api("PATCH", path, {"note": "the build hosts"}, If_Match=before)
    assert (changed.status, changed.json["note"]) == (200, "the build hosts")
    assert "read it again" in api("PATCH", path, {"note": "y"}, If_Match=before).refused(412, "preconditionFailed")
    assert api("PATCH", path, {"note": None}, If_Match=changed.headers["ETag"]).json["note"] is None
    assert api("GET", path).headers["ETag"] == before
    told = api("PATCH", f"{path}?dry_run=true", {"note": "z"}, If_Match="*")
    assert (told.json["note"], api("GET", path).json["note"]) == ("z", None)


def test_orders_that_ended_are_not_counted(api: Api) -> None:
    account_id = account(api)
    for status in ("pending", "processing", "valid", "invalid"):
        order(api, account_id, status)
    order(api, account_id, "pending", expires_in=timedelta(hours=-1))
    assert api("GET", f"{ACCOUNTS}/{account_id}").json["orders"] == 2


def test_accounts_are_searched_and_shown(api: Api) -> None:
    ended = account(api, status="revoked", ended_at=clock.now(), eab_kid="kid", eab_label="team")
    other = account(api)
    found = api("GET", f"{ACCOUNTS}?status=revoked&eab_kid=kid&eab_label=team").json
    assert [item["id"] for item in found["items"]] == [ended]
    first = api("GET", f"{ACCOUNTS}?limit=1").json
    (second,) = api("GET", f"{ACCOUNTS}?limit=1&after={first['next']}").json["items"]
    assert {first["items"][0]["id"], second["id"]} == {ended, other}
    assert "contact" not in api("GET", f"{ACCOUNTS}/{other}").json
    assert "no account" in api("GET", f"/environments/prod/accounts/{other}").refused(404)
    assert "no account" in api("POST", f"/environments/prod/accounts/{other}/deactivate", {}).refused(404)


def test_a_pause_is_listed_and_ended_in_its_environment(api: Api) -> None:
    account_id = account(api)
    pause_id, other = pause(api, account_id), pause(api, account_id, "dns:b.test.localhost")
    assert {item["id"] for item in api("GET", PAUSES).json["items"]} == {pause_id, other}
    assert len(api("GET", f"{ACCOUNTS}/{account_id}").json["pauses"]) == 2
    assert api("GET", "/environments/prod/pauses").json["items"] == []
    assert "no pause" in api("DELETE", f"/environments/prod/pauses/{pause_id}").refused(404)
    assert api("DELETE", f"{PAUSES}/{pause_id}?dry_run=true").status == 200
    assert api("DELETE", f"{PAUSES}/{pause_id}").json["name"] == "dns:a.test.localhost"
    assert [item["id"] for item in api("GET", PAUSES).json["items"]] == [other]
    api("DELETE", f"{PAUSES}/{pause_id}").refused(404)
