"""Orders over HTTP, from newOrder to the certificate. RFC 8555 §7.4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from acme_ca.clock import rfc3339
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.jws import b64
from tests.support.web import WebServer

NAME = "a.test.localhost"


def test_order_goes_from_pending_to_valid(client: AcmeClient, website: WebServer) -> None:
    url, order = client.order([NAME, "b.test.localhost"])
    assert order["status"] == "pending"
    assert len(order["authorizations"]) == 2
    assert order["profile"] == "server-1h"
    assert client.finalize(order, make_csr([NAME])).status_code == 403
    authorize(client, website, order)
    assert client.get(url)["status"] == "ready"
    response = client.finalize(order, make_csr([NAME, "b.test.localhost"]))
    assert response.status_code == 200
    assert response.headers["Location"] == url
    finished = body_of(response)
    assert finished["status"] == "valid"
    assert client.get(url) == finished


def test_order_is_issued_on_each_database(ca_on_each: RunningCa, website: WebServer) -> None:
    client = ca_on_each.client().register()
    order = issue(client, website, [NAME])
    assert len(certificates(client.ok(order["certificate"]).text)) == 2


def test_certificate_is_as_the_profile_says(client: AcmeClient, website: WebServer, ca: RunningCa) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    order = issue(client, website, [NAME])
    response = client.ok(order["certificate"])
    assert response.content_type == "application/pem-certificate-chain"
    leaf, intermediate = certificates(response.text)
    assert intermediate.issuer == ca.root.subject
    leaf.verify_directly_issued_by(intermediate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.DNSName) == [NAME]
    assert not list(leaf.subject)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert leaf.not_valid_before_utc <= before
    assert timedelta(0) <= leaf.not_valid_after_utc - before - timedelta(hours=1) < timedelta(minutes=1)


def test_valid_authorizations_make_an_order_ready_at_birth(client: AcmeClient, website: WebServer) -> None:
    first = issue(client, website, [NAME])
    _, second = client.order([NAME])
    assert second["status"] == "ready"
    assert second["authorizations"] == first["authorizations"]
    assert body_of(client.finalize(second, make_csr([NAME])))["status"] == "valid"


def test_authorizations_are_not_reused_where_they_may_not(make_ca: MakeCa, website: WebServer) -> None:
    client = make_ca(authorization_lifetime=0).client().register()
    issue(client, website, [NAME])
    assert client.order([NAME])[1]["status"] == "pending"


def test_authorizations_of_another_account_are_not_reused(ca: RunningCa, website: WebServer) -> None:
    issue(ca.client().register(), website, [NAME])
    assert ca.client().register().order([NAME])[1]["status"] == "pending"


def test_same_csr_again_finds_the_same_certificate(client: AcmeClient, website: WebServer) -> None:
    _, order = client.order([NAME])
    authorize(client, website, order)
    csr = make_csr([NAME])
    first, again = body_of(client.finalize(order, csr)), body_of(client.finalize(order, csr))
    assert first == again
    refused = client.finalize(order, make_csr([NAME]))
    assert body_of(refused)["type"].endswith(":orderNotReady")


def test_order_for_a_name_policy_does_not_allow_is_refused(client: AcmeClient) -> None:
    payload = {"identifiers": [{"type": "dns", "value": "www.example.com"}]}
    kind, detail, status = client.refused(client.url("newOrder"), payload)
    assert (kind, status) == ("rejectedIdentifier", 403)
    assert "www.example.com" in detail
    assert "test" in detail


def test_each_refused_name_has_its_subproblem(client: AcmeClient) -> None:
    values = ["www.example.com", NAME, "mail.example.com"]
    payload = {"identifiers": [{"type": "dns", "value": value} for value in values]}
    body = body_of(client.post(client.url("newOrder"), payload))
    named = [problem["identifier"]["value"] for problem in body["subproblems"]]
    assert named == ["www.example.com", "mail.example.com"]


@pytest.mark.parametrize(
    ("identifiers", "kind"),
    [
        ([], "malformed"),
        ([{"type": "dns", "value": ""}], "malformed"),
        ([{"type": "dns", "value": "bücher.test.localhost"}], "malformed"),
        ([{"type": "dns", "value": "a..test.localhost"}], "malformed"),
        ([{"type": "dns", "value": "*.*.test.localhost"}], "malformed"),
        ([{"type": "dns", "value": "127.0.0.1"}], "malformed"),
        ([{"type": "ip", "value": "127.0.0.256"}], "malformed"),
        ([{"type": "email", "value": "a@test.localhost"}], "unsupportedIdentifier"),
        ([{"type": "dns", "value": f"n{number}.test.localhost"} for number in range(101)], "malformed"),
    ],
)
def test_wrong_identifiers_are_refused(client: AcmeClient, identifiers: list[Any], kind: str) -> None:
    assert client.refused(client.url("newOrder"), {"identifiers": identifiers})[0] == kind


def test_names_are_normalised_and_repeated_ones_dropped(client: AcmeClient) -> None:
    _, order = client.order([NAME.upper(), NAME])
    assert order["identifiers"] == [{"type": "dns", "value": NAME}]
    assert len(order["authorizations"]) == 1


@pytest.mark.parametrize("profile", ["server-1h", "client-1h", "workload-1h", "server-8h"])
def test_profile_is_honoured(client: AcmeClient, website: WebServer, profile: str) -> None:
    order = issue(client, website, [NAME], profile=profile)
    assert order["profile"] == profile
    leaf = certificates(client.ok(order["certificate"]).text)[0]
    usages = {
        "client-1h": {ExtendedKeyUsageOID.CLIENT_AUTH},
        "workload-1h": {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
    }.get(profile, {ExtendedKeyUsageOID.SERVER_AUTH})
    assert set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages


@pytest.mark.parametrize("profile", ["server-7d", "unknown", ""])
def test_profile_that_is_not_offered_is_refused(client: AcmeClient, profile: str) -> None:
    payload = {"identifiers": [{"type": "dns", "value": NAME}], "profile": profile}
    assert client.refused(client.url("newOrder"), payload)[0] == "invalidProfile"


def test_not_after_is_honoured_within_the_profile(client: AcmeClient, website: WebServer) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20)
    order = issue(client, website, [NAME], notAfter=rfc3339(end))
    assert order["notAfter"] == rfc3339(end)
    assert certificates(client.ok(order["certificate"]).text)[0].not_valid_after_utc == end


@pytest.mark.parametrize(
    ("member", "offset"),
    [
        ("notAfter", timedelta(hours=2)),
        ("notAfter", timedelta(hours=-1)),
        ("notBefore", timedelta(days=-1)),
    ],
)
def test_validity_that_cannot_be_is_refused(client: AcmeClient, member: str, offset: timedelta) -> None:
    payload = {"identifiers": [{"type": "dns", "value": NAME}], member: rfc3339(datetime.now(UTC) + offset)}
    kind, detail, _ = client.refused(client.url("newOrder"), payload)
    assert kind == "malformed"
    assert member in detail


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"\x30\x00",
        make_csr(["other.test.localhost"]),
        make_csr([NAME, "other.test.localhost"]),
        make_csr([]),
        make_csr([NAME])[:-1] + b"\x00",
    ],
    ids=["empty", "no csr", "another name", "one name more", "no name", "wrong signature"],
)
def test_wrong_csr_is_refused_and_the_order_stays_ready(client: AcmeClient, website: WebServer, csr: bytes) -> None:
    url, order = client.order([NAME])
    authorize(client, website, order)
    response = client.finalize(order, csr)
    assert response.status_code == 400
    assert body_of(response)["type"].endswith(":badCSR")
    assert client.get(url)["status"] == "ready"
    assert body_of(client.finalize(order, make_csr([NAME])))["status"] == "valid"


def test_csr_with_ca_true_is_refused_and_other_wishes_ignored(client: AcmeClient, website: WebServer) -> None:
    _, order = client.order([NAME])
    authorize(client, website, order)
    wishes = [
        (x509.BasicConstraints(ca=True, path_length=None), 400),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), 200),
    ]
    for extension, status in wishes:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
            .add_extension(extension, critical=True)
        )
        csr = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
        response = client.finalize(order, csr)
        assert response.status_code == status, response.text
    leaf = certificates(client.ok(body_of(response)["certificate"]).text)[0]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_account_key_in_a_csr_is_refused(client: AcmeClient, website: WebServer) -> None:
    _, order = client.order([NAME])
    authorize(client, website, order)
    response = client.finalize(order, make_csr([NAME], client.signer.key))
    assert body_of(response)["type"].endswith(":badCSR")


def test_small_rsa_key_in_a_csr_is_refused(client: AcmeClient, website: WebServer) -> None:
    _, order = client.order([NAME])
    authorize(client, website, order)
    weak = rsa.generate_private_key(65537, 1024)
    assert body_of(client.finalize(order, make_csr([NAME], weak)))["type"].rpartition(":")[2] in (
        "badCSR",
        "badPublicKey",
    )


@pytest.mark.parametrize("csr", ["not base64url!", "", "MAA=", None, 7])
def test_csr_that_is_no_base64url_is_refused(client: AcmeClient, website: WebServer, csr: object) -> None:
    _, order = client.order([NAME])
    authorize(client, website, order)
    assert client.refused(order["finalize"], {"csr": csr})[2] == 400


def test_unknown_resources_are_404(client: AcmeClient) -> None:
    for path in ("order/x", "authorization/x", "certificate/x", "order/x/finalize", "authorization/x/http-01"):
        payload = {"csr": b64(make_csr([NAME]))} if path.endswith("finalize") else None
        assert client.refused(client.url(path), payload)[::2] == ("malformed", 404), path


def test_certificate_is_for_its_account_only(ca: RunningCa, website: WebServer) -> None:
    alice, bob = ca.client().register(), ca.client().register()
    order = issue(alice, website, [NAME])
    assert bob.refused(order["certificate"])[::2] == ("unauthorized", 403)
    assert bob.refused(order["url"])[::2] == ("unauthorized", 403)
    assert bob.refused(order["finalize"], {"csr": b64(make_csr([NAME]))})[::2] == ("unauthorized", 403)


def test_ip_address_gets_its_certificate(client: AcmeClient, make_ca: MakeCa, website: WebServer) -> None:
    rules = [{"name": "loopback", "ip": ["127.0.0.0/8"], "dns": [".test.localhost"]}]
    client = make_ca(policy=rules).client().register()
    payload = {"identifiers": [{"type": "ip", "value": "127.0.0.1"}]}
    order = body_of(client.ok(client.url("newOrder"), payload, status=201))
    authorization = client.get(order["authorizations"][0])
    assert authorization["identifier"] == {"type": "ip", "value": "127.0.0.1"}
    assert {challenge["type"] for challenge in authorization["challenges"]} == {"http-01", "tls-alpn-01"}
    authorize(client, website, order)


def test_order_that_waited_for_its_proofs_keeps_the_start_it_asked_for(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    url, order = client.order([NAME], notBefore=rfc3339(datetime.now(UTC)))
    authorize(client, website, order)
    ago = datetime.now(UTC) - timedelta(minutes=20)
    rows.change(
        ca.authority.database,
        "UPDATE orders SET created_at = :ago, not_before = :ago WHERE id = :id",
        ago=f"{ago:%Y-%m-%d %H:%M:%S.%f}",
        id=rows.id_of(url),
    )
    finished = body_of(client.finalize(order, make_csr([NAME])))
    leaf, _ = certificates(client.ok(finished["certificate"]).text)
    assert leaf.not_valid_before_utc == ago.replace(microsecond=0)
    assert leaf.not_valid_after_utc <= ago + timedelta(hours=1, minutes=1)


def test_order_is_not_ready_without_the_authorization_of_each_name(
    client: AcmeClient, website: WebServer, ca: RunningCa
) -> None:
    """As after sweeping, where an order waits for longer than one of its authorizations was valid."""
    url, order = client.order([NAME, "b.test.localhost"])
    authorize(client, website, order)
    rows.change(
        ca.authority.database,
        "DELETE FROM authorizations WHERE id = :id",
        id=rows.id_of(order["authorizations"][0]),
    )
    assert client.get(url)["status"] == "invalid"
    refused = client.finalize(order, make_csr([NAME, "b.test.localhost"]))
    assert body_of(refused)["type"].endswith(":orderNotReady")


def test_policy_has_to_allow_the_challenge_that_proved_a_name_until_the_end(
    make_ca: MakeCa, website: WebServer
) -> None:
    """The CA is configured anew between proof and finalize: what http-01 proved is good no longer."""
    before = make_ca()
    client = before.client().register()
    _, order = client.order([NAME])
    authorize(client, website, order)
    after = make_ca(challenges=("dns-01",))
    client.app = after.app
    refused = client.finalize(order, make_csr([NAME]))
    assert body_of(refused)["type"].endswith(":orderNotReady")
    assert "http-01" in body_of(refused)["detail"]
    assert client.order([NAME])[1]["status"] == "pending"
