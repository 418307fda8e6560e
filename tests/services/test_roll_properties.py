"""Root rolls in any order that docs/how-to/root-roll.md allows: no order fails, what is published verifies all.

Time is simulated: roots, intermediates and cross-signs are real, and so are the leafs and whoever verifies them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from acme_ca import clock
from acme_ca.authority import Environment
from acme_ca.config import Config
from acme_ca.identifiers import Identifier
from acme_ca.pki import ca
from acme_ca.pki.issuer import Issuer, new_serial
from acme_ca.pki.leaf import LeafRequest
from tests.support.ca import start_ca
from tests.support.roots import Root, key

NAME = "app.test.localhost"
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Live:
    """A certificate with the chains that it can be had with, and who signed it."""

    leaf: x509.Certificate
    chains: tuple[tuple[x509.Certificate, ...], ...]
    issuer: str


class Roll(RuleBasedStateMachine):
    """An operator who rolls roots, and clients that order all the while."""

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self.now = clock.now().replace(microsecond=0)
        self.roots = [Root.make("root-1", self.now)]
        self.live: list[Live] = []
        self.environment = replace(environment, issuers=(), generations=(), anchors=())
        self.environment = self.with_issuers(self.issuer(self.roots[0], self.roots[0].certificate))

    def issuer(self, root: Root, end: x509.Certificate, *between: x509.Certificate) -> Issuer:
        """A new issuer below a root; its chain goes by what is between to where it ends."""
        name = f"{root.name}-issuer"
        certificate = root.intermediate(name)
        alternates = ((certificate,),) if between else ()
        return Issuer(id=name, certificate=certificate, chain=between, root=end, key=key(name), alternates=alternates)

    def with_issuers(self, *issuers: Issuer) -> Environment:
        return replace(self.environment, issuers=issuers, generations=issuers)

    @property
    def new(self) -> Root:
        """The newest root."""
        return self.roots[-1]

    @property
    def is_rolling(self) -> bool:
        """Whether the newest root signs nothing yet."""
        return len(self.roots) > 1 and self.environment.issuers[0].id != f"{self.new.name}-issuer"

    @property
    def is_overlapping(self) -> bool:
        return bool(self.environment.issuers[0].chain)

    @property
    def is_settled(self) -> bool:
        return not self.is_rolling and not self.is_overlapping and not self.environment.anchors

    @precondition(lambda self: self.is_settled and len(self.roots) < 4)
    @rule()
    def announce(self) -> None:
        """Steps 1 and 2."""
        self.roots.append(Root.make(f"root-{len(self.roots) + 1}", self.now))
        self.environment = replace(self.environment, anchors=(self.new.certificate,))

    @precondition(lambda self: self.is_rolling)
    @rule()
    def sign_by_the_cross_sign(self) -> None:
        """Steps 3 and 4."""
        old = self.roots[-2]
        cross = ca.make_cross_sign(
            old.certificate,
            key(old.name),
            self.new.certificate,
            not_before=self.new.certificate.not_valid_before_utc,
            not_after=self.now + timedelta(days=700),
            path_length=1,
        )
        issuer = self.issuer(self.new, old.certificate, cross)
        self.environment = self.with_issuers(issuer, *self.environment.issuers)

    @precondition(lambda self: self.is_overlapping)
    @rule()
    def end_the_overlap(self) -> None:
        """Step 5."""
        first, *others = self.environment.issuers
        ended = self.issuer(self.new, self.new.certificate)
        ended = replace(ended, certificate=first.certificate)
        self.environment = replace(self.with_issuers(ended, *others), anchors=(self.roots[-2].certificate,))

    @precondition(lambda self: len(self.environment.issuers) > 1)
    @rule()
    def retire(self) -> None:
        """Take the old issuer out, once its last certificate has ended."""
        *kept, last = self.environment.issuers
        if all(one.issuer != last.id for one in self.living()):
            self.environment = self.with_issuers(*kept)

    @precondition(lambda self: not self.is_rolling and not self.is_overlapping and len(self.environment.issuers) == 1)
    @rule()
    def take_the_old_root_away(self) -> None:
        """Step 6."""
        self.environment = replace(self.environment, anchors=())

    @rule(hours=st.integers(1, 48))
    def wait(self, hours: int) -> None:
        """Let time pass."""
        self.now += timedelta(hours=hours)

    @rule(profile=st.sampled_from(["server-1h", "server-8h"]))
    def order(self, profile: str) -> None:
        """Get a certificate: it never fails."""
        chosen = self.environment.profiles[profile]
        lifetime = timedelta(seconds=chosen.lifetime)
        issuer = self.environment.issuer(self.now, lifetime, chosen)
        request = LeafRequest(
            identifiers=(Identifier("dns", NAME),),
            uris=(),
            public_key=LEAF_KEY.public_key(),
            profile=chosen,
            serial=new_serial(),
            not_before=self.now,
            not_after=self.now + lifetime,
        )
        chains = ((issuer.certificate, *issuer.chain), *issuer.alternates)
        self.live.append(Live(issuer.issue(request), chains, issuer.id))

    def living(self) -> Iterator[Live]:
        return (one for one in self.live if one.leaf.not_valid_after_utc > self.now)

    @invariant()
    def what_is_published_verifies_all_that_lives(self) -> None:
        policy = PolicyBuilder().time(self.now).store(Store(list(self.environment.roots)))
        for one in self.living():
            for chain in one.chains:
                policy.build_server_verifier(x509.DNSName(NAME)).verify(one.leaf, list(chain))

    @invariant()
    def each_root_alone_is_enough_while_they_overlap(self) -> None:
        if self.is_overlapping:
            old, new = self.roots[-2].certificate, self.new.certificate
            for one in self.living():
                if one.issuer == self.environment.issuers[0].id:
                    for root in (old, new):
                        policy = PolicyBuilder().time(self.now).store(Store([root]))
                        policy.build_server_verifier(x509.DNSName(NAME)).verify(one.leaf, list(one.chains[0]))


@pytest.mark.timeout(300)
def test_a_roll_in_any_order_fails_nobody(service_settings: Config, tmp_path: Path, sqlite_url: str) -> None:
    running = start_ca(service_settings, sqlite_url, tmp_path / "state")
    environment = running.authority.environments["test"]
    running.close()

    class OfEnvironment(Roll):
        """With profiles and policy as `acme-ca init` makes them."""

        def __init__(self) -> None:
            super().__init__(environment)

    rules = settings(max_examples=40, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(OfEnvironment, settings=rules)
