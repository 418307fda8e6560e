"""Files with workloads to try a policy on: what a provider would say of them, and what is expected of the policy."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from acme_ca import clock, complaints
from acme_ca.cli.policy_name_cases import NameCase
from acme_ca.policy.workloads import Grant, WorkloadPolicy
from acme_ca.problems import Problem
from acme_ca.workload.base import Workload


class CaseError(Exception):
    """A file cannot be used; the message names it, the case and the member."""


class Expectation(BaseModel):
    """What a case expects. Only what is given is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rule: str | None = None
    spiffe_id: str | None = None
    dns: tuple[str, ...] | None = None
    refused: bool | str = False

    @model_validator(mode="after")
    def _expects_something(self) -> Expectation:
        if not self.model_fields_set:
            raise ValueError("nothing is expected; expected rule, spiffe_id, dns or refused")
        if self.refused is not False and len(self.model_fields_set) > 1:
            raise ValueError("a workload that is refused has no rule, spiffe_id or dns")
        return self

    def differences(self, grant: Grant | None, refused: str) -> Iterator[str]:
        """Yield what is not as expected, of a grant or of the detail of a refusal."""
        if grant is None:
            if self.refused is False:
                yield f"refused: {refused}"
            elif isinstance(self.refused, str) and self.refused not in refused:
                yield f"refused: expected {self.refused!r} in {refused!r}"
        elif self.refused is not False:
            yield f"refused: expected a refusal, rule {grant.rule} grants"
        else:
            yield from self._other_grants(grant)

    def _other_grants(self, grant: Grant) -> Iterator[str]:
        for name, found in (("rule", grant.rule), ("spiffe_id", grant.spiffe_id)):
            if name in self.model_fields_set and getattr(self, name) != found:
                yield f"{name}: expected {getattr(self, name)!r}, found {found!r}"
        if self.dns is not None and set(self.dns) != set(grant.dns):
            yield f"dns: expected {sorted(self.dns)}, found {sorted(grant.dns)}"


class Case(BaseModel):
    """A workload as its provider would describe it, with what the policy is expected to say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = ""
    provider: str | None = None
    subject: str
    issuer: str = ""
    instance: str | None = None
    claims: dict[str, Any]
    expect: Expectation | None = None

    @field_validator("claims", mode="after")
    @classmethod
    def _are_a_providers(cls, claims: dict[str, Any]) -> dict[str, Any]:
        if dotted := [name for name in claims if "." in name]:
            raise ValueError(
                f"the claim {dotted[0]!r} has a dot in its name: providers rename it, kubernetes.io to kubernetes"
            )
        return claims

    def workload(self, provider: str) -> Workload:
        """Return the workload, as if this provider had verified it now."""
        return Workload(
            provider=provider,
            issuer=self.issuer,
            subject=self.subject,
            claims=self.claims,
            mode="required",
            expires_at=clock.now(),
            instance=self.instance,
        )


AnyCase = TypeVar("AnyCase", Case, NameCase)


def read_cases(path: Path) -> list[Case]:
    """Return the cases about workloads of a file; raises CaseError."""
    return [_case(path, number, item, Case) for number, item in enumerate(items_of(path), 1)]


def items_of(path: Path) -> list[Any]:
    """Return the cases of a file as they are: JSON with one object or a list, or TOML with one table or a list `case`.

    Raises CaseError.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise CaseError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{path} is no {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from error
    if isinstance(data, dict) and data.keys() == {"case"}:
        data = data["case"]
    found = data if isinstance(data, list) else [data]
    if not found:
        raise CaseError(f"{path} has no cases")
    return found


def read_any(path: Path) -> list[Case | NameCase]:
    """Return the cases of a file, about workloads and about `names`; raises CaseError."""
    return [
        _case(path, number, item, NameCase)
        if isinstance(item, dict) and "names" in item
        else _case(path, number, item, Case)
        for number, item in enumerate(items_of(path), 1)
    ]


def try_out(policy: WorkloadPolicy, case: Case, provider: str) -> tuple[Grant | None, str]:
    """Return what the policy grants in a case, or else the detail of its refusal."""
    try:
        return policy.grant(case.workload(provider)), ""
    except Problem as problem:
        return None, problem.detail


def _case(path: Path, number: int, item: object, kind: type[AnyCase]) -> AnyCase:
    try:
        case = kind.model_validate_json(json.dumps(item, default=str))  # strict JSON takes a list for a tuple
    except ValidationError as error:
        raise CaseError("\n".join(f"{path}: case {number}: {line}" for line in complaints.lines(error))) from error
    return case.model_copy(update={"name": f"{path}: {case.name or f'case {number}'}"})
