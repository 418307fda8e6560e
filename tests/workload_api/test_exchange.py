"""A proof in exchange for an external account key: any ACME client gets certificates without a challenge."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import TestResponse

from acme_ca import clock
from acme_ca.models import base
from acme_ca.models.owner import Owner, change_owner
from acme_ca.services import bindings
from acme_ca.services.bindings import Wanted
from tests.acme.conftest import MakeCa
from tests.support import issuers, token_review
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issuers import TokenIssuer
from tests.support.jws import Signer, eab, public_jwk
from tests.workload_api.conftest import AUDIENCE, CHALLENGE, CI_ID, NAME, SPIFFE_ID, digest, rules
from tests.workload_api.test_challenge import issue, names_of, order


def post(ca: RunningCa, path: str, body: dict[str, Any]) -> TestResponse:
    return ca.app.test_client().post(f"/acme/test/workload/{path}", json=body)


def exchange(ca: RunningCa, token: str, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - members of the request
    answer = post(ca, "eab", {"format": "jwt", "evidence": token, **members})
    assert answer.status_code == 201, answer.text
    return body_of(answer)


def refused(ca: RunningCa, token: str, **members: Any) -> str:  # noqa: ANN401 - members of the request
    answer = post(ca, "eab", {"format": "jwt", "evidence": token, **members})
    assert answer.status_code >= 400, answer.text
    return str(body_of(answer).get("workloadError"))


def binding_for(client: AcmeClient, pair: dict[str, Any]) -> dict[str, Any]:
    secret = base64.urlsafe_b64decode(pair["hmac_key"] + "=")
    return dict(eab(pair["kid"], secret, client.signer.key, client.url("newAccount")))


def register(ca: RunningCa, pair: dict[str, Any]) -> AcmeClient:
    client = ca.client()
    return client.register(externalAccountBinding=binding_for(client, pair))


def test_an_order_is_born_ready_and_the_certificate_has_the_identity(ca: RunningCa, cluster: TokenIssuer) -> None:
    pair = exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)))
    assert pair["kid"].startswith("wk_")
    assert pair["identity"] == {"spiffe_id": SPIFFE_ID, "dns": [NAME], "profiles": ["workload-1h"], "lifetime": None}
    client = register(ca, pair)

    url, made = client.order([NAME])

    assert made["status"] == "ready"
    assert made["profile"] == "workload-1h"
    assert made["identifiers"] == [{"type": "dns", "value": NAME}]
    (authorization,) = made["authorizations"]
    found = client.get(authorization)
    assert found["status"] == "valid"
    assert [(each["type"], each["status"]) for each in found["challenges"]] == [(CHALLENGE, "valid")]
    assert names_of(issue(client, url, [NAME])) == ([SPIFFE_ID], [NAME])


def test_the_key_is_good_once_and_for_ten_minutes(ca: RunningCa, cluster: TokenIssuer) -> None:
    pair = exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)))
    register(ca, pair)
    other = ca.client()
    assert other.refused(other.url("newAccount"), {"externalAccountBinding": binding_for(other, pair)})[2] == 403


def test_a_bound_exchange_takes_only_a_token_made_for_its_nonce(ca: RunningCa, platform: TokenIssuer) -> None:
    asked = body_of(post(ca, "nonce", {}))
    assert asked["audience"] == f"{AUDIENCE}/{digest(asked['nonce'])}"
    token = platform.token(issuers.github_actions(asked["audience"]))
    assert refused(ca, token) in ("audience_mismatch", "binding_mismatch")
    assert refused(ca, token, nonce=body_of(post(ca, "nonce", {}))["nonce"]) == "binding_mismatch"

    pair = exchange(ca, token, nonce=asked["nonce"])

    assert pair["identity"]["spiffe_id"] == CI_ID
    assert post(ca, "eab", {"format": "jwt", "evidence": token, "nonce": asked["nonce"]}).status_code == 400


def test_an_account_key_can_be_bound_without_an_external_key(ca: RunningCa, platform: TokenIssuer) -> None:
    signer = Signer.new()
    asked = body_of(post(ca, "nonce", {"account_jkt": signer.thumbprint}))
    assert asked["audience"] == f"{AUDIENCE}/{digest(asked['nonce'] + '.' + signer.thumbprint)}"
    token = platform.token(issuers.github_actions(asked["audience"]))
    found = exchange(ca, token, nonce=asked["nonce"], account_jkt=signer.thumbprint, eab=False)
    assert "kid" not in found
    client = ca.client()
    client.signer = signer
    client.register()

    url, made = client.order(["job.test.localhost"], profile="workload-1h")

    assert made["status"] == "ready"
    assert names_of(issue(client, url, ["job.test.localhost"])) == ([], ["job.test.localhost"])


def test_a_stolen_token_is_refused_and_the_binding_can_be_refreshed_by_its_account(
    ca: RunningCa, cluster: TokenIssuer
) -> None:
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    client = register(ca, exchange(ca, token))
    assert refused(ca, token) == "evidence_replayed"
    later = cluster.token(issuers.kubernetes(AUDIENCE, jti="later"))
    assert refused(ca, later) == "evidence_replayed"
    exchange(ca, later, account_jkt=client.signer.thumbprint, eab=False)
    stranger = ca.client().register()
    assert refused(ca, later, account_jkt=stranger.signer.thumbprint) == "evidence_replayed"


def test_a_provider_that_is_not_there_is_named(ca: RunningCa, cluster: TokenIssuer) -> None:
    proof = {"format": "jwt", "evidence": cluster.token(issuers.kubernetes(AUDIENCE))}
    answer = post(ca, "eab", proof | {"provider": "nope"})
    assert (answer.status_code, body_of(answer)["workloadError"]) == (403, "issuer_untrusted")
    assert "there is no provider 'nope' here that takes jwt" in body_of(answer)["detail"]


def test_names_outside_the_grant_go_the_ordinary_way(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    _, made = order(client, {"type": "dns", "value": NAME}, {"type": "dns", "value": "www.test.localhost"})
    assert made["status"] == "pending"
    statuses = {client.get(url)["identifier"]["value"]: client.get(url)["status"] for url in made["authorizations"]}
    assert statuses == {NAME: "valid", "www.test.localhost": "pending"}


def test_a_name_outside_the_grant_is_not_proved_by_the_binding(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    _, made = client.order(["www.test.localhost"])
    assert made["status"] == "pending"
    assert client.get(made["authorizations"][0])["status"] == "pending"
    made = body_of(
        client.ok(client.url("newAuthz"), {"identifier": {"type": "dns", "value": "www.test.localhost"}}, 201)
    )
    assert made["status"] == "pending"


def test_new_authz_is_valid_if_covered(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    made = client.ok(client.url("newAuthz"), {"identifier": {"type": "dns", "value": NAME}}, status=201)
    assert body_of(made)["status"] == "valid"


def test_deactivating_an_authorization_does_not_end_the_binding(ca: RunningCa, cluster: TokenIssuer) -> None:
    """As certbot --dry-run does."""
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    _, made = client.order([NAME])
    client.ok(made["authorizations"][0], {"status": "deactivated"})
    assert client.order([NAME])[1]["status"] == "ready"


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(subject="system:serviceaccount:pay:api"),
        Wanted(rule="services"),
        Wanted(provider="cluster"),
    ],
)
def test_revoking_cascades_at_once(ca: RunningCa, cluster: TokenIssuer, wanted: Wanted) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    url, made = client.order([NAME])
    assert bindings.revoke(ca.authority, "test", wanted, "taken over", by="uid:0") == 1
    assert client.get(url)["status"] == "invalid"
    assert client.finalize(made, make_csr([NAME])).status_code == 403
    assert client.order([NAME])[1]["status"] == "pending"
    (binding,), _ = bindings.page(ca.authority, "test", Wanted())
    assert binding.revoked_reason == "taken over"
    assert bindings.page(ca.authority, "test", Wanted(live=True)) == ([], None)


def test_a_csr_may_name_the_identity_and_no_other(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    for uris, status in (([SPIFFE_ID], 200), ([SPIFFE_ID + "x"], 400), ([SPIFFE_ID, CI_ID], 400)):
        _, made = client.order([NAME])
        answer = client.finalize(made, make_csr([NAME], uris=uris))
        assert answer.status_code == status, answer.text
        if status == 200:
            leaf = certificates(client.ok(body_of(answer)["certificate"]).text)[0]
            assert names_of(leaf) == ([SPIFFE_ID], [NAME])


def test_an_account_speaks_for_one_workload(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    assert refused(ca, cluster.token(web_pod()), account_jkt=client.signer.thumbprint) == "evidence_replayed"


def test_a_rule_for_the_challenge_alone_makes_no_binding(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer
) -> None:
    ca = make_ca(**settings | {"workload": rules(binding_ttl=0)})
    assert refused(ca, cluster.token(issuers.kubernetes(AUDIENCE))) == "no_policy"


def test_only_environments_with_providers_have_the_resources(ca: RunningCa) -> None:
    for path in ("nonce", "eab"):
        assert ca.app.test_client().post(f"/acme/prod/workload/{path}", json={}).status_code == 404
        assert ca.app.test_client().post(f"/acme/none/workload/{path}", json={}).status_code == 404
        assert ca.app.test_client().get(f"/acme/test/workload/{path}").status_code == 405


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"[]", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"format":"jwt"}', "application/json", 400),
        (b'{"format":"jwt","evidence":"a.b.c","account_jkt":"short"}', "application/json", 400),
        (b'{"format":"jwt","evidence":null,"eab":false}', "application/json", 400),
        (b'{"format":"jwt","evidence":"' + b"a" * 40_000 + b'"}', "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (b"a" * 140_000, "application/json", 413),
    ],
)
def test_bad_bodies_are_refused(ca: RunningCa, body: bytes, content_type: str, status: int) -> None:
    answer = ca.app.test_client().post("/acme/test/workload/eab", data=body, content_type=content_type)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_the_csr_key_is_not_the_accounts(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    assert isinstance(client.signer.key, ec.EllipticCurvePrivateKey)
    _, made = client.order([NAME])
    assert client.finalize(made, make_csr([NAME], client.signer.key)).status_code == 400


def web_pod() -> dict[str, Any]:
    claims = issuers.kubernetes(AUDIENCE, sub="system:serviceaccount:pay:web", jti="web")
    claims["kubernetes.io"] = {
        **claims["kubernetes.io"],
        "serviceaccount": {"name": "web", "uid": "w"},
        "pod": {"name": "web-1", "uid": "web-1"},
    }
    return claims


def test_a_new_account_key_speaks_for_the_same_workload_and_no_other(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    new = Signer.new()
    url = client.url("keyChange")
    inner = json.loads(
        new.sign(url, {"account": client.signer.kid, "oldKey": public_jwk(client.signer.key)}, nonce=None)
    )
    client.ok(url, inner)
    client.signer = Signer(new.key, client.signer.kid)
    assert client.order([NAME])[1]["status"] == "ready"
    assert refused(ca, cluster.token(web_pod()), account_jkt=new.thumbprint) == "evidence_replayed"
    exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE, jti="later")), account_jkt=new.thumbprint, eab=False)


def test_a_known_account_refreshes_its_binding_by_a_new_key_and_is_not_hindered_by_an_old_one(
    ca: RunningCa, cluster: TokenIssuer
) -> None:
    first = exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE)))
    client = register(ca, first)
    second = exchange(
        ca, cluster.token(issuers.kubernetes(AUDIENCE, jti="later")), account_jkt=client.signer.thumbprint
    )
    for pair in (second, first, second):
        body = {"externalAccountBinding": binding_for(client, pair)}
        answer = client.post(client.url("newAccount"), body, use_jwk=True)
        assert answer.status_code == 200, answer.text
    found, _ = bindings.page(ca.authority, "test", Wanted(live=True))
    assert [binding.account_id for binding in found] == [str(client.signer.kid).rpartition("/")[2]] * 2


def test_a_proof_for_the_account_key_stands_for_an_external_account_binding(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer
) -> None:
    """For clients that know no external account binding, where one is required."""
    ca = make_ca(**settings, external_account_required=True)
    client = ca.client()
    url = client.url("newAccount")
    assert client.refused(url, {}, use_jwk=True)[0] == "externalAccountRequired"
    token = cluster.token(issuers.kubernetes(AUDIENCE))
    exchange(ca, token, account_jkt=client.signer.thumbprint, eab=False)
    assert client.register().order([NAME])[1]["status"] == "ready"
    bindings.revoke(ca.authority, "test", Wanted(rule="services"), "gone", by="uid:0")
    other = ca.client()
    assert other.refused(url, {}, use_jwk=True)[0] == "externalAccountRequired"


def test_a_long_binding_ends_with_the_pod(
    make_ca: MakeCa, settings: dict[str, Any], cluster: TokenIssuer, tmp_path: Path
) -> None:
    claims = issuers.kubernetes(AUDIENCE)
    with token_review.serve(tmp_path / "api") as api:
        api.run(claims)
        review = api.settings(mode="enforce", liveness="pod")
        provider = {"type": "kubernetes", "name": "cluster", **cluster.settings, "token_review": review}
        long = rules(binding_ttl=30 * 86_400, liveness=True)[:1]
        ca = make_ca(**settings | {"provider": (provider,), "workload": long})
        client = register(ca, exchange(ca, cluster.token(claims)))
        assert client.order([NAME])[1]["status"] == "ready"

        api.objects.clear()

        names = [{"type": "uri", "value": SPIFFE_ID}, {"type": "dns", "value": NAME}]
        refusal = body_of(client.post(client.url("newOrder"), {"identifiers": names}))
        assert refusal["workloadError"] == "subject_gone"
        assert client.order([NAME])[1]["status"] == "pending"  # as for anybody, by what the rules allow
        assert refused(ca, cluster.token(issuers.kubernetes(AUDIENCE, jti="x"))) in (
            "subject_gone",
            "evidence_replayed",
        )


def test_a_new_account_key_changes_nothing_in_another_environment(make_ca: MakeCa, settings: dict[str, Any]) -> None:
    """The same account key may be used in several: what it owns in one is not touched by the other."""
    database = make_ca(**settings).authority.database
    moment = clock.now()
    with database.write() as connection:
        for environment in ("test", "prod"):
            base.insert(
                connection,
                Owner(key=environment, environment=environment, kind="instance", owner="old", first_seen_at=moment),
            )
        change_owner(connection, "test", "old", "new", moment)
    with database.read() as connection:
        owners = {row.environment: row.owner for row in base.find(connection, Owner, base.select(Owner))}
    assert owners == {"test": "new", "prod": "old"}
