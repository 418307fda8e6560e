"""Pods of a Kubernetes cluster: what their tokens say, and what the API server says about them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from acme_ca.workload.base import Expected, Proof
from acme_ca.workload.kubernetes import Kubernetes
from tests.support.issuers import Claims, TokenIssuer, kubernetes
from tests.support.jws import shared_key
from tests.support.token_review import Cluster
from tests.workload.contract import ProviderContract
from tests.workload.proofs import AUDIENCE, BOUND, OF_NOBODY
from tests.workload.providers import bound, of_cluster, refusal, verify

PRESENT = int(time.time())
SUBJECT = "system:serviceaccount:pay:api"
POD = "5e0bd49b-f040-43b0-99b7-22765a53f7f3"
ACCOUNT = "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"


class TestKubernetes(ProviderContract):
    """What every provider promises, with TokenRequest and a review."""

    @pytest.fixture(autouse=True)
    def _servers(self, issuer: TokenIssuer, cluster: Cluster) -> None:
        self.issuer, self.cluster = issuer, cluster
        cluster.run(kubernetes(AUDIENCE))

    def provider(self) -> Kubernetes:
        return of_cluster(self.issuer, binding="required", token_review=self.cluster.settings())

    def proof(self, expected: Expected) -> Proof:
        return Proof("jwt", self.issuer.token(kubernetes(expected.bound_audience)))

    def foreign_proof(self) -> Proof:
        return Proof("jwt", self.issuer.token(kubernetes(BOUND, iss="https://elsewhere.example")))


def test_the_workload_of_a_projected_token(issuer: TokenIssuer) -> None:
    claims = kubernetes(AUDIENCE)

    found = verify(of_cluster(issuer), issuer.token(claims), OF_NOBODY)

    assert (found.provider, found.issuer, found.subject) == ("eu1", issuer.url, SUBJECT)
    assert (found.mode, found.instance, found.token_id) == ("affinity", POD, claims["jti"])
    assert found.expires_at.timestamp() == claims["exp"]
    assert found.claims["kubernetes"] == {
        "namespace": "pay",
        "serviceaccount": "api",
        "serviceaccount_uid": ACCOUNT,
        "pod": "api-7d9f",
        "pod_uid": POD,
        "node": "ip-10-0-1-7",
        "node_uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1",
    }
    assert "kubernetes.io" not in found.claims
    assert found.checks[-1] == "token review: not configured"


def test_a_bound_token_is_more_than_affinity_asks_for(issuer: TokenIssuer) -> None:
    assert verify(of_cluster(issuer), issuer.token(kubernetes(BOUND))).mode == "required"
    assert refusal(of_cluster(issuer, binding="required"), issuer.token(kubernetes(AUDIENCE)))[0] == "audience_mismatch"


def test_older_clusters_do_not_tell_the_node_or_its_uid(issuer: TokenIssuer) -> None:
    for node, told in ((None, {}), ({"name": "n1"}, {"node": "n1"})):
        found = verify(of_cluster(issuer), issuer.token(kubernetes(AUDIENCE, **bound(node=node)))).claims["kubernetes"]
        assert {name: value for name, value in found.items() if name.startswith("node")} == told


def test_a_token_that_is_bound_to_no_pod(issuer: TokenIssuer) -> None:
    token = issuer.token(kubernetes(AUDIENCE, **bound(pod=None, node=None)))

    assert refusal(of_cluster(issuer), token)[0] == "evidence_malformed"
    assert verify(of_cluster(issuer, require_pod_bound=False), token).instance == ACCOUNT


MUTANTS: dict[str, tuple[Claims, str]] = {
    "another issuer": ({"iss": "https://elsewhere.example"}, "issuer_untrusted"),
    "no audience": ({"aud": None}, "evidence_malformed"),
    "somebody else's audience": ({"aud": ["vault"]}, "audience_mismatch"),
    "an audience more": ({"aud": [AUDIENCE, "vault"]}, "audience_mismatch"),
    "bound to another key": ({"aud": [f"{AUDIENCE}/{'A' * 43}"]}, "binding_mismatch"),
    "no end": ({"exp": None}, "evidence_malformed"),
    "no beginning": ({"iat": None}, "evidence_malformed"),
    "ended": ({"iat": PRESENT - 3700, "exp": PRESENT - 300}, "token_expired"),
    "not yet good": ({"nbf": PRESENT + 9000}, "token_not_yet_valid"),
    "made for a year": ({"exp": PRESENT + 31_536_000}, "token_too_old"),
    "extended to a year": (bound(warnafter=PRESENT), "token_too_old"),
    "no subject": ({"sub": None}, "evidence_malformed"),
    "a list for sub": ({"sub": [SUBJECT]}, "evidence_malformed"),
    "a user": ({"sub": "system:admin"}, "evidence_malformed"),
    "another service account": ({"sub": "system:serviceaccount:pay:other"}, "evidence_malformed"),
    "another namespace": ({"sub": "system:serviceaccount:kube-system:api"}, "evidence_malformed"),
    "a subject with more behind it": ({"sub": f"{SUBJECT}:x"}, "evidence_malformed"),
    "a subject with a line break": ({"sub": f"{SUBJECT}\n"}, "evidence_malformed"),
    "no claims of Kubernetes": ({"kubernetes.io": None}, "evidence_malformed"),
    "text for the claims of Kubernetes": ({"kubernetes.io": "pay"}, "evidence_malformed"),
    "claims of its own": ({"kubernetes": {"namespace": "pay"}}, "evidence_malformed"),
    "no namespace": (bound(namespace=None), "evidence_malformed"),
    "a namespace that does not agree": (bound(namespace="kube-system"), "evidence_malformed"),
    "a list for the namespace": (bound(namespace=["pay"]), "evidence_malformed"),
    "no service account": (bound(serviceaccount=None), "evidence_malformed"),
    "a service account that does not agree": (
        bound(serviceaccount={"name": "admin", "uid": ACCOUNT}),
        "evidence_malformed",
    ),
    "a service account without a uid": (bound(serviceaccount={"name": "api"}), "evidence_malformed"),
    "a number for a uid": (bound(serviceaccount={"name": "api", "uid": 1}), "evidence_malformed"),
    "no pod": (bound(pod=None), "evidence_malformed"),
    "text for a pod": (bound(pod="api-7d9f"), "evidence_malformed"),
    "a pod without a uid": (bound(pod={"name": "api-7d9f"}), "evidence_malformed"),
    "a pod with an empty uid": (bound(pod={"name": "api-7d9f", "uid": ""}), "evidence_malformed"),
    "a pod that leads elsewhere": (bound(pod={"name": "../secrets/x", "uid": POD}), "evidence_malformed"),
    "a pod in capitals": (bound(pod={"name": "API", "uid": POD}), "evidence_malformed"),
    "a pod with a long name": (bound(pod={"name": "a" * 254, "uid": POD}), "evidence_malformed"),
    "a node with a number for a uid": (bound(node={"name": "n1", "uid": 1}), "evidence_malformed"),
}


@pytest.mark.parametrize("case", MUTANTS)
def test_one_thing_wrong_is_enough(issuer: TokenIssuer, case: str) -> None:
    claims, code = MUTANTS[case]

    assert refusal(of_cluster(issuer), issuer.token(kubernetes(AUDIENCE, **claims)))[0] == code


def test_a_token_of_another_key(issuer: TokenIssuer) -> None:
    token = issuer.token(kubernetes(AUDIENCE), key=shared_key("rsa-2048", 77))

    assert refusal(of_cluster(issuer), token)[0] == "signature_invalid"


def test_an_old_token_that_never_ends(issuer: TokenIssuer) -> None:
    """Those of Secrets, before TokenRequest."""
    claims: Claims = {
        "sub": SUBJECT,
        "kubernetes.io/serviceaccount/namespace": "pay",
        "kubernetes.io/serviceaccount/service-account.name": "api",
        "kubernetes.io/serviceaccount/service-account.uid": ACCOUNT,
    }

    assert refusal(of_cluster(issuer), issuer.token(claims))[0] == "evidence_malformed"


@pytest.mark.parametrize(
    "audience",
    [
        "https://kubernetes.default.svc",
        "https://kubernetes.default.svc/",
        "k3s",
        "sts.amazonaws.com",
        "own-api",
        "ISSUER",
    ],
)
def test_tokens_for_the_api_server_are_refused(issuer: TokenIssuer, audience: str) -> None:
    """One of several audiences is enough: whoever gets such a token can use it there."""
    audience = audience.replace("ISSUER", issuer.url)
    found = of_cluster(issuer, allow_extra_audiences=True, api_audiences=["own-api"])

    code, detail = refusal(found, issuer.token(kubernetes([AUDIENCE, audience])))

    assert code == "audience_mismatch"
    assert audience in detail


def test_a_subject_may_be_a_name_with_dots(issuer: TokenIssuer) -> None:
    name = "api.v2"
    claims = {"sub": f"system:serviceaccount:pay:{name}"} | bound(serviceaccount={"name": name, "uid": ACCOUNT})

    assert (
        verify(of_cluster(issuer), issuer.token(kubernetes(AUDIENCE, **claims))).claims["kubernetes"]["serviceaccount"]
        == name
    )


# --- Configuration ---

MISTAKES: dict[str, dict[str, Any]] = {
    "tofu": {"binding": "tofu"},
    "the audience of the API server": {"audiences": ["https://kubernetes.default.svc"]},
    "the audience of AWS": {"audiences": ["sts.amazonaws.com"]},
    "the issuer as audience": {"audiences": ["https://issuer.example"]},
    "an own audience of the API server": {"audiences": ["api-of-ours"], "api_audiences": ["api-of-ours"]},
    "audiences that do not count": {"binding": "required", "audiences": ["x"]},
    "text for a boolean": {"require_pod_bound": "no"},
    "an API in the clear": {"token_review": {"api": "http://127.0.0.1:6443", "token": "env:T"}},
    "an API with a query": {"token_review": {"api": "https://127.0.0.1:6443/?a", "token": "env:T"}},
    "an API without a credential": {"token_review": {"api": "https://127.0.0.1:6443"}},
    "a credential as it is": {"token_review": {"api": "https://127.0.0.1:6443", "token": "eyJ"}},
    "a mode that is not there": {"token_review": {"api": "https://127.0.0.1:6443", "token": "env:T", "mode": "on"}},
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_stop_the_start(case: str) -> None:
    good = {"name": "eu1", "type": "kubernetes", "issuer": "https://issuer.example"}
    Kubernetes.model_validate(good)

    with pytest.raises(ValidationError):
        Kubernetes.model_validate_json(json.dumps(good | MISTAKES[case]))


def test_the_api_is_known_by_its_url() -> None:
    review = {"api": "https://10.0.0.1:6443/", "token": "env:T"}
    settings = {"name": "eu1", "issuer": "https://issuer.example", "token_review": review}

    found = Kubernetes.model_validate_json(json.dumps(settings)).token_review

    assert found is not None
    assert (found.api, found.mode, found.liveness) == ("https://10.0.0.1:6443", "enforce", "off")
