"""What every provider of workload identity promises. A provider's tests inherit from ProviderContract.

They say what a provider looks like in each binding, and how a workload proves itself for what is expected.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings

from acme_ca.problems import Problem
from acme_ca.workload.base import Expected, Proof, Provider
from tests.support.pop import now
from tests.workload.proofs import (
    EXPECTED,
    JSON,
    OF_ANOTHER_ACCOUNT,
    OF_ANOTHER_ENVIRONMENT,
    OF_NOBODY,
    refused,
)

GARBAGE: tuple[object, ...] = (
    None,
    0,
    True,
    1e300,
    "",
    ".",
    "..",
    "...",
    "a.b.c",
    "e30.e30.e30",
    "\ud800.\x00.\u202e",
    "x" * 1_000_000,
    ".".join(("x" * 20_000,) * 3),
    [],
    {},
    {"sig": "a.b.c"},
    [[[[]]]],
)


class ProviderContract(ABC):
    """Inherit as `class TestOidc(ProviderContract)` and fill in what is abstract."""

    @abstractmethod
    def provider(self) -> Provider:
        """The provider, with binding = required."""

    @abstractmethod
    def proof(self, expected: Expected) -> Proof:
        """A good proof that is bound to what is expected."""

    @abstractmethod
    def foreign_proof(self) -> Proof:
        """A proof as good as the others, by somebody whom the provider does not know."""

    def test_a_bound_proof_is_of_its_workload(self) -> None:
        found = self.provider().verify(self.proof(EXPECTED), EXPECTED, now())

        assert found.provider == self.provider().name
        assert found.mode == "required"
        assert found.subject
        assert found.issuer
        assert found.expires_at > now()
        assert found.expires_at.utcoffset() is not None
        assert found.checks

    def test_two_proofs_are_of_one_workload(self) -> None:
        for expected in (EXPECTED, OF_ANOTHER_ACCOUNT):
            found = self.provider().verify(self.proof(expected), expected, now())
            first = self.provider().verify(self.proof(EXPECTED), EXPECTED, now())
            assert (found.provider, found.subject) == (first.provider, first.subject)

    @pytest.mark.parametrize("expected", [OF_ANOTHER_ACCOUNT, OF_ANOTHER_ENVIRONMENT])
    def test_a_proof_for_another_account_or_environment_is_of_no_use(self, expected: Expected) -> None:
        code, detail = refused(lambda: self.provider().verify(self.proof(EXPECTED), expected, now()))

        assert code in {"binding_mismatch", "audience_mismatch"}
        assert detail

    def test_without_a_key_authorization_no_bound_proof_is_taken(self) -> None:
        code, _ = refused(lambda: self.provider().verify(self.proof(EXPECTED), OF_NOBODY, now()))

        assert code in {"binding_mismatch", "audience_mismatch"}

    def test_no_claim_has_a_name_that_dotted_paths_cannot_say(self) -> None:
        claims = self.provider().verify(self.proof(EXPECTED), EXPECTED, now()).claims

        assert all(name and "." not in name for name in _names(claims))

    def test_it_knows_its_own_proofs(self) -> None:
        assert self.provider().claims_proof(self.proof(EXPECTED))
        assert not self.provider().claims_proof(self.foreign_proof())

    def test_a_proof_of_somebody_else_is_refused(self) -> None:
        code, _ = refused(lambda: self.provider().verify(self.foreign_proof(), EXPECTED, now()))

        assert code in {"issuer_untrusted", "signature_invalid"}

    def test_other_formats_are_refused(self) -> None:
        proof = Proof("tea-leaves", self.proof(EXPECTED).evidence)

        assert refused(lambda: self.provider().verify(proof, EXPECTED, now()))[0] == "format_unsupported"

    @pytest.mark.parametrize("evidence", GARBAGE, ids=lambda evidence: repr(evidence)[:30])
    def test_garbage_is_malformed(self, evidence: object) -> None:
        for format_ in self.provider().formats:
            assert self._code(format_, evidence) == "evidence_malformed"

    def test_deep_evidence_is_malformed(self) -> None:
        deep: object = 0
        for _ in range(2000):
            deep = {"sig": deep, "evidence": [deep]}
        for format_ in self.provider().formats:
            assert self._code(format_, deep) == "evidence_malformed"

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(evidence=JSON)
    def test_whatever_a_client_sends_is_refused_as_a_problem(self, evidence: object) -> None:
        for format_ in self.provider().formats:
            assert self._code(format_, evidence) in {"evidence_malformed", "signature_invalid", "issuer_untrusted"}

    def test_no_changed_octet_of_a_token_goes_unnoticed(self) -> None:
        """Each part counts: header, payload and signature."""
        proof, provider = self.proof(EXPECTED), self.provider()
        if not isinstance(proof.evidence, str):
            pytest.skip("the proof is no token")
        chooser = random.Random(proof.evidence)
        for place in chooser.sample(range(len(proof.evidence)), 60):
            other = chooser.choice([octet for octet in "Aa0_-.=\x00é" if octet != proof.evidence[place]])
            changed = proof.evidence[:place] + other + proof.evidence[place + 1 :]
            with _only_problems():
                provider.claims_proof(Proof(proof.format, changed))
            with pytest.raises(Problem):
                provider.verify(Proof(proof.format, changed), EXPECTED, now())

    def _code(self, format_: str, evidence: object) -> str:
        proof = Proof(format_, evidence)
        with _only_problems():
            self.provider().claims_proof(proof)
        return refused(lambda: self.provider().verify(proof, EXPECTED, now()))[0]


@contextmanager
def _only_problems() -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        assert problem.extra["workloadError"] in {"evidence_malformed", "signature_invalid"}  # noqa: PT017 - may pass, too


def _names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
