"""The challenge workload-identity-00: one proof for all names of an order, bound to the account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.acme.conftest import MakeCa
from tests.support import issuers
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issuers import TokenIssuer
from tests.support.pop import Authority, write_pem
from tests.workload_api.conftest import AUDIENCE, CHALLENGE, CI_ID, NAME, SPIFFE_ID, digest

URI = {"type": "uri", "value": SPIFFE_ID}
DNS = {"type": "dns", "value": NAME}


def order(client: AcmeClient, *identifiers: dict[str, str], **members: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - members of newOrder
    response = client.ok(client.url("newOrder"), {"identifiers": list(identifiers), **members}, status=201)
    return response.headers["Location"], body_of(response)


def offered(client: AcmeClient, authorization: str) -> dict[str, Any]:
    (found,) = [each for each in client.get(authorization)["challenges"] if each["type"] == CHALLENGE]
    return dict(found)


def jwt(token: str, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - members of a proof
    return {"format": "jwt", "evidence": token, **members}


def names_of(leaf: x509.Certificate) -> tuple[list[str], list[str]]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        found.get_values_for_type(x509.UniformResourceIdentifier),
        found.get_values_for_type(x509.DNSName),
    )


def issue(client: AcmeClient, url: str, names: list[str], **more: Any) -> x509.Certificate:  # noqa: ANN401 - of the CSR
    done = body_of(client.finalize(client.get(url), make_csr(names, **more)))
    assert done["status"] == "valid", done
    return certificates(client.ok(done["certificate"]).text)[0]


def test_the_directory_tells_where_and_how(ca: RunningCa) -> None:
    meta = ca.app.test_client().get("/acme/test/directory").json
    assert meta is not None
    assert meta["meta"]["workloadIdentity"] == {
        "version": "00",
        "audience": AUDIENCE,
        "formats": ["jwt"],
        "exchange": f"{AUDIENCE}/eab",
        "nonce": f"{AUDIENCE}/nonce",
        "trustDomain": "test.localhost",
        "bundle": AUDIENCE.replace("/workload", "/bundle"),
    }


def test_one_proof_decides_every_name_of_the_order(client: AcmeClient, cluster: TokenIssuer) -> None:
    url, made = order(client, URI, DNS, profile="workload-1h")
    first, second = (offered(client, authorization) for authorization in made["authorizations"])
    assert first["token"] == second["token"]
    assert first["audience"] == AUDIENCE
    assert first["formats"] == ["jwt"]

    answer = client.ok(first["url"], jwt(cluster.token(issuers.kubernetes(AUDIENCE))))

    assert body_of(answer)["status"] == "valid"
    assert client.get(url)["status"] == "ready"
    leaf = issue(client, url, [NAME])
    assert names_of(leaf) == ([SPIFFE_ID], [NAME])


def test_a_bound_token_is_for_one_account_and_order_alone(ca: RunningCa, platform: TokenIssuer) -> None:
    client = ca.client().register()
    _, made = order(client, {"type": "uri", "value": CI_ID}, profile="workload-1h")
    challenge = offered(client, made["authorizations"][0])
    bound = f"{AUDIENCE}/{digest(client.key_authorization(challenge['token']))}"
    token = platform.token(issuers.github_actions(bound))

    thief = ca.client().register()
    _, stolen = order(thief, {"type": "uri", "value": CI_ID}, profile="workload-1h")
    theirs = offered(thief, stolen["authorizations"][0])
    refused = thief.post(theirs["url"], jwt(token))
    assert (refused.status_code, body_of(refused)["workloadError"]) == (403, "binding_mismatch")
    assert thief.get(stolen["authorizations"][0])["status"] == "invalid"

    _, other = order(client, {"type": "uri", "value": CI_ID}, profile="workload-1h")
    refused = client.post(offered(client, other["authorizations"][0])["url"], jwt(token))
    assert body_of(refused)["workloadError"] == "binding_mismatch"

    assert body_of(client.ok(challenge["url"], jwt(token)))["status"] == "valid"


def test_a_static_token_belongs_to_the_account_that_showed_it_first(ca: RunningCa, cluster: TokenIssuer) -> None:
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    for client, code in ((ca.client().register(), None), (ca.client().register(), "evidence_replayed")):
        _, made = order(client, URI, profile="workload-1h")
        answer = client.post(offered(client, made["authorizations"][0])["url"], jwt(token))
        assert body_of(answer).get("workloadError") == code
    again = cluster.token(issuers.kubernetes(AUDIENCE, jti="another one"))
    client = ca.client().register()
    _, made = order(client, URI, profile="workload-1h")
    refused = body_of(client.post(offered(client, made["authorizations"][0])["url"], jwt(again)))
    assert refused["workloadError"] == "evidence_replayed"
    assert "instance" in refused["detail"]


def test_a_token_of_another_environment_is_refused(ca: RunningCa, cluster: TokenIssuer, client: AcmeClient) -> None:
    _, made = order(client, URI, profile="workload-1h")
    token = cluster.token(issuers.kubernetes(AUDIENCE.replace("/test/", "/prod/")))
    refused = client.post(offered(client, made["authorizations"][0])["url"], jwt(token))
    assert (refused.status_code, body_of(refused)["workloadError"]) == (403, "audience_mismatch")
    assert AUDIENCE in body_of(refused)["detail"]
    assert "workloadIdentity" not in (ca.app.test_client().get("/acme/prod/directory").json or {})["meta"]


def test_what_no_rule_grants_is_refused_by_name(client: AcmeClient, cluster: TokenIssuer) -> None:
    other = {"type": "dns", "value": "www.test.localhost"}
    _, made = order(client, other)
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    refused = body_of(client.post(offered(client, made["authorizations"][0])["url"], jwt(token)))
    assert refused["workloadError"] == "identifier_not_allowed"
    assert refused["type"].endswith(":rejectedIdentifier")
    assert SPIFFE_ID in refused["detail"]


def test_an_outage_leaves_the_challenge_pending(client: AcmeClient, cluster: TokenIssuer) -> None:
    _, made = order(client, URI, profile="workload-1h")
    challenge = offered(client, made["authorizations"][0])
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    cluster.api.fault = "500"
    signed = client.signer.sign(challenge["url"], jwt(token), nonce=client.nonce())
    answer = client.app.test_client().post(
        client.path(challenge["url"]), data=signed, content_type="application/jose+json"
    )
    assert (answer.status_code, body_of(answer)["workloadError"]) == (503, "provider_unavailable")
    assert answer.headers["Retry-After"]
    assert body_of(answer)["detail"].startswith("provider 'cluster' cannot be asked now")
    assert cluster.url not in answer.text  # where keys come from is for the log alone
    assert client.get(made["authorizations"][0])["status"] == "pending"


def test_a_stale_token_may_be_shown_anew_thrice(client: AcmeClient, cluster: TokenIssuer) -> None:
    _, made = order(client, URI, profile="workload-1h")
    challenge = offered(client, made["authorizations"][0])
    for status in ("pending", "pending", "invalid"):
        old = cluster.token(issuers.kubernetes(AUDIENCE, iat=1, nbf=1, exp=600))
        assert body_of(client.post(challenge["url"], jwt(old)))["workloadError"] == "token_expired"
        assert client.get(made["authorizations"][0])["status"] == status


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, "evidence_malformed"),
        ({"format": "wit", "evidence": "x"}, "format_unsupported"),
        ({"format": "jwt", "evidence": 5}, "evidence_malformed"),
        ({"format": "jwt", "evidence": "\ud800.a.b"}, "evidence_malformed"),
        ({"format": "jwt", "evidence": "a" * 40_000}, "evidence_malformed"),
    ],
)
def test_what_is_no_proof_changes_nothing(client: AcmeClient, payload: dict[str, Any], code: str) -> None:
    _, made = order(client, URI, profile="workload-1h")
    refused = client.post(offered(client, made["authorizations"][0])["url"], payload)
    assert (refused.status_code, body_of(refused)["workloadError"]) == (400, code)
    assert client.get(made["authorizations"][0])["status"] == "pending"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("spiffe://prod.localhost/x", "rejectedIdentifier"),
        ("spiffe://test.localhost", "malformed"),
        ("https://test.localhost/x", "unsupportedIdentifier"),
        ("spiffe://test.localhost/../x", "malformed"),
    ],
)
def test_only_ids_of_the_trust_domain_are_ordered(client: AcmeClient, value: str, kind: str) -> None:
    assert client.refused(client.url("newOrder"), {"identifiers": [{"type": "uri", "value": value}]})[0] == kind


def test_the_profile_and_lifetime_are_the_rules(client: AcmeClient, platform: TokenIssuer) -> None:
    url, made = order(client, {"type": "uri", "value": CI_ID}, profile="workload-1h")
    challenge = offered(client, made["authorizations"][0])
    bound = f"{AUDIENCE}/{digest(client.key_authorization(challenge['token']))}"
    client.ok(challenge["url"], jwt(platform.token(issuers.github_actions(bound))))
    leaf = issue(client, url, [])
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() < 1000
    assert names_of(leaf) == ([CI_ID], [])


def test_a_rule_that_is_gone_stops_the_issuance(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer
) -> None:
    ca = make_ca(**settings)
    client = ca.client().register()
    url, made = order(client, URI, DNS, profile="workload-1h")
    client.ok(offered(client, made["authorizations"][0])["url"], jwt(cluster.token(issuers.kubernetes(AUDIENCE))))
    assert client.get(url)["status"] == "ready"
    later = make_ca(**settings | {"workload": settings["workload"][1:]})
    client.app = later.app
    refused = client.finalize(client.get(url), make_csr([NAME]))
    assert body_of(refused)["workloadError"] == "no_policy"
    assert client.get(url)["status"] == "ready"


def test_an_order_for_an_identity_gets_a_profile_that_carries_it(client: AcmeClient) -> None:
    assert order(client, URI)[1]["profile"] == "workload-1h"
    assert order(client, DNS)[1]["profile"] == "server-1h"
    body = {"identifiers": [URI], "profile": "server-1h"}
    kind, detail, _ = client.refused(client.url("newOrder"), body)
    assert (kind, "workload-1h" in detail) == ("invalidProfile", True)


def test_a_machine_proves_itself_by_the_certificate_it_has(
    make_ca: MakeCa, settings: dict[str, Any], tmp_path: Path
) -> None:
    root = Authority.root("bootstrap root", 10)
    provider = {"type": "x5c", "name": "machines", "ca_file": write_pem(tmp_path / "ca.pem", root.certificate)}
    rule = {"name": "machines", "provider": "machines", "match": {"common_name": "workload"}, "dns": [NAME]}
    ca = make_ca(**settings | {"provider": (provider,), "workload": (rule,)})
    client = ca.client().register()
    _, made = order(client, DNS)
    challenge = offered(client, made["authorizations"][0])
    assert challenge["formats"] == ["x5c"]
    holder = root.leaf(x509.DNSName("host.corp.example"))
    stolen = holder.sign(challenge["url"], "another key authorization")
    thief = ca.client().register()
    _, theirs = order(thief, DNS)
    refused = thief.post(offered(thief, theirs["authorizations"][0])["url"], {"format": "x5c", "evidence": stolen})
    assert body_of(refused)["workloadError"] == "binding_mismatch"
    evidence = holder.sign(challenge["url"], client.key_authorization(challenge["token"]))
    answer = client.ok(challenge["url"], {"format": "x5c", "evidence": evidence})
    assert body_of(answer)["status"] == "valid"


def test_a_proof_decides_nothing_outside_of_its_order(client: AcmeClient, cluster: TokenIssuer) -> None:
    _, first = order(client, DNS)
    _, second = order(client, URI, DNS)
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    client.ok(offered(client, second["authorizations"][0])["url"], jwt(token))
    assert client.get(first["authorizations"][0])["status"] == "pending"


def test_new_authz_offers_no_proof_that_orders_could_not_use(client: AcmeClient) -> None:
    """What a workload proves is good for the one order it was proved for."""
    made = body_of(client.ok(client.url("newAuthz"), {"identifier": DNS}, status=201))
    assert CHALLENGE not in [each["type"] for each in made["challenges"]]
    assert client.refused(client.url("newAuthz"), {"identifier": URI})[0] == "rejectedIdentifier"


def test_a_profile_that_left_the_configuration_is_refused_at_finalize(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer
) -> None:
    client = make_ca(**settings).client().register()
    url, made = order(client, DNS, profile="workload-1h")
    client.ok(offered(client, made["authorizations"][0])["url"], jwt(cluster.token(issuers.kubernetes(AUDIENCE))))
    rules = tuple({**rule, "profiles": ["server-1h"]} for rule in settings["workload"])
    client.app = make_ca(**settings | {"workload": rules, "profiles": ("server-1h",)}).app
    refused = client.finalize(client.get(url), make_csr([NAME]))
    assert (refused.status_code, body_of(refused)["type"].rpartition(":")[2]) == (400, "invalidProfile")


def test_an_order_that_names_no_profile_gets_one_of_the_rule(client: AcmeClient, cluster: TokenIssuer) -> None:
    url, made = order(client, DNS)
    assert made["profile"] == "server-1h"
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    client.ok(offered(client, made["authorizations"][0])["url"], jwt(token))
    leaf = issue(client, url, [NAME])
    assert client.get(url)["profile"] == "workload-1h"
    assert names_of(leaf) == ([SPIFFE_ID], [NAME])


def test_an_order_that_names_its_profile_gets_no_other(client: AcmeClient, cluster: TokenIssuer) -> None:
    url, made = order(client, DNS, profile="server-1h")
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    client.ok(offered(client, made["authorizations"][0])["url"], jwt(token))
    refused = body_of(client.finalize(client.get(url), make_csr([NAME])))
    assert refused["type"].endswith(":invalidProfile")
    assert "workload-1h" in refused["detail"]
