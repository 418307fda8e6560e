"""What of a token's claims counts, and what names the instance."""

from __future__ import annotations

import pytest

from tests.support.issuers import Claims, TokenIssuer, github_actions
from tests.workload.proofs import AUDIENCE, BOUND
from tests.workload.providers import oidc, refusal, verify


def test_claims_that_rules_cannot_write_are_dropped(issuer: TokenIssuer) -> None:
    claims = github_actions(BOUND, **{"a.b": 1, "": 2, "a": {"b.c": 3, "b": [{"c.d": 4, "c": 5}]}})

    found = verify(oidc(issuer), issuer.token(claims)).claims

    assert {name: found[name] for name in found if name not in github_actions(BOUND)} == {
        "iss": issuer.url,
        "a": {"b": [{"c": 5}]},
    }


def test_claims_get_names_that_rules_can_write(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, renames={"https://a.example/": "a"}, instance=["a.id"])
    claims = github_actions(BOUND, **{"https://a.example/": {"id": 7}})

    found = verify(gh, issuer.token(claims))

    assert (found.claims["a"], found.instance) == ({"id": 7}, "7")
    assert "https://a.example/" not in found.claims


@pytest.mark.parametrize("more", [{}, {"https://a.example/": {"id": 7}}])
def test_no_claim_passes_for_one_that_was_renamed(issuer: TokenIssuer, more: Claims) -> None:
    gh = oidc(issuer, renames={"https://a.example/": "a"})
    token = issuer.token(github_actions(BOUND, a={"id": 8}, **more))

    assert refusal(gh, token)[0] == "evidence_malformed"


def test_claims_that_are_needed(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, required={"environment": ["prod", "test"], "nested.id": []})
    verify(gh, issuer.token(github_actions(BOUND, nested={"id": 0})))

    changes: tuple[Claims, ...] = (
        {"environment": "dev"},
        {"environment": ["prod"]},
        {"environment": None},
        {"nested": {}},
        {"nested": 1},
    )
    for change in changes:
        code, detail = refusal(gh, issuer.token(github_actions(BOUND, **({"nested": {"id": 1}} | change))))
        assert code == "evidence_malformed"
        assert next(iter(change)) in detail


def test_claims_that_must_not_be_there(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, forbidden=["act", "nested.admin"])
    verify(gh, issuer.token(github_actions(BOUND, nested={"id": 1})))

    for change in ({"act": {"sub": "x"}}, {"nested": {"admin": False}}):
        assert refusal(gh, issuer.token(github_actions(BOUND, **change)))[0] == "evidence_malformed"


def test_claims_that_the_workload_chooses_are_dropped(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, dropped=["chosen", "nested.chosen", "no.such.claim", "ref.none"])
    claims = github_actions(BOUND, chosen=1, nested={"chosen": 2, "given": 3})

    found = verify(gh, issuer.token(claims)).claims

    assert "chosen" not in found
    assert found["nested"] == {"given": 3}


@pytest.mark.parametrize("verified", [None, False, "true", 1, {}])
def test_an_address_that_nobody_verified_is_dropped(issuer: TokenIssuer, verified: object) -> None:
    claims = github_actions(BOUND, email="root@corp.example")

    assert "email" not in verify(oidc(issuer), issuer.token(claims | {"email_verified": verified})).claims
    assert verify(oidc(issuer), issuer.token(claims | {"email_verified": True})).claims["email"]


def test_audiences_that_are_worth_more(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, binding="affinity", allow_extra_audiences=True, forbidden_audiences=["sts.amazonaws.com"])

    for audience in ([AUDIENCE, "sts.amazonaws.com"], ["sts.amazonaws.com", BOUND]):
        code, detail = refusal(gh, issuer.token(github_actions(audience)))
        assert code == "audience_mismatch"
        assert "sts.amazonaws.com" in detail


INSTANCES: dict[str, tuple[Claims, str | None]] = {
    "both": ({"run_id": "1", "run_attempt": "2"}, '["1","2"]'),
    "numbers": ({"run_id": 1, "run_attempt": 2}, '["1","2"]'),
    "a separator in one": ({"run_id": '1","2', "run_attempt": "3"}, '["1\\",\\"2","3"]'),
    "one missing": ({"run_id": "1", "run_attempt": None}, None),
    "both missing": ({"run_id": None, "run_attempt": None}, None),
}


@pytest.mark.parametrize("case", INSTANCES)
def test_instances(issuer: TokenIssuer, case: str) -> None:
    claims, instance = INSTANCES[case]
    gh = oidc(issuer, instance=["run_id", "run_attempt"])

    assert verify(gh, issuer.token(github_actions(BOUND, **claims))).instance == instance


@pytest.mark.parametrize("value", ["", "a\nb", "a" * 1025, True, 1.5, {"a": 1}, ["1"]])
def test_an_instance_is_a_name(issuer: TokenIssuer, value: object) -> None:
    gh = oidc(issuer, instance=["run_id"])

    assert refusal(gh, issuer.token(github_actions(BOUND, run_id=value)))[0] == "evidence_malformed"


@pytest.mark.parametrize("jti", [None, 7, "", "a\nb", "a" * 1025, ["a"]])
def test_only_a_name_is_the_name_of_a_token(issuer: TokenIssuer, jti: object) -> None:
    assert verify(oidc(issuer), issuer.token(github_actions(BOUND, jti=jti))).token_id is None
