"""Rules as the configuration has them."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from acme_ca import challenges
from acme_ca.challenges.base import Challenge
from acme_ca.identifiers import Identifier
from acme_ca.policy import engine, rules
from acme_ca.policy.rules import Rule, default_rules


def read(**settings: Any) -> Rule:  # noqa: ANN401 - settings of any kind, wrong ones too
    """Read a rule as the configuration does: strictly, from JSON."""
    return Rule.model_validate_json(json.dumps({"name": "r"} | settings))


def test_a_rule_is_read_from_the_configuration() -> None:
    rule = read(
        eab=["team"],
        accounts=["1"],
        dns=[".Corp.example"],
        deny_dns=["secret.corp.example"],
        ip=["10.0.0.0/8", "2001:db8::/32"],
        deny_ip=["10.0.0.1/32"],
        wildcards=True,
        challenges=["dns-01"],
        profiles=["server-1h"],
        key_types=["ec-p256"],
        max_lifetime=3600,
        max_names=3,
    )
    assert rule.dns == (".corp.example",)
    assert [str(network) for network in rule.ip] == ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    "settings",
    [
        {"dsn": []},
        {"dns": "corp.example"},
        {"dns": ["*"]},
        {"ip": ["10.0.0.1/8"]},
        {"ip": ["x"]},
        {"wildcards": "yes"},
        {"challenges": []},
        {"challenges": ["dns-02"]},
        {"profiles": []},
        {"key_types": ["rsa-1024"]},
        {"max_lifetime": 0},
        {"max_lifetime": 1.5},
        {"max_names": 0},
        {"name": ""},
        {"name": "a b"},
        {"name": "a\n"},
    ],
)
def test_a_mistake_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**({"dns": ["corp.example"]} | settings))


def test_a_rule_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="allows and refuses nothing"):
        read(wildcards=True)


@pytest.mark.parametrize(
    "grant",
    [{"wildcards": True}, {"profiles": ["a"]}, {"deny_dns": ["a"]}, {"max_lifetime": 5}, {"challenges": ["dns-01"]}],
)
def test_a_denying_rule_grants_nothing(grant: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(grant))} means nothing in it"):
        read(deny=True, dns=["corp.example"], **grant)


def test_the_default_is_the_zones_and_all_below_with_wildcards() -> None:
    (rule,) = default_rules(("corp.example", "corp.test"))
    assert (rule.name, rule.dns, rule.wildcards, rule.ip) == ("own-zones", (".corp.example", ".corp.test"), True, ())


def test_the_challenge_types_are_those_there_are() -> None:
    """Policy and challenges stand on one floor and cannot import each other."""
    assert get_args(rules.ChallengeType) == get_args(challenges.ChallengeType)


@pytest.mark.parametrize("challenge", challenges.CHALLENGES.values(), ids=lambda challenge: challenge.type)
def test_what_a_challenge_type_can_prove_is_what_policy_offers_it_for(challenge: Challenge) -> None:
    assert (challenge.type in engine.IP_CHALLENGES) == ("ip" in challenge.identifier_types)
    assert (challenge.type in engine.WILDCARD_CHALLENGES) == challenge.wildcards
    assert Identifier("dns", "a").type in challenge.identifier_types
