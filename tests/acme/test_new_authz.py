"""Authorizations ahead of an order. RFC 8555 §7.4.1."""

from __future__ import annotations

import pytest

from tests.support.acme_client import AcmeClient, body_of
from tests.support.challenges import NAME
from tests.support.issue import authorize
from tests.support.web import WebServer

IDENTIFIER = {"type": "dns", "value": NAME}


def test_new_authorization_is_good_for_an_order(client: AcmeClient, website: WebServer) -> None:
    response = client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=201)
    url = response.headers["Location"]
    assert body_of(response) == client.get(url)
    assert client.ok(client.url("newAuthz"), {"identifier": IDENTIFIER}, status=201).headers["Location"] != url
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
