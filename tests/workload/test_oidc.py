"""Workloads that an OpenID Connect issuer vouches for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from acme_ca.workload.base import Expected, Proof
from acme_ca.workload.oidc import Oidc
from tests.support.https_api import Fault
from tests.support.issuers import CONFIGURATION, JWKS, Claims, TokenIssuer, github_actions
from tests.support.jws import public_jwk, shared_key
from tests.support.pop import now
from tests.workload.contract import ProviderContract
from tests.workload.proofs import AUDIENCE, BOUND, EXPECTED, OF_NOBODY, refused
from tests.workload.providers import oidc, refusal, verify

PRESENT = int(time.time())


class TestOidc(ProviderContract):
    """What every provider promises."""

    @pytest.fixture(autouse=True)
    def _issuer(self, issuer: TokenIssuer) -> None:
        self.issuer = issuer

    def provider(self) -> Oidc:
        return oidc(self.issuer)

    def proof(self, expected: Expected) -> Proof:
        return Proof("jwt", self.issuer.token(github_actions(expected.bound_audience)))

    def foreign_proof(self) -> Proof:
        return Proof("jwt", self.issuer.token(github_actions(BOUND, iss="https://elsewhere.example")))


def test_the_workload_of_a_token(issuer: TokenIssuer) -> None:
    claims = github_actions(BOUND)

    found = verify(oidc(issuer, instance=["run_id", "run_attempt"]), issuer.token(claims))

    assert (found.provider, found.issuer, found.subject) == ("gh", issuer.url, claims["sub"])
    assert found.claims == {"iss": issuer.url} | claims
    assert found.expires_at.timestamp() == claims["exp"]
    assert found.instance == '["1","1"]'
    assert found.token_id == claims["jti"]
    signed, until, audience, instance = found.checks
    assert signed == f"signature: RS256 by key 'key-0' of {issuer.url}"
    assert until.startswith("time: until 20")
    assert audience == "audience: bound to the account key"
    assert instance == 'instance: ["1","1"]'


def _of_another_key(issuer: TokenIssuer, claims: Claims) -> str:
    return issuer.token(claims, key=shared_key("rsa-2048", 77))


def _tampered(issuer: TokenIssuer, claims: Claims) -> str:
    header, _, sig = issuer.token(claims).split(".")
    return f"{header}.{issuer.token(claims | {'sub': 'somebody else'}).split('.')[1]}.{sig}"


MUTANTS: dict[str, tuple[Claims | Callable[[TokenIssuer, Claims], str], str]] = {
    "another issuer": ({"iss": "https://elsewhere.example"}, "issuer_untrusted"),
    "no issuer": ({"iss": None}, "issuer_untrusted"),
    "a list for iss": ({"iss": ["https://127.0.0.1"]}, "issuer_untrusted"),
    "no subject": ({"sub": None}, "evidence_malformed"),
    "an empty subject": ({"sub": ""}, "evidence_malformed"),
    "a number for sub": ({"sub": 7}, "evidence_malformed"),
    "a subject of two lines": ({"sub": "a\nb"}, "evidence_malformed"),
    "a subject that turns the text around": ({"sub": "a\u202eb"}, "evidence_malformed"),
    "a subject without end": ({"sub": "a" * 1025}, "evidence_malformed"),
    "no audience": ({"aud": None}, "evidence_malformed"),
    "the static audience": ({"aud": AUDIENCE}, "audience_mismatch"),
    "somebody else's audience": ({"aud": "https://elsewhere.example"}, "audience_mismatch"),
    "bound to another key": ({"aud": f"{AUDIENCE}/{'A' * 43}"}, "binding_mismatch"),
    "an audience more": ({"aud": [BOUND, "b"]}, "audience_mismatch"),
    "no end": ({"exp": None}, "evidence_malformed"),
    "no beginning": ({"iat": None}, "evidence_malformed"),
    "ended": ({"iat": PRESENT - 900, "exp": PRESENT - 300}, "token_expired"),
    "not yet begun": ({"iat": PRESENT + 9000, "exp": PRESENT + 9300}, "token_not_yet_valid"),
    "not yet good": ({"nbf": PRESENT + 9000}, "token_not_yet_valid"),
    "made for a day": ({"exp": PRESENT + 86400}, "token_too_old"),
    "signed by another": (_of_another_key, "signature_invalid"),
    "changed after it was signed": (_tampered, "signature_invalid"),
    "by a key nobody knows": (lambda issuer, claims: issuer.token(claims, header={"kid": "x"}), "signature_invalid"),
    "by none": (lambda issuer, claims: issuer.token(claims, header={"alg": "none"}), "signature_invalid"),
    "by HS256": (lambda issuer, claims: issuer.token(claims, header={"alg": "HS256"}), "signature_invalid"),
    "by PS256": (lambda issuer, claims: issuer.token(claims, header={"alg": "PS256"}), "signature_invalid"),
    "of another type": (lambda issuer, claims: issuer.token(claims, header={"typ": "at+jwt"}), "evidence_malformed"),
    "with crit": (lambda issuer, claims: issuer.token(claims, header={"crit": ["x"], "x": 1}), "evidence_malformed"),
}


@pytest.mark.parametrize("case", MUTANTS)
def test_one_thing_wrong_is_enough(issuer: TokenIssuer, case: str) -> None:
    change, code = MUTANTS[case]
    claims = github_actions(BOUND)
    token = change(issuer, claims) if callable(change) else issuer.token(claims | change)

    assert refusal(oidc(issuer), token)[0] == code


def test_a_token_may_be_too_old_although_it_has_not_ended(issuer: TokenIssuer) -> None:
    token = issuer.token(github_actions(BOUND, iat=PRESENT - 300))

    verify(oidc(issuer), token)

    assert refusal(oidc(issuer, max_token_age=60), token)[0] == "token_too_old"


def test_a_token_ends(issuer: TokenIssuer) -> None:
    proof = Proof("jwt", issuer.token(github_actions(BOUND)))

    code, detail = refused(lambda: oidc(issuer).verify(proof, EXPECTED, now() + timedelta(seconds=400)))

    assert code == "token_expired"
    assert "the time here is" in detail


@pytest.mark.parametrize("name", ["jku", "x5u"])
def test_nothing_is_fetched_because_a_header_says_so(issuer: TokenIssuer, name: str) -> None:
    trap = f"{issuer.url}/trap"
    foreign = shared_key("rsa-2048", 77)
    issuer.hidden = [public_jwk(foreign) | {"kid": "trap", "use": "enc"}]
    token = issuer.token(github_actions(BOUND), key=foreign, header={name: trap, "kid": "key-0"})

    assert refusal(oidc(issuer), token)[0] == "evidence_malformed"
    verify(oidc(issuer), issuer.token(github_actions(BOUND)))

    assert issuer.api.paths == [CONFIGURATION, JWKS]


def test_a_key_in_the_header_is_nobodys(issuer: TokenIssuer) -> None:
    foreign = shared_key("ec-p256", 77)
    token = issuer.token(github_actions(BOUND), key=foreign, header={"jwk": public_jwk(foreign), "kid": None})

    assert refusal(oidc(issuer), token)[0] == "evidence_malformed"


# --- Keys ---


def test_keys_may_change_while_the_server_runs(issuer: TokenIssuer) -> None:
    gh = oidc(issuer)
    old = issuer.token(github_actions(BOUND))
    verify(gh, old)

    issuer.rotate("ec-p384")

    verify(gh, issuer.token(github_actions(BOUND)))
    verify(gh, old)


def test_an_outage_is_no_judgement(issuer: TokenIssuer) -> None:
    token = issuer.token(github_actions(BOUND))
    for fault in ("500", "garbage", "cut"):
        issuer.api.fault = fault
        assert (
            refusal(oidc(issuer, jwks=issuer.discovery(refresh=100 + len(fault))), token)[0] == "provider_unavailable"
        )


def test_known_keys_are_used_in_an_outage(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, jwks=issuer.discovery(refresh=0.001))
    token = issuer.token(github_actions(BOUND))
    verify(gh, token)

    issuer.api.fault = "500"

    verify(gh, token)
    issuer.rotate()
    assert refusal(gh, issuer.token(github_actions(BOUND)))[0] == "provider_unavailable"


@pytest.mark.parametrize("fault", ["silent", "drip"])
def test_a_slow_issuer_is_away(issuer: TokenIssuer, fault: Fault) -> None:
    issuer.api.fault = fault
    gh = oidc(issuer, jwks=issuer.discovery(timeout=0.3))

    assert refusal(gh, issuer.token(github_actions(BOUND)))[0] == "provider_unavailable"


# --- Bindings ---


def test_affinity_takes_a_fixed_audience(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, binding="affinity")

    found = verify(gh, issuer.token(github_actions(AUDIENCE)), OF_NOBODY)

    assert found.mode == "affinity"
    assert "audience: a fixed one" in found.checks
    assert verify(gh, issuer.token(github_actions(BOUND))).mode == "required"
    assert refusal(gh, issuer.token(github_actions("https://elsewhere.example")))[0] == "audience_mismatch"


def test_affinity_takes_the_audiences_that_are_listed(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, binding="affinity", audiences=["acme-prod", "acme"])

    assert verify(gh, issuer.token(github_actions("acme"))).mode == "affinity"
    assert refusal(gh, issuer.token(github_actions(AUDIENCE)))[0] == "audience_mismatch"


def test_extra_audiences_are_for_those_who_want_them(issuer: TokenIssuer) -> None:
    token = issuer.token(github_actions([BOUND, "vault"]))

    assert verify(oidc(issuer, allow_extra_audiences=True), token).mode == "required"


def test_tofu_needs_an_instance(issuer: TokenIssuer) -> None:
    gh = oidc(issuer, binding="tofu", instance=["run_id"])

    found = verify(gh, issuer.token(github_actions("anybody")))

    assert (found.mode, found.instance) == ("tofu", "1")
    assert refusal(gh, issuer.token(github_actions("anybody", run_id=None)))[0] == "evidence_malformed"


# --- Configuration ---

MISTAKES: dict[str, dict[str, Any]] = {
    "a setting that is not there": {"audience": "x"},
    "no issuer": {"issuer": None},
    "an empty issuer": {"issuer": ""},
    "an issuer without discovery": {"issuer": "kubernetes/serviceaccount"},
    "an issuer in the clear": {"issuer": "http://127.0.0.1"},
    "a MAC": {"algorithms": ["HS256"]},
    "no algorithm": {"algorithms": []},
    "alg none": {"algorithms": ["none"]},
    "audiences that do not count": {"audiences": ["x"]},
    "audiences that do not count, either": {"binding": "tofu", "instance": ["a"], "audiences": ["x"]},
    "tofu without instances": {"binding": "tofu"},
    "a binding that is not there": {"binding": "none"},
    "text for a number": {"max_token_ttl": "60"},
    "text for a boolean": {"allow_extra_audiences": "no"},
    "a preset that is not there": {"preset": "heroku"},
    "a list for a preset": {"preset": ["gcp"]},
    "a new name with a dot": {"renames": {"a": "b.c"}},
    "a new name of a standard claim": {"renames": {"a": "sub"}},
    "a standard claim with a new name": {"renames": {"sub": "a"}},
    "a new name twice": {"renames": {"a": "c", "b": "c"}},
    "a path with nothing in it": {"instance": ["a..b"]},
    "a path that begins with a dot": {"dropped": [".a"]},
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_stop_the_start(case: str) -> None:
    good = {"name": "gh", "type": "oidc", "issuer": "https://issuer.example"}
    Oidc.model_validate(good)

    with pytest.raises(ValidationError):
        Oidc.model_validate_json(json.dumps(good | MISTAKES[case]))


def test_an_issuer_may_be_any_name_when_its_keys_are_elsewhere(issuer: TokenIssuer) -> None:
    settings = {
        "issuer": "kubernetes/serviceaccount",
        "jwks": {"source": "url", "url": issuer.url + JWKS, "ca_file": str(issuer.api.ca_file)},
    }
    token = issuer.token(github_actions(BOUND, iss="kubernetes/serviceaccount"))

    assert verify(oidc(issuer, **settings), token).issuer == "kubernetes/serviceaccount"
    assert oidc(issuer, **settings).claims_proof(Proof("jwt", token))


def test_settings_that_are_no_table() -> None:
    with pytest.raises(ValidationError):
        Oidc.model_validate([])


def test_a_provider_shows_no_token(issuer: TokenIssuer) -> None:
    token = issuer.token(github_actions(BOUND))
    _, detail = refusal(oidc(issuer), issuer.token(github_actions(AUDIENCE)))

    assert token.split(".")[2] not in detail
    assert refused(partial(verify, oidc(issuer), token, OF_NOBODY))[0] == "audience_mismatch"
