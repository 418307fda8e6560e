"""Presets: each one takes the tokens that its platform makes, and refuses what does not belong."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from acme_ca.workload.base import Proof, Workload
from acme_ca.workload.oidc import Oidc
from acme_ca.workload.presets import PRESETS, PresetName
from tests.support import issuers
from tests.support.issuers import CLAIMS, Claims, TokenIssuer
from tests.support.pop import now
from tests.workload.proofs import AUDIENCE, BOUND, EXPECTED, refused

GLOBAL = {
    "gcp": "https://accounts.google.com",
    "github-actions": "https://token.actions.githubusercontent.com",
    "terraform-cloud": "https://app.terraform.io",
}
INSTANCES = {
    "aws-web-identity": None,
    "eks-irsa": "5e0bd49b-f040-43b0-99b7-22765a53f7f3",
    "gcp": "152986662232938449",
    "azure-managed-identity": issuers.azure_managed_identity("")["xms_az_rid"],
    "nomad": "5c63a6f4-92e9-4d0b-a8b0-6f6f1b1e5f10",
    "github-actions": '["1","1"]',
    "gitlab": "208",
    "jenkins": '["https://jenkins.example/job/pay/","42"]',
    "terraform-cloud": '["run-X3n1AUXNGWbfECsJ","apply"]',
}
AFFINITY = {"eks-irsa", "azure-managed-identity", "nomad", "gitlab", "jenkins", "terraform-cloud"}


def provider(preset: str, issuer: TokenIssuer, /, **settings: object) -> Oidc:
    return Oidc.model_validate_json(json.dumps({"name": "p", "preset": preset} | issuer.settings | settings))


def verify(preset: str, issuer: TokenIssuer, audience: object = None, **claims: object) -> Workload:
    audience = audience or (AUDIENCE if preset in AFFINITY else BOUND)
    token = issuer.token(CLAIMS[preset](audience, **claims))
    return provider(preset, issuer).verify(Proof("jwt", token), EXPECTED, now())


def refusal(preset: str, issuer: TokenIssuer, audience: object = None, **claims: object) -> str:
    return refused(lambda: verify(preset, issuer, audience, **claims))[0]


def test_every_preset_is_there() -> None:
    assert set(PRESETS) == set(get_args(PresetName)) == set(CLAIMS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_takes_the_tokens_of_its_platform(issuer: TokenIssuer, preset: str) -> None:
    found = verify(preset, issuer)

    assert found.mode == ("affinity" if preset in AFFINITY else "required")
    assert found.subject == CLAIMS[preset](AUDIENCE)["sub"]
    assert found.instance == INSTANCES[preset]
    assert all("." not in name for name in found.claims)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_takes_a_bound_audience(issuer: TokenIssuer, preset: str) -> None:
    assert verify(preset, issuer, BOUND).mode == "required"


@pytest.mark.parametrize("preset", set(PRESETS) - AFFINITY)
def test_where_workloads_choose_their_audience_it_has_to_be_bound(issuer: TokenIssuer, preset: str) -> None:
    assert refusal(preset, issuer, AUDIENCE) == "audience_mismatch"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_needs_no_more_than_an_issuer(preset: str) -> None:
    settings: dict[str, Any] = {"name": "p", "preset": preset}
    if preset not in GLOBAL:
        settings["issuer"] = "https://issuer.example"

    found = Oidc.model_validate_json(json.dumps(settings))

    assert found.issuer == GLOBAL.get(preset, "https://issuer.example")


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_written_wins(preset: str) -> None:
    settings = {"issuer": "https://own.example", "algorithms": ["ES512"], "max_token_ttl": 61, "instance": ["own"]}

    found = Oidc.model_validate_json(json.dumps({"name": "p", "preset": preset} | settings))

    assert (found.issuer, found.algorithms, found.max_token_ttl, found.instance) == (
        "https://own.example",
        ("ES512",),
        61,
        ("own",),
    )


MUTANTS: dict[str, tuple[str, Claims, str]] = {
    "a token of STS": ("eks-irsa", {"aud": ["sts.amazonaws.com"]}, "audience_mismatch"),
    "a token of STS, too": ("eks-irsa", {"aud": [AUDIENCE, "sts.amazonaws.com"]}, "audience_mismatch"),
    "a claim of its own for aws": ("aws-web-identity", {"aws": {"aws_account": "999999999999"}}, "evidence_malformed"),
    "a claim of its own for kubernetes": ("eks-irsa", {"kubernetes": {"namespace": "x"}}, "evidence_malformed"),
    "a user of the tenant": ("azure-managed-identity", {"idtyp": "user"}, "evidence_malformed"),
    "anybody of the tenant": ("azure-managed-identity", {"idtyp": None}, "evidence_malformed"),
    "no end": ("nomad", {"exp": None}, "evidence_malformed"),
    "no issuer": ("nomad", {"iss": None}, "issuer_untrusted"),
    "no repository": ("github-actions", {"repository_id": None}, "evidence_malformed"),
    "no owner": ("github-actions", {"repository_owner_id": None}, "evidence_malformed"),
    "no project": ("gitlab", {"project_id": None}, "evidence_malformed"),
    "no build": ("jenkins", {"build_number": None}, "evidence_malformed"),
    "no workspace": ("terraform-cloud", {"terraform_workspace_id": None}, "evidence_malformed"),
    "no organization": ("terraform-cloud", {"terraform_organization_id": None}, "evidence_malformed"),
}


@pytest.mark.parametrize("case", MUTANTS)
def test_tokens_that_do_not_belong(issuer: TokenIssuer, case: str) -> None:
    preset, claims, code = MUTANTS[case]

    assert refusal(preset, issuer, **claims) == code


def test_an_extended_token_of_a_service_account(issuer: TokenIssuer) -> None:
    bound = issuers.kubernetes(AUDIENCE)["kubernetes.io"] | {"warnafter": 1}

    assert refusal("eks-irsa", issuer, **{"kubernetes.io": bound}) == "evidence_malformed"


def test_tags_that_the_caller_chose_are_not_seen(issuer: TokenIssuer) -> None:
    found = verify("aws-web-identity", issuer).claims

    assert "request_tags" not in found["aws"]
    assert found["aws"]["principal_tags"] == {"env": "prod"}
    assert found["aws"]["aws_account"] == "123456789012"


def test_an_address_of_google_counts_when_it_is_verified(issuer: TokenIssuer) -> None:
    assert verify("gcp", issuer).claims["email"] == "api@prj-prod.iam.gserviceaccount.com"
    assert "email" not in verify("gcp", issuer, email_verified=False).claims


def test_a_token_of_google_without_a_machine_has_no_instance(issuer: TokenIssuer) -> None:
    assert verify("gcp", issuer, google=None).instance is None


def test_a_service_of_nomad(issuer: TokenIssuer) -> None:
    assert verify("nomad", issuer, nomad_task=None, nomad_service="web").claims["nomad_service"] == "web"


def test_a_token_of_nomad_by_ed25519(issuer: TokenIssuer) -> None:
    issuer.rotate("ed25519")

    assert verify("nomad", issuer).subject
