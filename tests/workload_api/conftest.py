"""A CA whose environment `test` believes a cluster and a platform with its own audience, with tokens of both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acme.conftest import MakeCa, ca_settings, make_ca, nameserver, website
from tests.support import issuers
from tests.support.acme_client import AcmeClient
from tests.support.ca import URL, RunningCa
from tests.support.issuers import TokenIssuer

__all__ = ["ca_settings", "make_ca", "nameserver", "website"]

AUDIENCE = f"{URL}/acme/test/workload"
TRUST_DOMAIN = "test.localhost"
SPIFFE_ID = f"spiffe://{TRUST_DOMAIN}/ns/pay/sa/api"
NAME = "api.pay.test.localhost"
CI_ID = f"spiffe://{TRUST_DOMAIN}/ci/456789"
CHALLENGE = "workload-identity-00"


def rules(**changes: Any) -> tuple[dict[str, Any], ...]:  # noqa: ANN401 - settings of rules
    """The rules of the tests: services of a cluster by namespace and service account, jobs of one repository."""
    return (
        {
            "name": "services",
            "provider": "cluster",
            "match": {"kubernetes.namespace": {"not_in": ["kube-system"]}},
            "spiffe": {
                "id": f"spiffe://{TRUST_DOMAIN}/ns/${{kubernetes.namespace}}/sa/${{kubernetes.serviceaccount}}",
                "add": "always",
            },
            "dns": ["${kubernetes.serviceaccount}.${kubernetes.namespace}.test.localhost"],
            "profiles": ["workload-1h"],
            **changes,
        },
        {
            "name": "jobs",
            "provider": "ci",
            "match": {"repository_id": "456789"},
            "spiffe": {"id": f"spiffe://{TRUST_DOMAIN}/ci/${{repository_id}}", "add": "on-request"},
            "dns": ["job.test.localhost"],
            "lifetime": 900,
        },
    )


def digest(text: str) -> str:
    """SHA-256 in base64url, as bound audiences end."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[TokenIssuer]:
    """The issuer of a cluster's tokens, whose audience is fixed."""
    with issuers.serve(tmp_path / "cluster") as issuer:
        yield issuer


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[TokenIssuer]:
    """The issuer of a CI platform's tokens, for any audience."""
    with issuers.serve(tmp_path / "platform", "ec-p256") as issuer:
        yield issuer


@pytest.fixture
def settings(cluster: TokenIssuer, platform: TokenIssuer) -> dict[str, Any]:
    """What the environment is configured with."""
    return {
        "trust_domain": TRUST_DOMAIN,
        "provider": (
            {"type": "kubernetes", "name": "cluster", **cluster.settings},
            {"type": "oidc", "name": "ci", "algorithms": ["ES256"], **platform.settings},
        ),
        "workload": rules(),
    }


@pytest.fixture
def ca(make_ca: MakeCa, settings: dict[str, Any], database_url: str) -> RunningCa:
    """The CA, on each kind of database."""
    return make_ca(database_url=database_url, **settings)


@pytest.fixture
def client(ca: RunningCa) -> AcmeClient:
    """A client with an account."""
    return ca.client().register()
