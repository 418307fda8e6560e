"""An issuer of workload tokens over HTTPS on loopback: discovery, JWKS, rotation, and the claims of each platform.

`with serve(folder) as issuer:`; `issuer.token(github_actions(audience))` is a token of a job, and `issuer.settings` are
what a provider needs to believe it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import https_api
from tests.support.https_api import HttpsApi, Request
from tests.support.jws import Kind, PrivateKey, algorithm, b64, public_jwk, shared_key
from tests.support.pop import signature

CONFIGURATION = "/.well-known/openid-configuration"
JWKS = "/keys"
HOUR = 3600

Claims = dict[str, Any]


@dataclass
class TokenIssuer:
    """An issuer and its keys by their names, the newest last. Those in `hidden` are published as they stand there."""

    keys: dict[str, PrivateKey] = field(default_factory=dict)
    hidden: list[object] = field(default_factory=list)
    configuration: dict[str, object] = field(default_factory=dict)
    """Members of the configuration document that are others than they should be."""
    api: HttpsApi = field(init=False)

    @property
    def url(self) -> str:
        """The claim `iss`."""
        return self.api.url

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a provider that believes this issuer by discovery."""
        return {"issuer": self.url, "jwks": self.discovery()}

    def discovery(self, **settings: object) -> dict[str, object]:
        """A source of keys: discovery."""
        return {"source": "discovery", "ca_file": str(self.api.ca_file), "timeout": 20} | settings

    @property
    def newest(self) -> str:
        """The name of the key that signs."""
        return next(reversed(self.keys))

    def rotate(self, kind: Kind = "ec-p256", *, keep: bool = True) -> PrivateKey:
        """Sign with a new key from now on; without `keep` the others are published no more."""
        number = len(self.keys) if keep else 50 + len(self.keys)
        kept = self.keys if keep else {}
        self.keys = {**kept, f"key-{number}": shared_key(kind, 300 + number)}
        return self.keys[self.newest]

    def jwks(self) -> dict[str, object]:
        """The keys as they are published."""
        published = [
            public_jwk(key) | {"kid": kid, "use": "sig", "alg": algorithm(key)} for kid, key in self.keys.items()
        ]
        return {"keys": [*published, *self.hidden]}

    def token(
        self,
        claims: Mapping[str, object],
        *,
        key: PrivateKey | None = None,
        header: Mapping[str, object] | None = None,
    ) -> str:
        """A token with these claims and `iss`. A claim or a member of the header that is None is left out."""
        signer = self.keys[self.newest] if key is None else key
        protected = {"typ": "JWT", "kid": self.newest, "alg": algorithm(signer)} | dict(header or {})
        return compact(signer, _kept(protected), _kept({"iss": self.url} | dict(claims)))

    def _answer(self, request: Request) -> tuple[int, object]:
        if request.path == CONFIGURATION:
            return 200, {"issuer": self.url, "jwks_uri": self.url + JWKS} | self.configuration
        return (200, self.jwks()) if request.path == JWKS else (404, {})


@contextmanager
def serve(folder: Path, kind: Kind = "rsa-2048") -> Iterator[TokenIssuer]:
    """Run an issuer with one key."""
    issuer = TokenIssuer()
    issuer.rotate(kind)
    folder.mkdir(exist_ok=True)
    with https_api.serve(folder, issuer._answer) as issuer.api:
        yield issuer


def compact(key: PrivateKey, header: object, payload: object) -> str:
    """A compact JWS by the algorithm of the header; bytes stand for themselves, all else becomes JSON."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(b64(part) for part in parts)
    alg = header.get("alg") if isinstance(header, dict) else None
    return f"{signing_input}.{b64(signature(key, alg, signing_input.encode()))}"


def _kept(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


# --- What the tokens of each platform say. Claims may be given to replace some ---


def _times(seconds: int) -> Claims:
    present = int(time.time())
    return {"iat": present, "exp": present + seconds}


def kubernetes(audience: object, **claims: object) -> Claims:
    """A bound token of a pod, from a projected volume or TokenRequest."""
    return {
        "aud": [audience] if isinstance(audience, str) else audience,
        "sub": "system:serviceaccount:pay:api",
        **_times(HOUR),
        "nbf": int(time.time()),
        "jti": "aed34954-5c1f-4c5d-9b8a-0a3b0d6e6f10",
        "kubernetes.io": {
            "namespace": "pay",
            "node": {"name": "ip-10-0-1-7", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
            "pod": {"name": "api-7d9f", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "api", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        },
    } | claims


def aws_web_identity(audience: object, **claims: object) -> Claims:
    """STS GetWebIdentityToken."""
    return {
        "aud": audience,
        "sub": "arn:aws:iam::123456789012:role/pay-api",
        **_times(300),
        "jti": "0f8c1b9e-6a43-4c55-8f2e-1f0f6f3b9a11",
        "https://sts.amazonaws.com/": {
            "aws_account": "123456789012",
            "source_region": "eu-west-1",
            "org_id": "o-abc1234567",
            "ou_path": "o-abc1234567/r-ab12/ou-ab12-11111111",
            "principal_tags": {"env": "prod"},
            "lambda_source_function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:pay",
            "request_tags": {"env": "chosen by whoever asks"},
        },
    } | claims


def eks_irsa(audience: object, **claims: object) -> Claims:
    """A service account's token on EKS, which lives for a day."""
    return kubernetes(audience, **(_times(24 * HOUR) | claims))


def gcp(audience: object, **claims: object) -> Claims:
    """The metadata server's identity token, format=full."""
    return {
        "aud": audience,
        "azp": "112010400000000710080",
        "sub": "112010400000000710080",
        "email": "api@prj-prod.iam.gserviceaccount.com",
        "email_verified": True,
        **_times(HOUR),
        "google": {
            "compute_engine": {
                "project_id": "prj-prod",
                "project_number": 739419398126,
                "zone": "europe-west1-b",
                "instance_id": "152986662232938449",
                "instance_name": "pay-1",
                "instance_creation_timestamp": 1792000000,
            }
        },
    } | claims


def azure_managed_identity(audience: object, **claims: object) -> Claims:
    """An access token of a managed identity, version 1.0."""
    group = "/subscriptions/5f2c1b7e/resourcegroups/pay/providers"
    return {
        "aud": audience,
        "tid": "9188040d-6c67-4c5b-b112-36a304b66dad",
        "oid": "7f1c9d0e-3a2b-4c5d-8e9f-0a1b2c3d4e5f",
        "sub": "7f1c9d0e-3a2b-4c5d-8e9f-0a1b2c3d4e5f",
        "appid": "1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809",
        "idtyp": "app",
        "ver": "1.0",
        **_times(24 * HOUR + 300),
        "nbf": int(time.time()),
        "xms_mirid": f"{group}/Microsoft.ManagedIdentity/userAssignedIdentities/pay-api",
        "xms_az_rid": f"{group}/Microsoft.Compute/virtualMachines/pay-1",
    } | claims


def nomad(audience: object, **claims: object) -> Claims:
    """An identity of a task."""
    return {
        "aud": audience,
        "sub": "global:pay:api:web:server:acme",
        "jti": "3e8a1d5b-9b1c-47f2-a0c7-51c0e2c8f7aa",
        **_times(HOUR),
        "nbf": int(time.time()),
        "nomad_namespace": "pay",
        "nomad_job_id": "api",
        "nomad_allocation_id": "5c63a6f4-92e9-4d0b-a8b0-6f6f1b1e5f10",
        "nomad_task": "server",
    } | claims


def github_actions(audience: object, **claims: object) -> Claims:
    """An ID token of a job."""
    return {
        "aud": audience,
        "sub": "repo:acme@123456/pay@456789:environment:prod",
        "repository": "acme/pay",
        "repository_id": "456789",
        "repository_owner": "acme",
        "repository_owner_id": "123456",
        "environment": "prod",
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "event_name": "push",
        "job_workflow_ref": "acme/ci/.github/workflows/d.yml@refs/heads/main",
        "run_id": "1",
        "run_attempt": "1",
        "runner_environment": "self-hosted",
        "jti": "d0a9f6a2-7d9e-4a67-8d4b-9b6d0c1f2e33",
        **_times(300),
        "nbf": int(time.time()) - 300,
    } | claims


def gitlab(audience: object, **claims: object) -> Claims:
    """An ID token of a job."""
    return {
        "aud": audience,
        "sub": "project_path:pay/api:ref_type:branch:ref:main",
        "namespace_id": "22",
        "namespace_path": "pay",
        "project_id": "2",
        "project_path": "pay/api",
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        "environment": "prod",
        "environment_protected": "true",
        "pipeline_source": "push",
        "job_id": "208",
        "ci_config_ref_uri": "gitlab.example/pay/api//.gitlab-ci.yml@refs/heads/main",
        "runner_environment": "self-hosted",
        "jti": "a7f3c1d2-1e4b-4b0c-9c8d-7e6f5a4b3c2d",
        **_times(HOUR),
        "nbf": int(time.time()) - 5,
    } | claims


def jenkins(audience: object, **claims: object) -> Claims:
    """An ID token of a build, by the plugin oidc-provider."""
    return {"aud": audience, "sub": "https://jenkins.example/job/pay/", "build_number": 42, **_times(HOUR)} | claims


def terraform_cloud(audience: object, **claims: object) -> Claims:
    """A workload identity token of a run."""
    workspace = "organization:acme:project:Default Project:workspace:pay"
    return {
        "aud": audience,
        "sub": f"{workspace}:run_phase:apply",
        "jti": "1192426d-b525-4fde-9d42-f238be437bbd",
        **_times(2 * HOUR),
        "nbf": int(time.time()) - 5,
        "terraform_organization_id": "org-GRNbCjYNpBB6NEH9",
        "terraform_organization_name": "acme",
        "terraform_project_id": "prj-vegSA59s1XPwMr2t",
        "terraform_project_name": "Default Project",
        "terraform_workspace_id": "ws-mbsd5E3Ktt5Rg2Xm",
        "terraform_workspace_name": "pay",
        "terraform_full_workspace": workspace,
        "terraform_run_id": "run-X3n1AUXNGWbfECsJ",
        "terraform_run_phase": "apply",
    } | claims


CLAIMS: Mapping[str, Callable[..., Claims]] = {
    "aws-web-identity": aws_web_identity,
    "eks-irsa": eks_irsa,
    "gcp": gcp,
    "azure-managed-identity": azure_managed_identity,
    "nomad": nomad,
    "github-actions": github_actions,
    "gitlab": gitlab,
    "jenkins": jenkins,
    "terraform-cloud": terraform_cloud,
}
"""The claims that a preset is for, by its name."""
