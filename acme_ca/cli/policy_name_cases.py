"""Cases about names: what an account is expected to get or not, and by which rule, without any CA at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acme_ca import identifiers
from acme_ca.policy.engine import Applicant, Policy
from acme_ca.policy.petitions import Petition, Terms
from acme_ca.policy.verdicts import Verdict, judge
from acme_ca.problems import Problem


class NameExpectation(BaseModel):
    """What a case expects. Only what is given is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rule: str | None = None
    """The rule that decides each of the names."""
    refused: bool | str = False
    """Whether the order is refused, or a part of the reason."""

    @model_validator(mode="after")
    def _expects_something(self) -> NameExpectation:
        if not self.model_fields_set:
            raise ValueError("nothing is expected; expected rule or refused")
        return self


class NameCase(BaseModel):
    """Who asks for which names, and what is expected of the policy."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = ""
    names: tuple[str, ...] = Field(min_length=1)
    account: str = ""
    label: str | None = None
    workload: str | None = None
    claims: dict[str, Any] = Field(default_factory=dict)
    profile: str | None = None
    key_type: str = ""
    expect: NameExpectation

    def differences(self, policy: Policy, terms: Terms) -> Iterator[str]:
        """Yield what is not as expected."""
        try:
            names = identifiers.parse_many([(identifiers.type_of(name), name) for name in self.names])
        except Problem as problem:
            yield f"names: {problem.detail}"
            return
        profile = self.profile or terms.default_profile
        who = Applicant(self.account, self.label, self.workload, self.claims, profile, self.key_type)
        petition = Petition(who, names, requested=self.profile, may_prove=False)
        yield from self._compared(judge(policy, terms, petition))

    def _compared(self, verdict: Verdict) -> Iterator[str]:
        reasons = [opinion.reason for opinion in verdict.names.values() if not opinion.allowed]
        refusal = "; ".join(reasons) or verdict.whole
        if refusal is None and self.expect.refused is not False:
            yield "refused: expected a refusal, all names are allowed"
        if refusal is not None and self.expect.refused is False:
            yield f"refused: {refusal}"
        if isinstance(self.expect.refused, str) and refusal is not None and self.expect.refused not in refusal:
            yield f"refused: expected {self.expect.refused!r} in {refusal!r}"
        for name, opinion in verdict.names.items() if self.expect.rule is not None else ():
            if opinion.rule != self.expect.rule:
                yield f"rule: expected {self.expect.rule!r} for {name}, found {opinion.rule!r}"
