"""Values at the edge of what a type can hold: each is refused or read, none makes the server fail."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.acme_client import AcmeClient, certificates
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.jws import b64
from tests.support.web import WebServer

NAME = "extreme.test.localhost"
VERSION_1 = bytes.fromhex("a003020102")  # [0] EXPLICIT INTEGER 2, which means version 3


@pytest.mark.parametrize(
    "wish",
    [
        {"notAfter": "9999-12-31T23:59:59Z"},
        {"notAfter": "9999-12-31T23:59:59-23:59"},
        {"notBefore": "9999-12-31T23:59:59Z"},
        {"notBefore": "9999-12-31T23:59:59-23:59"},
        {"notAfter": "0001-01-01T00:00:00+23:59"},
        {"notBefore": "0001-01-01T00:00:00Z"},
        {"notBefore": "0001-01-01T00:00:00+23:59"},
        {"notBefore": "9999-12-31T23:00:00Z", "notAfter": "9999-12-31T23:59:59Z"},
    ],
)
def test_times_at_the_end_of_the_calendar_are_malformed(client: AcmeClient, wish: dict[str, str]) -> None:
    payload = {"identifiers": [{"type": "dns", "value": NAME}], **wish}
    assert client.refused(client.url("newOrder"), payload)[::2] == ("malformed", 400)


def test_certificate_of_an_unknown_version_is_malformed(client: AcmeClient, website: WebServer) -> None:
    order = issue(client, website, [NAME])
    der = certificates(client.ok(order["certificate"]).text)[0].public_bytes(Encoding.DER)
    assert der.count(VERSION_1) == 1
    strange = der.replace(VERSION_1, b"\xa0\x03\x02\x01\x07")
    assert client.refused(client.url("revokeCert"), {"certificate": b64(strange)})[::2] == ("malformed", 400)


@pytest.mark.parametrize("cursor", ["%00", "%ff", "%F0%9F%92%A9", "x" * 500, ""])
def test_cursor_of_the_orders_list_can_be_anything(ca_on_each: RunningCa, cursor: str) -> None:
    client = ca_on_each.client().register()
    client.order([NAME])
    url = f"{client.signer.kid}/orders?cursor={cursor}"
    assert client.post(url).status_code in (200, 400)
