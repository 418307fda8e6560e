"""Providers of tokens as the configuration file makes them, and what they say to a token."""

from __future__ import annotations

import json

from acme_ca.workload.base import Expected, Proof, Workload
from acme_ca.workload.kubernetes import Kubernetes
from acme_ca.workload.oidc import Oidc
from acme_ca.workload.tokens import TokenProvider
from tests.support.issuers import Claims, TokenIssuer, kubernetes
from tests.support.pop import now
from tests.support.token_review import Cluster
from tests.workload.proofs import AUDIENCE, EXPECTED, refused


def oidc(issuer: TokenIssuer, /, **settings: object) -> Oidc:
    """A provider that believes the issuer."""
    return Oidc.model_validate_json(json.dumps({"name": "gh", "type": "oidc"} | issuer.settings | settings))


def of_cluster(issuer: TokenIssuer, /, **settings: object) -> Kubernetes:
    """A provider that believes a cluster whose issuer this is."""
    known = {"name": "eu1", "type": "kubernetes"} | issuer.settings
    return Kubernetes.model_validate_json(json.dumps(known | settings))


def reviewing(issuer: TokenIssuer, cluster: Cluster, /, **settings: object) -> Kubernetes:
    """The same, which asks the cluster's API server."""
    return of_cluster(issuer, token_review=cluster.settings(**settings))


def verify(provider: TokenProvider, token: str, expected: Expected = EXPECTED) -> Workload:
    """The workload of a token, now."""
    return provider.verify(Proof("jwt", token), expected, now())


def refusal(provider: TokenProvider, token: str, expected: Expected = EXPECTED) -> tuple[str, str]:
    """The code and the detail of a refusal."""
    return refused(lambda: verify(provider, token, expected))


def bound(**changes: object) -> Claims:
    """The claims of a pod; changes are of kubernetes.io, where None takes a member away."""
    inner = kubernetes(AUDIENCE)["kubernetes.io"] | changes
    return {"kubernetes.io": {name: value for name, value in inner.items() if value is not None}}
