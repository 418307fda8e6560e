"""Authorizations ahead of an order. RFC 8555 §7.4.1."""

from __future__ import annotations

import pytest

from acme_ca.config import Limit, Limits
from acme_ca.config.pause import Pause
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of
from tests.support.ca import RunningCa
from tests.support.challenges import NAME
from tests.support.issue import authorize
from tests.support.server import eventually
from tests.support.web import WebServer

IDENTIFIER = {"type": "dns", "value": NAME}


def test_new_authorization_is_good_for_an_order(client: AcmeClient, website: WebServer) -> None:
    response = client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=201)
    url = response.headers["Location"]
    assert body_of(response) == client.get(url)
    assert client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=200).headers["Location"] == url
    authorize(client, website, {"authorizations": [url]})
    again = client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=200)
    assert again.headers["Location"] == url
    _, order = client.order([NAME])
    assert order["status"] == "ready"
    assert order["authorizations"] == [url]


@pytest.mark.parametrize(
    ("identifier", "kind"),
    [
        ({"type": "dns", "value": f"*.{NAME}"}, "malformed"),
        ({"type": "dns", "value": "www.example.com"}, "rejectedIdentifier"),
        ({"type": "dns", "value": ""}, "malformed"),
        ({"type": "dns", "value": "a..b"}, "malformed"),
        ({"type": "email", "value": "a@b"}, "unsupportedIdentifier"),
        ({"type": "ip", "value": "10.1.1.1"}, "rejectedIdentifier"),
        ({"type": "dns"}, "malformed"),
        (None, "malformed"),
    ],
)
def test_new_authorization_that_cannot_be_is_refused(client: AcmeClient, identifier: object, kind: str) -> None:
    assert client.refused(client.url("newAuthz"), {"identifier": identifier})[0] == kind


def test_new_authorizations_count_as_orders_do(make_ca: MakeCa) -> None:
    ca = make_ca(limits=Limits(new_order_per_account=Limit(count=1, seconds=3600)))
    client = ca.client().register()
    for status in (201, 200, 200):  # one that waits is given again
        client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=status)
    other = {"identifier": {"type": "dns", "value": f"b.{NAME}"}}
    assert client.post(client.url("newAuthz"), other).status_code == 429
    assert len(rows.select(ca.authority.database, "SELECT id FROM authorizations")) == 1


def test_a_refused_authorization_is_told(ca: RunningCa, client: AcmeClient) -> None:
    client.refused(client.url("newAuthz"), {"identifier": {"type": "dns", "value": "www.example.com"}})
    found = rows.select(ca.authority.database, "SELECT details FROM audit_events WHERE event = 'authorization.refused'")
    assert "dns:www.example.com" in str(found)


def test_a_paused_name_is_not_authorized_ahead(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca(pause=Pause(failures=1, duration=300))
    client = ca.client().register()
    url = client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=201).headers["Location"]
    challenge = client.challenge(url)
    website.token(challenge["token"], "wrong")
    client.ok(challenge["url"], {})
    rows.settle(ca.authority.database)
    paused = "SELECT id FROM pauses WHERE paused_until IS NOT NULL"
    eventually(lambda: rows.select(ca.authority.database, paused), "the name is paused")
    assert client.post(client.url("newAuthz"), {"identifier": IDENTIFIER}).status_code == 429
