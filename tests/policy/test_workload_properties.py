"""No rule and no claims ever give a workload a name outside its environment."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.identifiers import parse, parse_spiffe_id
from acme_ca.policy.workloads import Grant
from acme_ca.problems import Problem
from tests.policy.test_workloads import ZONES, policy, read, workload

HOSTILE = st.sampled_from(
    [
        *(
            "..",
            ".",
            "",
            "/",
            "a/../b",
            "/../../x",
            "A",
            "\u00e9",
            "\u212a",
            "\ud800",
            "*",
            "*.a",
            "%2e%2e",
            "a%2fb",
            "a.b",
        ),
        *(
            "a" * 63,
            "a" * 64,
            "a\n",
            "a\x00",
            "xn--a",
            "evil.test",
            "spiffe://evil.test/a",
            "spiffe://a/../b",
            "a",
            "b-1",
        ),
        *("@evil.test", "evil.test/", "a?b", "a#b", "${c}", "prod.example", "-", "a-", "_", "x_y"),
    ]
)
GOOD = st.sampled_from(["a", "b-1", "pay", "api", "a" * 63])
CLAIM = (
    GOOD
    | GOOD
    | GOOD
    | GOOD
    | HOSTILE
    | st.text(max_size=6)
    | st.none()
    | st.integers()
    | st.lists(HOSTILE, max_size=2)
)
CLAIMS = st.fixed_dictionaries({"a": CLAIM, "b": st.fixed_dictionaries({"c": CLAIM})})
UNIT = st.sampled_from(["${a}", "${b.c}", "x-${a}", "${b.c}-y", "svc"])
HOSTILE_UNIT = UNIT | st.sampled_from(
    ["${a}${b.c}", "${sub}", "${sub|spiffe_path}", "*", ".", "/", "..", "", "x", "${a"]
)
DNS_TEMPLATE = st.builds(
    lambda start, units, end: start + ".".join(units) + end,
    st.sampled_from(["", "", "*."]),
    st.lists(UNIT, min_size=1, max_size=3) | st.lists(UNIT, max_size=2) | st.lists(HOSTILE_UNIT, max_size=3),
    st.sampled_from(
        [".prod.example", ".prod.example", ".internal.test", ".internal.test", "prod.example", ".example", ""]
    ),
)
ID_TEMPLATE = st.builds(
    lambda start, units: start + "/".join(units),
    st.sampled_from(
        [
            "spiffe://prod.example/",
            "spiffe://prod.example/",
            "spiffe://prod.example/g/",
            "spiffe://prod.example",
            "spiffe://",
        ]
    ),
    st.lists(UNIT, min_size=1, max_size=3)
    | st.lists(UNIT, min_size=1, max_size=2)
    | st.lists(HOSTILE_UNIT, max_size=3),
)
MATCH = st.sampled_from(
    [{}, {"a": {"present": True}}, {"a": {"regex": ".*"}}, {"a": {"not_in": ["a"]}}, {"b.c": {"prefix": "a"}}]
)


SPIFFE = st.builds(lambda text: {"id": text, "add": "always"}, ID_TEMPLATE) | st.builds(
    lambda text: {"allow": [text]}, ID_TEMPLATE
)


@given(
    dns=st.lists(DNS_TEMPLATE, max_size=2), spiffe=SPIFFE | st.none(), match=MATCH, claims=CLAIMS, sub=HOSTILE | GOOD
)
@settings(deadline=None, max_examples=1500)
def test_no_rule_and_no_claims_ever_give_a_name_outside_the_environment(
    dns: list[str], spiffe: dict[str, Any] | None, match: dict[str, Any], claims: dict[str, Any], sub: str
) -> None:
    try:
        of = policy(read(match=match, dns=dns, spiffe=spiffe))
    except ValueError:
        return  # a mistake in the configuration
    who = workload(claims, subject=sub)
    refused = None
    try:
        grant = of.grant(who)
    except Problem as problem:
        refused = problem
    if refused is not None:
        assert refused.extra == {"workloadError": "no_policy"}
        assert refused.detail.isascii()
    else:
        check_inside(grant)
        recorded = workload(json.loads(json.dumps(of.subset(who))), subject=sub)
        assert of.grant(recorded, kept=True) == grant


def check_inside(grant: Grant) -> None:
    for name in grant.dns:
        concrete = name.replace("*.", "any.", 1) if name.startswith("*.") else name
        assert parse("dns", concrete).value == concrete
        assert any(concrete == zone or concrete.endswith(f".{zone}") for zone in ZONES)
        assert grant.covers(parse("dns", concrete))
    for uri in filter(None, (grant.spiffe_id, *grant.spiffe_allow)):
        assert parse_spiffe_id(uri.replace("*", "any")).trust_domain == "prod.example"
    for value in ("spiffe://evil.test/a", "spiffe://prod.example.evil.test/a", "spiffe://prod.example"):
        assert not grant.allows_uri(value)
