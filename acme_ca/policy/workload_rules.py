"""The rules for workloads of an environment, as its configuration has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acme_ca.policy.claims import ClaimPath
from acme_ca.policy.grants import Add
from acme_ca.policy.matching import AnyCondition
from acme_ca.policy.rules import RuleName
from acme_ca.policy.templates import DnsTemplateText, SpiffePatternText, SpiffeTemplateText

DAY = 86_400  # seconds


class SpiffeRule(BaseModel):
    """The SPIFFE ID that a rule gives (`id`), or those among which the workload may choose (`allow`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    id: SpiffeTemplateText | None = None
    """The ID, in which `${claim}` is one segment and `${claim|spiffe_path}` the path of a SPIFFE ID."""
    allow: Annotated[tuple[SpiffePatternText, ...], Field(min_length=1)] | None = None
    """IDs to choose from: like `id`, and a segment `*` stands for any one segment."""
    add: Add = "on-request"
    """When certificates get the ID: `always`, `on-request` (of the order or the CSR) or `never`."""

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> SpiffeRule:
        if (self.id is None) == (self.allow is None):
            raise ValueError("expected either id, the one that the rule gives, or allow, those to choose from")
        if self.allow is not None and self.add != "on-request":
            raise ValueError(f'add = "{self.add}" needs an id; with allow the order or the CSR says which it shall be')
        return self


class WorkloadRule(BaseModel):
    """One rule: for which workloads (`provider`, `match`), and what they may have (`spiffe`, `dns`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: RuleName
    """The rule's name, which refusals, bindings and the ledger of certificates tell."""
    provider: str
    """The provider whose workloads the rule is for."""
    match: dict[ClaimPath, AnyCondition]
    """Conditions on claims, by dotted path, or on `sub`, `issuer`, `instance`: a value, a list, or a table."""
    spiffe: SpiffeRule | None = None
    """The SPIFFE IDs that the rule grants."""
    dns: tuple[DnsTemplateText, ...] = ()
    """DNS names that the rule grants: `${claim}` is one label, and so is a leading `*`, never a wildcard."""
    profiles: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Profiles that may be asked for; when left out, all that the environment offers."""
    lifetime: Annotated[int, Field(ge=60)] | None = None
    """The longest lifetime of a certificate, in seconds; when left out, that of the profile."""
    binding_ttl: Annotated[int, Field(ge=0, le=30 * DAY)] = DAY
    """How long an account stays bound to the workload without a new proof, in seconds; 0: for the order only."""
    liveness: bool = False
    """Whether the provider is asked at each order if the workload still exists; bindings longer than a day need it."""

    @model_validator(mode="after")
    def _is_consistent(self) -> WorkloadRule:
        if self.spiffe is None and not self.dns:
            raise ValueError("the rule grants nothing; expected spiffe or dns")
        if self.binding_ttl > DAY and not self.liveness:
            raise ValueError(
                f"binding_ttl = {self.binding_ttl} is longer than a day ({DAY} s) and needs liveness = true"
            )
        return self
