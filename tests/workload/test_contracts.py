"""What every provider promises, by those whose workloads sign: X.509 and SPIFFE."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from acme_ca.workload.base import Expected, Proof
from acme_ca.workload.spiffe import Spiffe
from acme_ca.workload.x5c import X5c
from tests.support.pop import Authority, write_pem
from tests.support.spiffe_domain import SpiffeDomain
from tests.workload.contract import ProviderContract

HOST = x509.DNSName("host.corp.example")
PATH = "/ns/pay/sa/api"


class TestX5c(ProviderContract):
    """A bootstrap certificate."""

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.root, self.stranger = Authority.root("bootstrap root", 10), Authority.root("stranger", 12)
        self.ca_file = write_pem(tmp_path / "ca.pem", self.root.certificate)

    def provider(self) -> X5c:
        return X5c(name="bootstrap", ca_file=self.ca_file)

    def proof(self, expected: Expected) -> Proof:
        return Proof("x5c", self.root.leaf(HOST).sign(expected.url, expected.key_authorization or ""))

    def foreign_proof(self) -> Proof:
        return Proof("x5c", self.stranger.leaf(HOST).sign("https://elsewhere.example", "nothing"))


class TestSpiffeJwt(ProviderContract):
    """A JWT-SVID of another trust domain."""

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        self.domain, self.stranger = SpiffeDomain("corp.example"), SpiffeDomain("evil.example")
        self.bundle = self.domain.write(tmp_path / "bundle.json")

    def provider(self) -> Spiffe:
        settings = {"name": "corp", "trust_domain": "corp.example", "bundle": {"file": self.bundle}}
        return Spiffe.model_validate(settings)

    def proof(self, expected: Expected) -> Proof:
        return Proof("jwt", self.domain.jwt_svid(PATH, expected.bound_audience))

    def foreign_proof(self) -> Proof:
        return Proof("jwt", self.stranger.jwt_svid(PATH, "nothing"))


class TestSpiffeX509(TestSpiffeJwt):
    """An X.509-SVID of another trust domain."""

    def proof(self, expected: Expected) -> Proof:
        return Proof("x5c", self.domain.x509_svid(PATH).sign(expected.url, expected.key_authorization or ""))

    def foreign_proof(self) -> Proof:
        return Proof("x5c", self.stranger.x509_svid(PATH).sign("https://elsewhere.example", "nothing"))
