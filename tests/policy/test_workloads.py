"""The policy for workloads: who matches which rule, what is granted, and that nothing gets out of the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from acme_ca.identifiers import Identifier, parse
from acme_ca.policy.workloads import Grant, WorkloadPolicy, WorkloadRule, misfits
from acme_ca.problems import Unauthorized
from acme_ca.workload.base import Workload

ZONES = ("prod.example", "internal.test")
KUBERNETES: dict[str, Any] = {
    "name": "k8s-services",
    "provider": "k8s",
    "match": {"kubernetes.namespace": {"regex": "[a-z]+", "not_in": ["default", "kube-system"]}},
    "spiffe": {
        "id": "spiffe://prod.example/ns/${kubernetes.namespace}/sa/${kubernetes.serviceaccount}",
        "add": "always",
    },
    "dns": [
        "${kubernetes.serviceaccount}.${kubernetes.namespace}.svc.prod.example",
        "*.${kubernetes.namespace}.svc.prod.example",
    ],
    "profiles": ["workload-1h"],
    "lifetime": 900,
}
PAY_API = {"kubernetes": {"namespace": "pay", "serviceaccount": "api", "pod": {"uid": "5e0b"}}}


def read(**settings: Any) -> WorkloadRule:  # noqa: ANN401 - settings of any kind, wrong ones too
    """Read a rule as the configuration does: strictly, from JSON."""
    rule = {"name": "r", "provider": "k8s", "match": {}, "dns": ["a.prod.example"]} | settings
    return WorkloadRule.model_validate_json(json.dumps({key: value for key, value in rule.items() if value != ...}))


def policy(*rules: WorkloadRule, trust_domain: str | None = "prod.example") -> WorkloadPolicy:
    return WorkloadPolicy(
        "prod",
        trust_domain=trust_domain,
        zones=ZONES,
        rules=rules,
        providers=("k8s", "gh"),
        profiles=("server-1h", "workload-1h"),
    )


def workload(
    claims: Mapping[str, Any], provider: str = "k8s", subject: str = "system:serviceaccount:pay:api"
) -> Workload:
    return Workload(provider, "https://issuer.example", subject, claims, "required", datetime.now(UTC))


def refusal(of: WorkloadPolicy, who: Workload, *, kept: bool = False) -> str:
    with pytest.raises(Unauthorized) as refused:
        of.grant(who, kept=kept)
    assert refused.value.extra == {"workloadError": "no_policy"}
    assert refused.value.detail.isascii()
    return refused.value.detail


def test_a_rule_grants_names_made_from_claims() -> None:
    of = policy(read(**KUBERNETES))
    assert of.grant(workload(PAY_API)) == Grant(
        rule="k8s-services",
        policy_version=of.version,
        spiffe_id="spiffe://prod.example/ns/pay/sa/api",
        add="always",
        spiffe_allow=(),
        dns=("api.pay.svc.prod.example", "*.pay.svc.prod.example"),
        profiles=("workload-1h",),
        lifetime=900,
        binding_ttl=86_400,
        liveness=False,
    )


def test_the_least_rule_grants_the_least() -> None:
    grant = policy(read(), trust_domain=None).grant(workload({}))
    assert (grant.spiffe_id, grant.add, grant.spiffe_allow, grant.profiles) == (None, "never", (), None)
    assert (grant.lifetime, grant.binding_ttl, grant.liveness) == (None, 86_400, False)
    assert not grant.allows_uri("spiffe://prod.example/a")


def test_a_spiffe_id_is_added_on_request_by_default() -> None:
    grant = policy(read(spiffe={"id": "spiffe://prod.example/a"})).grant(workload({}))
    assert grant.add == "on-request"


@pytest.mark.parametrize(
    ("identifier", "covered"),
    [
        ("dns:api.pay.svc.prod.example", True),
        ("dns:db.pay.svc.prod.example", True),
        ("dns:pay.svc.prod.example", False),
        ("dns:a.b.pay.svc.prod.example", False),
        ("dns:api.other.svc.prod.example", False),
        ("dns:*.pay.svc.prod.example", False),
        ("ip:10.0.0.1", False),
        ("uri:spiffe://prod.example/ns/pay/sa/api", True),
        ("uri:spiffe://prod.example/ns/pay/sa/API", False),
        ("uri:spiffe://prod.example/ns/pay/sa/api/x", False),
        ("uri:spiffe://other.example/ns/pay/sa/api", False),
    ],
)
def test_a_grant_covers_its_names_and_no_wildcard_or_address(identifier: str, covered: bool) -> None:  # noqa: FBT001 - a table's column
    type_, _, value = identifier.partition(":")
    assert policy(read(**KUBERNETES)).grant(workload(PAY_API)).covers(parse(type_, value)) == covered


def test_a_workload_chooses_among_the_ids_allowed() -> None:
    rule = read(spiffe={"allow": ["spiffe://prod.example/ns/${kubernetes.namespace}/sa/*", "spiffe://prod.example/x"]})
    grant = policy(rule).grant(workload(PAY_API))
    assert (grant.spiffe_id, grant.add) == (None, "on-request")
    assert grant.spiffe_allow == ("spiffe://prod.example/ns/pay/sa/*", "spiffe://prod.example/x")
    assert [grant.allows_uri(f"spiffe://prod.example/{path}") for path in ("ns/pay/sa/db", "x")] == [True, True]
    assert not grant.allows_uri("spiffe://prod.example/ns/pay/sa/*")  # the pattern is no ID
    assert not grant.covers(Identifier("uri", "spiffe://prod.example/ns/other/sa/db"))


def test_an_id_that_is_never_added_is_not_allowed_on_request_either() -> None:
    rule = read(spiffe={"id": "spiffe://prod.example/a", "add": "never"})
    grant = policy(rule).grant(workload({}))
    assert grant.spiffe_id == "spiffe://prod.example/a"
    assert not grant.allows_uri("spiffe://prod.example/a")


def test_a_grant_is_stored_as_json() -> None:
    for rule in (read(**KUBERNETES), read(spiffe={"allow": ["spiffe://prod.example/*"]}), read()):
        grant = policy(rule).grant(workload(PAY_API))
        assert Grant.from_document(json.loads(json.dumps(grant.document()))) == grant
    with pytest.raises(ValueError, match="spiffe_id"):
        Grant.from_document({"rule": "r"})


# --- who matches ---


def test_without_a_rule_nobody_gets_anything() -> None:
    assert refusal(policy(), workload(PAY_API)) == (
        "no rule of environment prod is for workload 'system:serviceaccount:pay:api' of provider k8s: "
        "there is none for this provider"
    )


def test_rules_are_for_one_provider() -> None:
    of = policy(read(**KUBERNETES))
    assert "there is none for this provider" in refusal(of, workload(PAY_API, provider="gh"))


def test_a_refusal_tells_what_was_seen_and_not_what_others_may_have() -> None:
    of = policy(read(**KUBERNETES), read(name="two", match={"sub": "secret-team", "kubernetes.pod.uid": "1"}))
    claims = {"kubernetes": {"namespace": "default"}}
    detail = refusal(of, workload(claims))
    assert detail.endswith(
        "rule k8s-services: kubernetes.namespace is 'default'; rule two: sub is 'system:serviceaccount:pay:api'"
    )
    assert "kubernetes.namespace is missing" in refusal(of, workload({}))


def test_a_refusal_is_bounded() -> None:
    of = policy(*(read(name=f"r{number}", match={"a": "b"}) for number in range(30)))
    detail = refusal(of, workload({"a": "\u00e9" * 5000}, subject="s" * 5000))
    assert detail.endswith("; ...")
    assert len(detail) < 6000


def test_all_conditions_have_to_hold() -> None:
    of = policy(read(match={"a": "1", "b.c": True, "sub": {"prefix": "system:"}, "issuer": "https://issuer.example"}))
    assert of.grant(workload({"a": "1", "b": {"c": True}})).rule == "r"
    assert "a is '2'" in refusal(of, workload({"a": "2", "b": {"c": True}}))
    assert "b.c is 'true'" in refusal(of, workload({"a": "1", "b": {"c": "true"}}))


def test_the_first_rule_that_matches_decides() -> None:
    first = read(name="first", match={"kubernetes.namespace": "pay"}, dns=["first.prod.example"])
    second = read(name="second", dns=["second.prod.example"])
    assert policy(first, second).grant(workload(PAY_API)).rule == "first"
    assert policy(second, first).grant(workload(PAY_API)).rule == "second"
    assert policy(first, second).grant(workload({})).rule == "second"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "A", "*", "a.b", "\u00e9", "\ud800", "a" * 64, "%61", "${a}", None, 1, ["api"], {}]
)
def test_a_claim_that_does_not_fit_refuses_the_workload_whatever_later_rules_say(name: object) -> None:
    rule = read(**KUBERNETES | {"match": {"kubernetes.namespace": "pay"}})
    of = policy(rule, read(name="later"))
    claims = {"kubernetes": {"namespace": "pay", "serviceaccount": name}}
    detail = refusal(of, workload(claims))
    assert detail.startswith("rule k8s-services of environment prod refuses workload 'system:serviceaccount:pay:api'")


def test_what_is_kept_for_conditions_is_what_rules_see() -> None:
    claims = {"instance": "made up", "user": {"email": "a@b", "email_verified": True}}
    kept = policy().subset(workload(claims), frozenset({"sub", "instance", "user.email"}))
    assert kept == {
        "sub": "system:serviceaccount:pay:api",
        "instance": None,
        "user": {"email": "a@b", "email_verified": True},
    }


def test_an_unverified_email_is_missing_for_rules_and_templates() -> None:
    of = policy(read(match={"email": "a@corp.example"}), read(name="all", match={"email": {"present": True}}))
    assert of.grant(workload({"email": "a@corp.example", "email_verified": True})).rule == "r"
    for claims in ({"email": "a@corp.example"}, {"email": "a@corp.example", "email_verified": "true"}):
        assert "email is missing" in refusal(of, workload(claims))


# --- what is kept ---


def test_only_claims_that_rules_look_at_are_kept() -> None:
    of = policy(read(**KUBERNETES), read(name="mail", match={"email": "a@b", "sub": "x"}, dns=["${x.y}.prod.example"]))
    assert of.claims_of_interest("k8s") == {
        *("kubernetes.namespace", "kubernetes.serviceaccount", "email", "email_verified", "x.y")
    }
    assert of.claims_of_interest("gh") == set()
    kept = of.subset(workload(PAY_API))
    assert kept == {
        "kubernetes": {"namespace": "pay", "serviceaccount": "api"},
        "email": None,
        "email_verified": None,
        "x": None,
    }
    assert of.grant(workload(kept), kept=True) == of.grant(workload(PAY_API))


def test_a_newer_rule_that_asks_for_a_claim_not_kept_refuses_a_recorded_workload() -> None:
    kept = workload(policy(read(**KUBERNETES)).subset(workload(PAY_API)))
    narrower = read(name="narrow", match={"kubernetes.pod.uid": "5e0b"}, dns=["narrow.prod.example"])
    newer = policy(narrower, read(**KUBERNETES))
    assert "rule narrow of environment prod refuses" in refusal(newer, kept, kept=True)
    assert "kubernetes.pod.uid is not kept" in refusal(newer, kept, kept=True)
    template = policy(read(match={}, dns=["${kubernetes.pod.name}.prod.example"]))
    assert "kubernetes.pod.name is not kept" in refusal(template, kept, kept=True)
    after = policy(read(**KUBERNETES), narrower)
    assert after.grant(kept, kept=True).rule == "k8s-services"


def test_a_version_identifies_the_rules() -> None:
    one, same = policy(read(**KUBERNETES)), policy(read(**KUBERNETES))
    assert one.version == same.version
    assert len(one.version) == 16
    assert int(one.version, 16) >= 0
    others = [
        policy(),
        policy(read(**KUBERNETES | {"lifetime": 901})),
        policy(read(**KUBERNETES), read()),
        policy(read(), read(**KUBERNETES)),
    ]
    assert len({one.version, *(other.version for other in others)}) == 5


def test_the_rules_are_stored_as_json() -> None:
    of = policy(read(**KUBERNETES), read())
    document = json.loads(json.dumps(of.document()))
    assert (document["environment"], document["trust_domain"]) == ("prod", "prod.example")
    stored = [WorkloadRule.model_validate_json(json.dumps(rule)) for rule in document["rules"]]
    assert policy(*stored).version == of.version
    assert tuple(stored) == of.rules


# --- explanations ---


def test_every_rule_is_explained() -> None:
    of = policy(
        read(name="no", match={"kubernetes.namespace": "shop", "kubernetes.serviceaccount": "api"}),
        read(name="unfit", dns=["${kubernetes.nothing}.prod.example"]),
        read(**KUBERNETES),
        read(name="other", provider="gh"),
    )
    no, unfit, yes = of.explain(workload(PAY_API))
    assert (no.rule, no.result, no.reason, no.grant) == ("no", "unmatched", None, None)
    first, second = no.checks
    assert (first.path, first.expected, first.seen, first.holds) == (
        "kubernetes.namespace",
        "one_of ['shop']",
        "'pay'",
        False,
    )
    assert second.holds
    assert unfit.result == "refused"
    assert "kubernetes.nothing is missing" in (unfit.reason or "")
    assert yes.result == "granted"
    assert yes.grant is not None
    assert yes.grant.spiffe_id == "spiffe://prod.example/ns/pay/sa/api"
    assert yes.grant.policy_version == of.version


def test_rules_that_can_never_decide_are_found() -> None:
    of = policy(
        read(name="wide", match={"a": {"regex": "[a-z]+"}}),
        read(name="narrow", match={"a": ["x", "y"], "b": "z"}),
        read(name="free", match={"a": ["x", "1"]}),
        read(name="all"),
        read(name="late", match={"a": "1"}),
        read(name="elsewhere", provider="gh", match={"a": "x"}),
    )
    assert list(of.shadowed()) == [("narrow", "wide"), ("late", "free")]


# --- mistakes ---


@pytest.mark.parametrize(
    ("rules", "place", "reason"),
    [
        ([{}, {}], (1, "name"), "two workload rules named 'r'"),
        ([{"provider": "x"}], (0, "provider"), "there is no provider 'x'; there are: gh, k8s"),
        ([{"profiles": ["server-1h", "x"]}], (0, "profiles", 1), "profile 'x' is not offered"),
        ([{"dns": ["a.prod.example", "a.example"]}], (0, "dns", 1), "outside the zones of this environment"),
        ([{"dns": ["${a}.example"]}], (0, "dns", 0), "outside the zones of this environment"),
        ([{"dns": ["prod.${a}"]}], (0, "dns", 0), "outside the zones of this environment"),
        ([{"dns": ["${a}-prod.example"]}], (0, "dns", 0), "outside the zones of this environment"),
        ([{"spiffe": {"id": "spiffe://other/a"}}], (0, "spiffe", "id"), "outside the environment's trust domain"),
        (
            [{"spiffe": {"allow": ["spiffe://prod.example/*", "spiffe://prod.example.evil/*"]}}],
            (0, "spiffe", "allow", 1),
            "outside the environment's trust domain prod.example",
        ),
    ],
)
def test_what_an_environment_does_not_have_is_a_mistake_with_its_place(
    rules: list[dict[str, Any]], place: tuple[str | int, ...], reason: str
) -> None:
    found = list(
        misfits(
            [read(**rule) for rule in rules],
            trust_domain="prod.example",
            zones=ZONES,
            providers=("k8s", "gh"),
            profiles=("server-1h",),
        )
    )
    assert [at for at, _ in found] == [place]
    assert reason in found[0][1]
    with pytest.raises(ValueError, match="workload rules of environment prod: rule r: "):
        policy(*(read(**rule) for rule in rules))


def test_spiffe_ids_need_a_trust_domain() -> None:
    with pytest.raises(ValueError, match="the environment has no trust_domain"):
        policy(read(spiffe={"id": "spiffe://prod.example/a"}), trust_domain=None)


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"dns": []}, "the rule grants nothing"),
        ({"match": ...}, "Field required"),
        ({"match": {"a b": "x"}}, "'a b' is no path of a claim"),
        ({"match": {"kubernetes": {"namespace": "pay"}}}, "is written in quotes"),
        ({"dns": ["${a}${b}.prod.example"]}, "two substitutions"),
        ({"spiffe": {"id": "spiffe://prod.example/*"}}, "contains '\\*'"),
        ({"spiffe": {}}, "expected either id"),
        ({"spiffe": {"id": "spiffe://prod.example/a", "allow": ["spiffe://prod.example/b"]}}, "expected either id"),
        ({"spiffe": {"allow": ["spiffe://prod.example/b"], "add": "always"}}, 'add = "always" needs an id'),
        ({"spiffe": {"allow": ["spiffe://prod.example/b"], "add": "never"}}, 'add = "never" needs an id'),
        ({"spiffe": {"id": "spiffe://prod.example/a", "add": "sometimes"}}, "'always', 'on-request' or 'never'"),
        ({"spiffe": {"allow": []}}, "at least 1 item"),
        ({"profiles": []}, "at least 1 item"),
        ({"lifetime": 59}, "greater than or equal to 60"),
        ({"binding_ttl": -1}, "greater than or equal to 0"),
        ({"binding_ttl": 86_401}, "needs liveness = true"),
        ({"binding_ttl": 2_592_001, "liveness": True}, "less than or equal to 2592000"),
        ({"name": "a b"}, "should match pattern"),
        ({"extra": 1}, "Extra inputs"),
        ({"liveness": "yes"}, "valid boolean"),
    ],
)
def test_a_bad_rule_is_a_mistake(settings_: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        read(**settings_)


def test_a_long_binding_is_possible_where_the_provider_is_asked() -> None:
    assert policy(read(binding_ttl=2_592_000, liveness=True)).grant(workload({})).binding_ttl == 2_592_000


# --- nothing gets out ---
