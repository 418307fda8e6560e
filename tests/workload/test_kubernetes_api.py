"""What the API server of a cluster says about tokens, pods and service accounts."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from acme_ca.workload.base import Workload
from acme_ca.workload.kubernetes import LIVENESS_CLAIMS
from tests.support.https_api import Fault
from tests.support.issuers import TokenIssuer, kubernetes
from tests.support.jws import shared_key
from tests.support.token_review import CREDENTIAL, REVIEWS, Cluster, path
from tests.workload.proofs import AUDIENCE, BOUND, refused
from tests.workload.providers import bound, of_cluster, refusal, reviewing, verify

POD = "5e0bd49b-f040-43b0-99b7-22765a53f7f3"
ACCOUNT = "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"

# --- TokenReview ---


def test_a_reviewed_token(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.run(kubernetes(AUDIENCE))
    token = issuer.token(kubernetes(AUDIENCE))

    found = verify(reviewing(issuer, cluster), token)

    assert found.checks[-1] == f"token review: the token is known to {cluster.api.url}"
    assert cluster.reviewed == [{"token": token, "audiences": [AUDIENCE]}]


def test_the_token_of_a_workload_is_never_the_credential(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.run(kubernetes(AUDIENCE))
    verify(reviewing(issuer, cluster), issuer.token(kubernetes(AUDIENCE)))

    assert [request.fields["authorization"] for request in cluster.api.requests] == [f"Bearer {CREDENTIAL}"]


def test_a_bound_token_is_reviewed_for_its_audience(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.run(kubernetes(BOUND))

    verify(reviewing(issuer, cluster), issuer.token(kubernetes(BOUND)))

    assert cluster.reviewed[0]["audiences"] == [BOUND]


def test_what_is_wrong_already_is_not_reviewed(issuer: TokenIssuer, cluster: Cluster) -> None:
    refusal(reviewing(issuer, cluster), issuer.token(kubernetes("vault")))
    refusal(reviewing(issuer, cluster), issuer.token(kubernetes(AUDIENCE), key=shared_key("rsa-2048", 77)))

    assert cluster.api.requests == []


@pytest.mark.parametrize("mode", ["enforce", "best-effort"])
@pytest.mark.parametrize(("kind", "name"), [("pods", "api-7d9f"), ("serviceaccounts", "api")])
def test_what_is_gone_is_gone(issuer: TokenIssuer, cluster: Cluster, mode: str, kind: str, name: str) -> None:
    cluster.run(kubernetes(AUDIENCE))
    cluster.objects.pop(path(kind, "pay", name))

    code, detail = refusal(reviewing(issuer, cluster, mode=mode), issuer.token(kubernetes(AUDIENCE)))

    assert code == "subject_gone"
    assert "is gone" in detail


def test_a_pod_of_the_same_name_is_another_pod(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.run(kubernetes(AUDIENCE))
    cluster.objects[path("pods", "pay", "api-7d9f")] = "another"

    assert refusal(reviewing(issuer, cluster), issuer.token(kubernetes(AUDIENCE)))[0] == "subject_gone"


STATUSES: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "not authenticated": ({"authenticated": False}, {}, "subject_gone"),
    "text for authenticated": ({"authenticated": "true"}, {}, "subject_gone"),
    "nothing about authentication": ({"authenticated": None}, {}, "subject_gone"),
    "an error without end": ({"authenticated": False, "error": "x" * 100_000}, {}, "subject_gone"),
    "no audiences": ({"audiences": None}, {}, "audience_mismatch"),
    "an empty list of audiences": ({"audiences": []}, {}, "audience_mismatch"),
    "other audiences": ({"audiences": ["https://kubernetes.default.svc"]}, {}, "audience_mismatch"),
    "strange audiences": ({"audiences": [{}, 1]}, {}, "audience_mismatch"),
    "no user": ({"user": None}, {}, "subject_gone"),
    "another user": ({}, {"username": "system:serviceaccount:pay:other"}, "subject_gone"),
    "another uid": ({}, {"uid": "another"}, "subject_gone"),
    "no pod": ({}, {"extra": {}}, "subject_gone"),
    "null for what is extra": ({}, {"extra": None}, "subject_gone"),
    "another pod": ({}, {"extra": {"authentication.kubernetes.io/pod-uid": ["another"]}}, "subject_gone"),
    "two pods": ({}, {"extra": {"authentication.kubernetes.io/pod-uid": [POD, POD]}}, "subject_gone"),
}


@pytest.mark.parametrize("mode", ["enforce", "best-effort"])
@pytest.mark.parametrize("case", STATUSES)
def test_reviews_that_do_not_agree(issuer: TokenIssuer, cluster: Cluster, case: str, mode: str) -> None:
    cluster.run(kubernetes(AUDIENCE))
    cluster.status, cluster.user, code = STATUSES[case]

    found, detail = refusal(reviewing(issuer, cluster, mode=mode), issuer.token(kubernetes(AUDIENCE)))

    assert found == code
    assert len(detail) < 1000


def test_a_review_of_a_token_without_a_pod(issuer: TokenIssuer, cluster: Cluster) -> None:
    claims = kubernetes(AUDIENCE, **bound(pod=None, node=None))
    cluster.run(claims)
    found = of_cluster(issuer, require_pod_bound=False, token_review=cluster.settings())

    assert verify(found, issuer.token(claims)).instance == ACCOUNT


FAULTS: tuple[Fault, ...] = ("500", "redirect", "garbage", "array", "deep", "huge", "empty", "cut")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_api_server_that_is_away(issuer: TokenIssuer, cluster: Cluster, fault: Fault) -> None:
    cluster.run(kubernetes(AUDIENCE))
    cluster.api.fault = fault
    token = issuer.token(kubernetes(AUDIENCE))

    assert refusal(reviewing(issuer, cluster), token)[0] == "provider_unavailable"
    found = verify(reviewing(issuer, cluster, mode="best-effort"), token)
    assert found.checks[-1].startswith(f"token review: skipped, {cluster.api.url}{REVIEWS} ")
    assert verify(reviewing(issuer, cluster, mode="off"), token).checks[-1] == "token review: not configured"


@pytest.mark.parametrize("fault", ["silent", "drip"])
def test_an_api_server_that_is_slow(issuer: TokenIssuer, cluster: Cluster, fault: Fault) -> None:
    cluster.api.fault = fault

    found = reviewing(issuer, cluster, timeout=0.3)

    assert refusal(found, issuer.token(kubernetes(AUDIENCE)))[0] == "provider_unavailable"


def test_an_answer_without_a_status(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.api.answer = lambda _: (201, {"kind": "TokenReview"})

    code, detail = refusal(reviewing(issuer, cluster), issuer.token(kubernetes(AUDIENCE)))

    assert (code, "without the status" in detail) == ("provider_unavailable", True)


def test_a_credential_that_the_api_server_does_not_take(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.credential = "renewed"
    token = issuer.token(kubernetes(AUDIENCE))

    code, detail = refusal(reviewing(issuer, cluster), token)

    assert (code, "check its token and role" in detail) == ("provider_unavailable", True)
    assert CREDENTIAL not in detail

    cluster.run(kubernetes(AUDIENCE))
    cluster.credential_file.chmod(0o600)
    cluster.credential_file.write_text("renewed")
    verify(reviewing(issuer, cluster), token)


def test_a_credential_that_is_not_there(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.credential_file.unlink()
    token = issuer.token(kubernetes(AUDIENCE))

    assert refusal(reviewing(issuer, cluster), token)[0] == "provider_unavailable"
    assert "skipped" in verify(reviewing(issuer, cluster, mode="best-effort"), token).checks[-1]


# --- Liveness ---


def proved(issuer: TokenIssuer, **claims: object) -> Workload:
    return verify(of_cluster(issuer, require_pod_bound=False), issuer.token(kubernetes(AUDIENCE, **claims)))


def test_without_liveness_nobody_is_asked(issuer: TokenIssuer, cluster: Cluster) -> None:
    workload = proved(issuer)

    assert of_cluster(issuer).is_alive(workload)
    assert reviewing(issuer, cluster).is_alive(workload)
    assert cluster.api.requests == []


@pytest.mark.parametrize("liveness", ["serviceaccount", "pod"])
def test_what_runs_is_alive(issuer: TokenIssuer, cluster: Cluster, liveness: str) -> None:
    cluster.run(kubernetes(AUDIENCE))

    assert reviewing(issuer, cluster, liveness=liveness, mode="off").is_alive(proved(issuer))
    assert all(request.fields["authorization"] == f"Bearer {CREDENTIAL}" for request in cluster.api.requests)


def test_a_service_account_outlives_its_pods(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.run(kubernetes(AUDIENCE))
    del cluster.objects[path("pods", "pay", "api-7d9f")]

    assert reviewing(issuer, cluster, liveness="serviceaccount").is_alive(proved(issuer))
    assert not reviewing(issuer, cluster, liveness="pod").is_alive(proved(issuer))


@pytest.mark.parametrize(("kind", "name"), [("pods", "api-7d9f"), ("serviceaccounts", "api")])
def test_another_of_the_same_name_is_not_the_same(issuer: TokenIssuer, cluster: Cluster, kind: str, name: str) -> None:
    cluster.run(kubernetes(AUDIENCE))
    cluster.objects[path(kind, "pay", name)] = "another"

    assert not reviewing(issuer, cluster, liveness="pod").is_alive(proved(issuer))


def test_a_service_account_without_a_pod_is_asked_for_alone(issuer: TokenIssuer, cluster: Cluster) -> None:
    claims = bound(pod=None, node=None)
    cluster.run(kubernetes(AUDIENCE, **claims))

    assert reviewing(issuer, cluster, liveness="pod").is_alive(proved(issuer, **claims))


def recorded(workload: Workload, claims: dict[str, Any]) -> Workload:
    return Workload(
        workload.provider,
        workload.issuer,
        workload.subject,
        claims,
        workload.mode,
        workload.expires_at,
        workload.instance,
    )


def test_a_record_has_to_keep_what_is_asked_for(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.run(kubernetes(AUDIENCE))
    workload = proved(issuer)
    kept = {name.partition(".")[2]: workload.claims["kubernetes"][name.partition(".")[2]] for name in LIVENESS_CLAIMS}
    found = reviewing(issuer, cluster, liveness="pod")

    assert found.is_alive(recorded(workload, {"kubernetes": kept}))
    records: tuple[dict[str, Any], ...] = (
        {},
        {"kubernetes": None},
        {"kubernetes": []},
        {"kubernetes": kept | {"pod": None}},
        {"kubernetes": kept | {"pod": "../../secrets"}},
        {"kubernetes": kept | {"pod": {}}},
        {"kubernetes": kept | {"serviceaccount_uid": {}}},
    )
    for record in records:
        assert not found.is_alive(recorded(workload, deepcopy(record)))


def test_a_record_of_another_kind_is_not_alive(issuer: TokenIssuer, cluster: Cluster) -> None:
    workload = proved(issuer)
    stranger = Workload("eu1", workload.issuer, "repo:acme/pay", {}, "required", workload.expires_at)

    assert not reviewing(issuer, cluster, liveness="serviceaccount").is_alive(stranger)


def test_whether_something_is_alive_may_be_unknown(issuer: TokenIssuer, cluster: Cluster) -> None:
    cluster.api.fault = "500"
    found = reviewing(issuer, cluster, liveness="serviceaccount")

    assert refused(lambda: found.is_alive(proved(issuer)))[0] == "provider_unavailable"
