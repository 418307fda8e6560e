"""Rate limits as clients meet them. RFC 8555 §6.6."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import select

from acme_ca import metrics, worker
from acme_ca.config import Limit, Limits
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.problems import NotFound
from acme_ca.services import rate_limits
from acme_ca.services.refusals import TOLD
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import issue
from tests.support.jws import Signer
from tests.support.web import WebServer

HOURLY = 3600


def limited(make_ca: MakeCa, count: int, *names: str, **more: Any) -> RunningCa:  # noqa: ANN401 - settings of any kind
    """A CA with some limits of `count` an hour, and no others."""
    off: dict[str, Any] = dict.fromkeys(rate_limits.LIMITS, "off")
    chosen = {name: Limit(count=count, seconds=HOURLY) for name in names}
    return make_ca(limits=Limits(**{**off, **chosen}, help="https://help.example/limits"), **more)


def refusal(client: AcmeClient, url: str, payload: object) -> str:
    """The detail of a refusal; it says how long to wait, and links to the help page."""
    answer = client.post(url, payload)
    assert answer.status_code == 429, answer.text
    assert answer.json is not None
    assert answer.json["type"] == "urn:ietf:params:acme:error:rateLimited"
    assert 0 < int(answer.headers["Retry-After"]) <= HOURLY
    assert '<https://help.example/limits>;rel="help"' in answer.headers.getlist("Link")
    detail: str = answer.json["detail"]
    assert re.search(r"in \d+ seconds, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", detail)
    return detail


def order_of(*names: str, **members: str) -> dict[str, object]:
    return {"identifiers": [{"type": "dns", "value": name} for name in names], **members}


@pytest.mark.parametrize("kind", ["address", "environment"])
def test_new_accounts_are_limited_and_known_ones_are_not(make_ca: MakeCa, database_url: str, kind: str) -> None:
    ca = limited(make_ca, 2, f"new_account_per_{kind}", database_url=database_url)
    first = ca.client().register()
    ca.client().register()
    third = ca.client()
    assert f"new_account_per_{kind} of environment test is 2 at once" in refusal(third, third.url("newAccount"), {})
    known = ca.client()
    known.signer = Signer(first.signer.key)
    for _ in range(3):
        known.ok(known.url("newAccount"), {}, 200)
    assert ca.client("prod").register().signer.kid, "another environment counts for itself"
    gauge = metrics.RATE_LIMITED.labels("test", f"new_account_per_{kind}")
    assert gauge._value.get() >= 1


def test_addresses_are_kept_as_keyed_hashes(make_ca: MakeCa) -> None:
    ca = limited(make_ca, 2, "new_account_per_address")
    ca.client().register()
    (row,) = rows.select(ca.authority.database, "SELECT key FROM rate_limits")
    assert re.fullmatch(r"test/new_account_per_address/[0-9a-f]{32}", row.key)
    test, prod = (ca.authority.environments[name] for name in ("test", "prod"))
    key = rate_limits.address_key
    assert row.key.endswith(str(key(test, "127.0.0.1")))
    assert key(test, "127.0.0.1") == key(test, "::ffff:127.0.0.1") != key(prod, "127.0.0.1")
    assert key(test, "2001:db8::1") == key(test, "2001:db8::ffff:1") != key(test, "2001:db8:0:1::1")
    assert key(test, "fe80::1%eth0") == key(test, "fe80::2")
    assert key(test, "") is None


@pytest.mark.parametrize("kind", ["account", "address", "environment"])
def test_orders_are_limited(make_ca: MakeCa, database_url: str, kind: str) -> None:
    ca = limited(make_ca, 2, f"new_order_per_{kind}", database_url=database_url)
    client = ca.client().register()
    assert client.refused(client.url("newOrder"), order_of("www.elsewhere.example"))[0] == "rejectedIdentifier"
    client.order(["a.test.localhost"])
    client.order(["b.test.localhost"])
    assert f"new_order_per_{kind}" in refusal(client, client.url("newOrder"), order_of("c.test.localhost"))
    other = ca.client().register()
    if kind == "account":
        other.order(["a.test.localhost"])
    else:
        refusal(other, other.url("newOrder"), order_of("a.test.localhost"))
    assert len(rows.select(ca.authority.database, "SELECT id FROM orders")) == (3 if kind == "account" else 2)


def test_orders_for_a_name_are_limited(make_ca: MakeCa) -> None:
    ca = limited(make_ca, 1, "new_order_per_name")
    client = ca.client().register()
    client.order(["a.test.localhost"])
    detail = refusal(client, client.url("newOrder"), order_of("b.test.localhost", "a.test.localhost"))
    assert "(dns:a.test.localhost)" in detail
    client.order(["b.test.localhost"])  # what was refused did not count


def ari_id(leaf: x509.Certificate) -> str:
    """The identifier of a certificate in renewal information. RFC 9773 §4.1."""
    key_id = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (key_id or b"", serial))


def test_renewals_by_ari_are_exempt(make_ca: MakeCa, website: WebServer) -> None:
    ca = limited(make_ca, 1, "new_order_per_account", "new_order_per_name")
    client = ca.client().register()
    order = issue(client, website, ["a.test.localhost"])
    leaf = certificates(client.ok(order["certificate"]).text)[0]
    refusal(client, client.url("newOrder"), order_of("a.test.localhost"))
    refusal(client, client.url("newOrder"), order_of("a.test.localhost", replaces="AAAA.AAAA"))  # not honoured
    _, renewal = client.order(["a.test.localhost"], replaces=ari_id(leaf))
    assert renewal["replaces"] == ari_id(leaf)


def test_one_live_order_is_exempt_for_each_certificate_that_is_replaced(make_ca: MakeCa, website: WebServer) -> None:
    ca = limited(make_ca, 1, "new_order_per_account")
    client = ca.client().register()
    order = issue(client, website, ["a.test.localhost"])
    old = ari_id(certificates(client.ok(order["certificate"]).text)[0])
    _, renewal = client.order(["a.test.localhost"], replaces=old)
    refusal(client, client.url("newOrder"), order_of("a.test.localhost", replaces=old))
    issuing = client.finalize(renewal, make_csr(["a.test.localhost"]))
    new = ari_id(certificates(client.ok(body_of(issuing)["certificate"]).text)[0])
    client.order(["a.test.localhost"], replaces=new)


def test_a_renewal_is_counted_for_its_new_names(make_ca: MakeCa, website: WebServer, database_url: str) -> None:
    ca = limited(make_ca, 1, "new_order_per_name", database_url=database_url)
    client = ca.client().register()
    order = issue(client, website, ["a.test.localhost"])
    old = ari_id(certificates(client.ok(order["certificate"]).text)[0])
    client.order(["b.test.localhost"])
    wanted = order_of("a.test.localhost", "b.test.localhost", replaces=old)
    assert "(dns:b.test.localhost)" in refusal(client, client.url("newOrder"), wanted)
    _, renewal = client.order(["a.test.localhost", "c.test.localhost"], replaces=old)
    assert renewal["replaces"] == old


def test_an_order_that_is_limited_takes_no_number_of_the_audit_trail(make_ca: MakeCa, postgres_url: str) -> None:
    ca = limited(make_ca, 1, "new_order_per_account", database_url=postgres_url)
    client = ca.client().register()
    client.order(["a.test.localhost"])
    for _ in range(TOLD + 1):
        refusal(client, client.url("newOrder"), order_of("a.test.localhost"))
    with ca.authority.database.read() as connection:
        numbers = list(connection.scalars(select(AUDIT_EVENTS.c.id).order_by(AUDIT_EVENTS.c.id)))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def failing(client: AcmeClient, name: str) -> str:
    """The URL of a challenge that nobody prepared for."""
    _, order = client.order([name])
    return str(client.challenge(order["authorizations"][0])["url"])


@pytest.mark.parametrize("kind", ["name", "account"])
def test_failed_validations_are_limited(make_ca: MakeCa, database_url: str, website: WebServer, kind: str) -> None:
    ca = limited(make_ca, 2, f"failed_validation_per_{kind}", database_url=database_url)
    client = ca.client().register()
    late = failing(client, "a.test.localhost")
    for _ in range(2):
        client.ok(failing(client, "a.test.localhost"), {})
        rows.settle(ca.authority.database)
    before = len(website.requests)
    assert f"failed_validation_per_{kind}" in refusal(client, late, {})
    assert len(website.requests) == before, "nobody looked"
    assert client.get(late)["status"] == "pending"
    if kind == "name":
        issue(client, website, ["b.test.localhost"])
        issue(ca.client().register(), website, ["a.test.localhost"])
    rows.change(ca.authority.database, "DELETE FROM rate_limits")
    challenge = client.get(late)
    website.token(challenge["token"], client.key_authorization(challenge["token"]))
    client.ok(late, {})
    rows.settle(ca.authority.database)
    assert client.get(late)["status"] == "valid"


def test_successful_validations_count_nothing(make_ca: MakeCa, website: WebServer) -> None:
    ca = limited(make_ca, 1, "failed_validation_per_name", "failed_validation_per_account")
    client = ca.client().register()
    issue(client, website, ["a.test.localhost"])
    assert rows.select(ca.authority.database, "SELECT key FROM rate_limits") == []


def test_limits_that_are_off_leave_no_rows(make_ca: MakeCa) -> None:
    ca = limited(make_ca, 1)
    client = ca.client().register()
    client.order(["a.test.localhost"])
    client.ok(failing(client, "a.test.localhost"), {})
    rows.settle(ca.authority.database)
    assert rows.select(ca.authority.database, "SELECT key FROM rate_limits") == []


def test_uses_are_listed_and_forgotten(make_ca: MakeCa, database_url: str) -> None:
    ca = limited(make_ca, 1, "new_account_per_address", "new_order_per_name", database_url=database_url)
    environment = ca.authority.environments["test"]
    client = ca.client().register()
    client.order(["a.test.localhost", "b.test.localhost"])
    first, after = rate_limits.page(ca.authority, environment, None, 2)
    second, end = rate_limits.page(ca.authority, environment, after, 2)
    assert end is None
    account = rows.id_of(str(client.signer.kid))
    assert [(use.limit, use.missing) for use in (*first, *second)] == [
        ("new_account_per_address", 1),
        ("new_order_per_name", 1),
        ("new_order_per_name", 1),
    ]
    assert {use.subject for use in (*first, *second)} >= {f"{account}/dns:a.test.localhost"}
    (only,), _ = rate_limits.page(ca.authority, environment, None, 9, "new_account_per_address")
    assert only.is_limited(only.next_at.replace(year=2020))
    rate_limits.reset(ca.authority, environment, "new_account_per_address", "127.0.0.1", by="uid:0")
    ca.client().register()
    with pytest.raises(NotFound, match="nothing was used"):
        rate_limits.reset(ca.authority, environment, "new_account_per_address", "127.0.0.9", by="uid:0")
    with pytest.raises(NotFound, match="there is no limit"):
        rate_limits.reset(ca.authority, environment, "new_cars", "127.0.0.9", by="uid:0")
    (event,) = rows.select(ca.authority.database, "SELECT details FROM audit_events WHERE event = 'rate_limit.reset'")
    assert "127.0.0.1" not in str(event.details)


def test_the_worker_forgets_what_is_full(make_ca: MakeCa) -> None:
    ca = limited(make_ca, 5, "new_account_per_address")
    ca.client().register()
    job = next(job for job in worker.JOBS if job.name == "rate_limits")
    assert job.work(ca.authority) == 0
    rows.change(ca.authority.database, "UPDATE rate_limits SET full_at = 0")
    assert job.work(ca.authority) == 1
