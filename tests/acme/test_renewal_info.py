"""Renewal information and the orders that replace a certificate. RFC 9773."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import ari, rows
from tests.support.acme_client import URN, AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.jws import b64
from tests.support.web import WebServer

NAME = "a.test.localhost"


def obtain(client: AcmeClient, website: WebServer, **members: object) -> x509.Certificate:
    """Issue a certificate."""
    order = issue(client, website, [NAME], **members)
    return certificates(client.ok(order["certificate"]).text)[0]


def identifier(certificate: x509.Certificate) -> str:
    return ari.identifier(certificate.public_bytes(Encoding.DER))


def moments(client: AcmeClient, certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """The suggested window."""
    window = body_of(ari.ask(client, identifier(certificate)))["suggestedWindow"]
    return datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])


@pytest.mark.parametrize(("profile", "retry_after"), [("server-1h", 366), ("server-8h", 2886)])
def test_window_lies_between_half_and_two_thirds_of_the_lifetime(
    client: AcmeClient, website: WebServer, profile: str, retry_after: int
) -> None:
    leaf = obtain(client, website, profile=profile)
    start, end = moments(client, leaf)
    begin, lifetime = leaf.not_valid_before_utc, leaf.not_valid_after_utc - leaf.not_valid_before_utc
    second = timedelta(seconds=1)  # the window is told in whole seconds
    assert begin + 0.50 * lifetime - second <= start < end <= begin + 0.67 * lifetime
    answer = ari.ask(client, identifier(leaf))
    assert int(answer.headers["Retry-After"]) == retry_after, "a tenth of the lifetime with its backdating"
    assert answer.content_type == "application/json"
    assert "Replay-Nonce" not in answer.headers


def test_windows_are_spread_and_each_stays_the_same(client: AcmeClient, website: WebServer) -> None:
    leafs = [obtain(client, website) for _ in range(8)]
    first = [moments(client, leaf) for leaf in leafs]
    assert len({start - leaf.not_valid_before_utc for leaf, (start, _) in zip(leafs, first, strict=True)}) > 1
    assert [moments(client, leaf) for leaf in leafs] == first


def test_window_is_told_on_each_database(ca_on_each: RunningCa, website: WebServer) -> None:
    client = ca_on_each.client().register()
    start, end = moments(client, obtain(client, website))
    assert start < end


@pytest.mark.parametrize(
    ("certificate", "status"),
    [
        (f"{b64(b'x' * 20)}.{b64(b'1' * 16)}", 404),
        ("AA.AQ", 404),
        ("AA.AA", 404),
        ("x", 400),
        ("AA.", 400),
        (".AA", 400),
        ("AA.AA.AA", 400),
        ("AA.AQ==", 400),
        ("AA.gA", 400),
        ("A.AQ", 400),
        ("%2e%2e.AQ", 400),
        (f"AA.{b64(b'1' * 40)}", 400),
        (f"{'A' * 3000}.AQ", 404),
        ("\u00e9.AQ", 400),
    ],
)
def test_unknown_is_not_found_and_nonsense_malformed(ca: RunningCa, certificate: str, status: int) -> None:
    answer = ari.ask(ca.client(), certificate)
    assert answer.status_code == status
    assert body_of(answer)["type"] == f"{URN}malformed"


def test_certificate_of_another_environment_is_not_found(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    wanted = identifier(obtain(client, website))
    assert ari.ask(client, wanted).status_code == 200
    assert ari.ask(ca.client("prod"), wanted).status_code == 404


def test_right_serial_under_a_wrong_key_is_not_found(client: AcmeClient, website: WebServer) -> None:
    _, serial = identifier(obtain(client, website)).split(".")
    assert ari.ask(client, f"{b64(b'x' * 20)}.{serial}").status_code == 404


def test_replaces_is_echoed_and_remembered(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    old = identifier(obtain(client, website))
    url, order = client.order([NAME], replaces=old)
    assert order["replaces"] == old
    assert client.get(url)["replaces"] == old
    finished = body_of(client.finalize(order, make_csr([NAME])))
    assert finished["replaces"] == old
    (line,) = rows.select(ca.authority.database, "SELECT replaced_by FROM certificates WHERE replaced_by IS NOT NULL")
    assert line.replaced_by == rows.id_of(url)


def test_replaced_certificate_is_not_replaced_again(client: AcmeClient, website: WebServer) -> None:
    old = identifier(obtain(client, website))
    new = identifier(obtain(client, website, replaces=old))
    payload = {"identifiers": [{"type": "dns", "value": NAME}], "replaces": old}
    kind, detail, status = client.refused(client.url("newOrder"), payload)
    assert (kind, status) == ("alreadyReplaced", 409)
    assert "order" in detail
    client.order([NAME], replaces=new)


def test_order_that_did_not_end_well_replaces_nothing(client: AcmeClient, website: WebServer) -> None:
    """Only a certificate takes another one's place; a client whose renewal failed may try again."""
    old = identifier(obtain(client, website))
    _, order = client.order([NAME], replaces=old)
    client.ok(order["authorizations"][0], {"status": "deactivated"})
    assert client.order([NAME], replaces=old)[1]["replaces"] == old


def test_first_of_two_orders_counts(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    old = identifier(obtain(client, website))
    made = [client.order([NAME], replaces=old) for _ in range(2)]
    for _, order in made:
        assert body_of(client.finalize(order, make_csr([NAME])))["status"] == "valid"
    (line,) = rows.select(ca.authority.database, "SELECT replaced_by FROM certificates WHERE replaced_by IS NOT NULL")
    assert line.replaced_by == rows.id_of(made[0][0])


def test_revoked_certificate_may_be_replaced(client: AcmeClient, website: WebServer) -> None:
    leaf = obtain(client, website)
    client.ok(client.url("revokeCert"), {"certificate": b64(leaf.public_bytes(Encoding.DER)), "reason": 4})
    old = identifier(leaf)
    assert client.order([NAME], replaces=old)[1]["replaces"] == old


def test_foreign_and_unknown_certificates_are_not_replaced(ca: RunningCa, website: WebServer) -> None:
    """The order itself is in order: clients give a renewal up when it is refused."""
    alice, bob, other = ca.client().register(), ca.client().register(), ca.client("dev").register()
    wanted = identifier(obtain(alice, website))
    assert "replaces" not in bob.order([NAME], replaces=wanted)[1]
    assert "replaces" not in other.order(["a.dev.localhost"], replaces=wanted)[1]
    assert "replaces" not in alice.order([NAME], replaces="AA.AQ")[1]
    assert "replaces" not in alice.order(["other.test.localhost"], replaces=wanted)[1]
    assert alice.order([NAME, "other.test.localhost"], replaces=wanted)[1]["replaces"] == wanted


@pytest.mark.parametrize("replaces", ["", "x", "AA.", ".AQ", "AA.gA", "a.b.c", 7, ["AA.AQ"], {}])
def test_malformed_replaces_is_refused(client: AcmeClient, replaces: object) -> None:
    payload = {"identifiers": [{"type": "dns", "value": NAME}], "replaces": replaces}
    assert client.refused(client.url("newOrder"), payload)[::2] == ("malformed", 400)
