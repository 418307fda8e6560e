"""The rules of an environment, as its configuration has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from acme_ca.policy.conditions import ConditionText
from acme_ca.policy.patterns import NamePattern
from acme_ca.vocabulary import KeyType

# The list of acme_ca.challenges, which policy cannot import; a test holds the two together.
ChallengeType = Literal["http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"]
IpNetwork = IPv4Network | IPv6Network
RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

# What only a rule that grants something can say.
_GRANTS = (
    "deny_dns",
    "deny_ip",
    "wildcards",
    "wildcard_depth",
    "challenges",
    "profiles",
    "key_types",
    "max_lifetime",
    "max_names",
)


class Rule(BaseModel):
    """One rule: for whom (`eab`, `accounts`, `workloads`), for which names (`dns`, `ip`), and what they may have."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: RuleName
    """The rule's name, which refusals and the ledger of certificates tell."""
    eab: tuple[str, ...] = ()
    """Labels of external account keys: the rule is for accounts bound by one of them. Empty: for all accounts."""
    accounts: tuple[str, ...] = ()
    """Account ids: the rule is for these accounts. Empty: for all. Of several selectors all have to fit."""
    workloads: tuple[RuleName, ...] = ()
    """Rules for workloads: the rule is for accounts whose workload has one of them. Empty: for all."""
    condition: ConditionText | None = None
    """A CEL expression: where it is false the rule says nothing, where it has no answer the name is refused."""
    dns: tuple[NamePattern, ...] = ()
    """Names that the rule allows: NAME, *.NAME (one label below), **.NAME (all below), .NAME (itself and all below)."""
    deny_dns: tuple[NamePattern, ...] = ()
    """Names that the rule refuses, whatever later rules say; so is a wildcard that stands for one of them."""
    ip: tuple[IpNetwork, ...] = ()
    """Networks whose addresses the rule allows."""
    deny_ip: tuple[IpNetwork, ...] = ()
    """Networks whose addresses the rule refuses, whatever later rules say."""
    wildcards: bool = False
    """Whether wildcard names are allowed, where every name that they stand for is."""
    wildcard_depth: int | None = Field(default=None, ge=1, le=127)
    """How many labels, the asterisk too, a wildcard may have below a pattern's name; when left out, any number."""
    challenges: tuple[ChallengeType, ...] | None = Field(default=None, min_length=1)
    """Challenge types that may prove control; when left out, all that the environment offers."""
    profiles: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Profiles that may be asked for; when left out, all that the environment offers."""
    key_types: tuple[KeyType, ...] | None = Field(default=None, min_length=1)
    """Kinds of certificate keys; when left out, all that the profile accepts."""
    max_lifetime: int | None = Field(default=None, gt=0)
    """The longest lifetime of a certificate, in seconds; when left out, that of the profile."""
    max_names: int | None = Field(default=None, ge=1, le=1000)
    """Identifiers in one order, at most; when left out, as many as the environment accepts."""
    deny: bool = False
    """Refuse the names in `dns` and `ip`, whatever later rules say; with neither, refuse everything."""

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if self.deny:
            if vain := [setting for setting in _GRANTS if setting in self.model_fields_set]:
                raise ValueError(f"a rule with deny = true allows nothing, so that {vain[0]} means nothing in it")
        elif not (self.dns or self.ip or self.deny_dns or self.deny_ip):
            raise ValueError("the rule allows and refuses nothing; expected dns, ip, deny_dns, deny_ip or deny = true")
        if self.wildcard_depth is not None and not self.wildcards:
            raise ValueError("wildcard_depth means nothing without wildcards = true")
        return self


def default_rules(zones: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules of an environment that configures none: every account may have all names of its zones."""
    return (Rule(name="own-zones", dns=tuple(f".{zone}" for zone in zones), wildcards=True),)


def dump(rules: Iterable[BaseModel]) -> list[dict[str, Any]]:
    """Return rules of either kind as JSON has them, without what they leave at its default."""
    return [rule.model_dump(mode="json", exclude_defaults=True) for rule in rules]


def version_of(rules: Iterable[BaseModel]) -> str:
    """Return 16 hexadecimal digits of SHA-256 that identify the rules: equal for equal ones."""
    canonical = json.dumps(dump(rules), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
