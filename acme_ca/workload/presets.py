"""Settings for issuers that many use: what each is, how its tokens can be bound, and what of them counts.

Only data, of the fields of Oidc. What the operator writes wins over it, field by field. Issuers that everybody has one
of his own (a GitLab, a Kubernetes cluster, an Azure tenant) have no default.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

HOUR = 3600
MINUTE = 60

PresetName = Literal[
    "aws-web-identity",
    "eks-irsa",
    "gcp",
    "azure-managed-identity",
    "nomad",
    "github-actions",
    "gitlab",
    "jenkins",
    "terraform-cloud",
]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # AWS STS GetWebIdentityToken: each account has an issuer of its own, https://ID.tokens.sts.global.api.aws.
        "aws-web-identity": {
            "algorithms": ("ES384", "RS256"),
            "binding": "required",
            "max_token_ttl": HOUR,
            "renames": {"https://sts.amazonaws.com/": "aws"},
            "dropped": ("aws.request_tags",),  # whoever asks for the token chooses them
        },
        # Tokens of service accounts on EKS, for a second projected volume: the one for sts.amazonaws.com would let
        # this CA, and whoever steals from it, take the pod's role. The issuer is the cluster's.
        "eks-irsa": {
            "algorithms": ("RS256",),
            "binding": "affinity",
            "max_token_ttl": 24 * HOUR,
            "renames": {"kubernetes.io": "kubernetes"},
            "instance": ("kubernetes.pod.uid",),
            "forbidden_audiences": ("sts.amazonaws.com",),
            "forbidden": ("kubernetes.warnafter",),
        },
        # The metadata server's identity tokens; google.compute_engine is there only on Compute Engine, format=full.
        "gcp": {
            "issuer": "https://accounts.google.com",
            "jwks": {"source": "discovery", "jwks_hosts": ("www.googleapis.com",)},
            "algorithms": ("RS256",),
            "binding": "required",
            "max_token_ttl": HOUR,
            "instance": ("google.compute_engine.instance_id",),
        },
        # The issuer is https://sts.windows.net/TENANT/ or https://login.microsoftonline.com/TENANT/v2.0. Users of the
        # tenant get tokens from it too, which are not `app`. The instance is the machine that the token was made for.
        "azure-managed-identity": {
            "jwks": {"source": "discovery", "jwks_hosts": ("login.microsoftonline.com", "login.windows.net")},
            "algorithms": ("RS256",),
            "binding": "affinity",
            "max_token_ttl": 25 * HOUR,  # 24 h, and five minutes that Entra ID puts on top
            "instance": ("xms_az_rid",),
            "required": {"idtyp": ("app",)},
        },
        # The issuer is `oidc_issuer` of the servers, without which tokens have no `iss`. `ttl` in the job gives `exp`.
        "nomad": {
            "algorithms": ("RS256", "EdDSA"),
            "binding": "affinity",
            "max_token_ttl": HOUR,
            "instance": ("nomad_allocation_id",),
        },
        # `sub` changes with the names of things: rules should use repository_id, repository_owner_id and environment.
        "github-actions": {
            "issuer": "https://token.actions.githubusercontent.com",
            "algorithms": ("RS256",),
            "binding": "required",
            "max_token_ttl": 15 * MINUTE,
            "instance": ("run_id", "run_attempt"),
            "required": {"repository_id": (), "repository_owner_id": ()},
        },
        # Pipelines of forks have project_* of the fork; rules should ask for ref_protected and environment_protected,
        # which are the strings "true" and "false". Tokens live as long as the job may.
        "gitlab": {
            "algorithms": ("RS256",),
            "binding": "affinity",
            "max_token_ttl": 3 * HOUR,
            "instance": ("job_id",),
            "required": {"project_id": (), "namespace_id": ()},
        },
        # The plugin oidc-provider: the issuer is JENKINS_URL/oidc, or that of a folder. The audience is a setting of
        # the credential. Tokens outside of a build have no build_number.
        "jenkins": {
            "algorithms": ("RS256", "ES256", "ES384"),
            "binding": "affinity",
            "max_token_ttl": HOUR,
            "instance": ("sub", "build_number"),
            "required": {"build_number": ()},
        },
        # HCP Terraform; Terraform Enterprise has an issuer of its own. TFC_WORKLOAD_IDENTITY_AUDIENCE is the audience.
        # Plan and apply are phases with tokens of their own, on machines of their own.
        "terraform-cloud": {
            "issuer": "https://app.terraform.io",
            "algorithms": ("RS256",),
            "binding": "affinity",
            "max_token_ttl": 24 * HOUR,  # the time that an apply may take
            "instance": ("terraform_run_id", "terraform_run_phase"),
            "required": {"terraform_organization_id": (), "terraform_workspace_id": ()},
        },
    }
)
"""The presets by name."""
