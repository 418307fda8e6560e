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
