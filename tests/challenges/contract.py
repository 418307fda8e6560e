"""What each challenge type promises. A type's tests inherit from ChallengeContract and say what right and wrong are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from acme_ca.challenges import CHALLENGES, AnyChallenge
from acme_ca.challenges.base import Attempt, Challenge, ChallengeType, Unanswered
from acme_ca.challenges.network import Network
from acme_ca.identifiers import parse
from acme_ca.problems import IncorrectResponse, Problem, Unauthorized
from tests.support import alpn, dns, web

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
ACCOUNT_URL = "https://ca.corp.example/acme/prod/account/7"
CA = "ca.corp.example"


@dataclass(frozen=True)
class Site:
    """The servers of one test."""

    resolver: dns.Running
    web: web.WebServer
    alpn: alpn.Responder

    @property
    def zone(self) -> dns.DnsServer:
        return self.resolver.server

    def network(self, **settings: object) -> Network:
        """Return a network of these servers; times are long unless a test is about them."""
        return Network.model_validate(
            {
                "resolvers": [f"127.0.0.1:{self.resolver.port}"],
                "http_port": self.web.port,
                "tls_port": self.alpn.port,
                "allow": ["127.0.0.0/8"],
                "timeout": 20,
                "dns_timeout": 10,
            }
            | settings
        )

    def attempt(self, value: str = "app.corp.example", type_: str = "dns", network: Network | None = None) -> Attempt:
        return Attempt(parse(type_, value), TOKEN, THUMBPRINT, ACCOUNT_URL, network or self.network(), (CA,))


class ChallengeContract(ABC):
    """Inherit as `class TestHttp01(ChallengeContract)` and fill in the three answers."""

    type: ClassVar[ChallengeType]
    wildcards: ClassVar[bool]
    addresses: ClassVar[bool]

    @abstractmethod
    def answer_rightly(self, site: Site, attempt: Attempt) -> None:
        """Make the site prove control."""

    @abstractmethod
    def answer_wrongly(self, site: Site, attempt: Attempt) -> None:
        """Make the site prove something else."""

    @abstractmethod
    def stay_silent(self, site: Site, attempt: Attempt) -> None:
        """Make the site not answer."""

    @property
    def challenge(self) -> Challenge:
        return CHALLENGES[self.type]

    def test_it_is_registered_under_its_name(self) -> None:
        adapter: TypeAdapter[Challenge] = TypeAdapter(AnyChallenge)

        assert adapter.validate_python({"type": self.type}) == self.challenge
        with pytest.raises(ValidationError, match=r"extra|unexpected"):
            adapter.validate_python({"type": self.type, "typo": 1})

    def test_the_right_answer_is_evidence(self, site: Site) -> None:
        attempt = site.attempt()
        self.answer_rightly(site, attempt)

        evidence = self.challenge.validate(attempt)

        assert attempt.identifier.value in evidence.summary
        assert all(record["resolver"] for record in evidence.records)
        assert evidence.records

    def test_a_wrong_answer_is_definite_and_says_what_was_seen(self, site: Site) -> None:
        attempt = site.attempt()
        self.answer_wrongly(site, attempt)

        with pytest.raises((IncorrectResponse, Unauthorized)) as refusal:
            self.challenge.validate(attempt)

        assert attempt.identifier.value in refusal.value.detail

    def test_silence_is_no_answer(self, site: Site) -> None:
        attempt = site.attempt(network=site.network(timeout=0.3, dns_timeout=0.3))
        self.stay_silent(site, attempt)

        with pytest.raises(Unanswered) as silence:
            self.challenge.validate(attempt)

        assert isinstance(silence.value.problem, Problem)
        assert attempt.identifier.value in silence.value.problem.detail

    def test_a_resolver_that_fails_is_no_answer(self, site: Site) -> None:
        attempt = site.attempt()
        site.zone.fail("servfail")

        with pytest.raises(Unanswered, match="SERVFAIL"):
            self.challenge.validate(attempt)

    def test_without_a_resolver_the_configuration_is_named(self, site: Site) -> None:
        with pytest.raises(Problem, match=r"validation\.resolvers"):
            self.challenge.validate(site.attempt(network=site.network(resolvers=[])))

    def test_it_supports_what_its_rfc_says(self) -> None:
        assert self.challenge.supports(parse("dns", "app.corp.example"))
        assert self.challenge.supports(parse("dns", "*.corp.example")) is self.wildcards
        assert self.challenge.supports(parse("ip", "10.1.2.3")) is self.addresses
