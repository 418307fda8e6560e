"""The upkeep of a certificate against the real CA: when it is renewed, and through which troubles."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from acme_ca.agent import material, renewal
from acme_ca.agent.client import Account
from acme_ca.agent.envoy import CERTIFICATE_FILE
from acme_ca.agent.errors import RefusedError
from acme_ca.agent.issuance import Issued, Wish, certificate_id
from acme_ca.agent.material import Material
from acme_ca.agent.messages import Order
from acme_ca.agent.outlets import Envoy
from acme_ca.clock import now
from tests.agent.conftest import NAME, Home, issuer, leaf
from tests.support.pop import Authority

pytestmark = pytest.mark.timeout(400)  # a server is four Python processes that start at once, beside other tests


class TestRenewal:
    def test_follows_the_window_of_the_ca(self, home: Home) -> None:
        found = home.agent().once().issued.leaf
        server, moment = home.acme(), now()
        plan = renewal.plan(server, found, moment)
        assert plan.window is not None
        assert plan.window.start <= plan.renew_at <= plan.window.end
        assert plan.check_at >= moment + timedelta(seconds=60)
        assert renewal.plan(server, found, moment, plan).renew_at == plan.renew_at

    def test_without_advice_is_near_half_of_the_lifetime(self, home: Home) -> None:
        found = home.agent().once().issued.leaf
        server = home.acme()
        server.directory = server.directory.model_copy(update={"renewal_info": None})
        plan = renewal.plan(server, found, now())
        lifetime = found.not_valid_after_utc - found.not_valid_before_utc
        share = (plan.renew_at - found.not_valid_before_utc) / lifetime
        assert 0.45 <= share <= 0.55
        assert plan.window is None

    def test_keeps_the_plan_when_the_ca_gives_no_advice(self, home: Home) -> None:
        found = home.agent().once().issued.leaf
        server = home.acme()
        plan = renewal.plan(server, found, now())
        server.directory = server.directory.model_copy(update={"renewal_info": f"{home.server.url}/nothing"})
        assert renewal.plan(server, found, now(), plan).renew_at == plan.renew_at

    def test_names_the_certificate_as_the_ca_does(self, home: Home) -> None:
        found = home.agent().once().issued.leaf
        server = home.acme()
        url = f"{server.directory.renewal_info}/{certificate_id(found)}"
        assert server.transport.get(url, "renewalInfo").status == 200

    def test_happens_when_it_is_due_and_replaces_the_certificate(self, home: Home) -> None:
        agent = home.agent()
        first = agent.once()
        assert agent.plan is not None
        assert agent.turn() > 0
        assert agent.material == first
        home.token_file()
        agent.plan = replace(agent.plan, renew_at=now())

        agent.turn()

        assert leaf(home.out) != first.issued.leaf
        assert agent.last_error is None
        account = Account(home.acme(), material.account_key(home.out / "account.key"))
        account.register()
        replaced = {"identifiers": Wish((NAME,)).identifiers, "replaces": certificate_id(first.issued.leaf)}
        with pytest.raises(RefusedError, match="alreadyReplaced"):
            account.create(account.server.directory.new_order, replaced, Order, "newOrder")

    def test_of_what_was_replaced_before_goes_on_without_saying_so(self, home: Home) -> None:
        agent = home.agent()
        first = agent.once()
        agent.once()
        agent.material = first
        assert agent.once().issued.leaf != first.issued.leaf

    def test_survives_an_outage(self, home: Home) -> None:
        agent = home.agent()
        first = agent.once()
        assert agent.plan is not None
        agent.plan = replace(agent.plan, renew_at=now(), check_at=now())
        reachable = agent.settings
        agent.settings = replace(reachable, directory_url="https://127.0.0.1:1/directory")
        assert 1 <= agent.turn() <= 300
        agent.turn()
        assert "gave no answer" in str(agent.last_error)
        assert agent.material == first
        agent._report()
        assert home.status()["last_error"] is not None
        assert isinstance(left := home.status()["seconds_left"], int)
        assert left > 0

        agent.settings = reachable
        agent.turn()

        assert agent.last_error is None
        assert leaf(home.out) != first.issued.leaf

    def test_what_cannot_be_published_is_published_later_and_not_obtained_anew(self, home: Home) -> None:
        blocked = home.folder / "envoy"
        blocked.write_text("a file where a folder belongs")
        agent = home.agent(Envoy(blocked))
        agent.turn()
        assert "envoy" in str(agent.last_error)
        certificate = leaf(home.out)

        blocked.unlink()
        agent.turn()

        assert agent.last_error is None
        assert leaf(home.out) == certificate
        assert (blocked / CERTIFICATE_FILE).exists()

    def test_goes_on_with_what_was_there(self, home: Home) -> None:
        first = home.agent().once()
        agent = home.agent()
        agent.adopt()
        assert agent.material is not None
        assert agent.material.issued.leaf == first.issued.leaf
        agent.turn()
        assert leaf(home.out) == first.issued.leaf
        assert agent.plan is not None
        assert agent.plan.window is not None

    @pytest.mark.parametrize("wish", [Wish((NAME, "more.test.localhost")), Wish((), "spiffe://test.localhost/other")])
    def test_obtains_anew_what_has_other_names(self, home: Home, wish: Wish) -> None:
        home.agent().once()
        agent = home.agent()
        agent.settings = replace(agent.settings, wish=wish)
        agent.adopt()
        assert agent.material is None

    @pytest.mark.parametrize("file", ["key.pem", "bundle.pem", "fullchain.pem"])
    def test_obtains_anew_what_was_damaged(self, home: Home, file: str) -> None:
        home.agent().once()
        (home.out / "current" / file).write_bytes(b"")
        agent = home.agent()
        agent.adopt()
        assert agent.material is None

    def test_publishes_trust_anchors_that_changed(self, home: Home) -> None:
        agent = home.agent()
        agent.once()
        assert agent.material is not None
        agent.material = replace(agent.material, bundle=())
        agent._bundle_at = now()
        agent.turn()
        assert x509.load_pem_x509_certificate((home.out / "bundle.pem").read_bytes()) == issuer(home)
        assert leaf(home.out) == agent.material.issued.leaf

    def test_is_due_at_once_when_the_trust_anchors_know_the_issuer_no_more(self, home: Home) -> None:
        agent = home.agent()
        found = agent.once()
        assert agent.plan is not None
        foreign = Authority.root("stranger", 21).leaf(x509.DNSName(NAME), seconds=3600)
        agent.material = Material(Issued(found.issued.key, foreign.chain), ())
        agent._bundle_at = now()
        home.token_file()
        agent.turn()
        agent.turn()
        assert leaf(home.out).issuer == found.issued.leaf.issuer
        assert leaf(home.out) != found.issued.leaf
