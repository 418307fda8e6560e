"""Any sequence of calls, of two clients on one account and of a stranger, keeps to RFC 8555 §7.1.6."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from acme_ca.services import issuance, orders, takeovers, validation
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.jws import b64
from tests.support.web import WELL_KNOWN, WebServer, reply

NAMES = ("a.test.localhost", "b.test.localhost")
CSRS: dict[tuple[str, ...], bytes] = {
    names: make_csr(names) for names in (NAMES, NAMES[:1], NAMES[1:], ("c.test.localhost",))
}

# What may follow what, as clients see it; what is missing ends there.
ORDER = {
    "pending": {"ready", "processing", "valid", "invalid"},
    "ready": {"processing", "valid", "invalid"},
    "processing": {"valid", "invalid"},
}
AUTHORIZATION = {"pending": {"valid", "invalid", "deactivated"}, "valid": {"expired", "deactivated"}}
CHALLENGE = {"pending": {"processing", "valid", "invalid"}, "processing": {"valid", "invalid"}}

CALLS = (  # hypothesis likes what stands first, and the way to a certificate is long
    *("finalize", "prove", "finalize", "prove", "submit_well", "deactivate", "work", "download", "submit_silently"),
    *("new_authorization", "submit_badly", "finalize_wrongly", "strangers_try", "new_order", "new_order"),
    *("order_expires", "authorization_expires", "sweep"),
)


class Clients(RuleBasedStateMachine):
    """What clients can do, and what has to be true after each of their calls.

    There is one rule, which draws what is done and to what: hypothesis turns whole rules off for whole runs, and of
    twelve rules those that lead to a certificate are then rarely all there.
    """

    def __init__(self, ca: RunningCa, website: WebServer) -> None:
        super().__init__()
        self.ca = ca
        self.website = website
        first = ca.client().register()
        self.pair = (first, AcmeClient(ca.app, first.base, first.signer))
        self.stranger = ca.client().register()
        self.orders: list[str] = []
        self.authorizations: list[str] = []
        self.seen: dict[str, str] = {}  # the last status of every order and authorization
        self.challenges_seen: dict[str, str] = {}
        self.new_order(first, 0)

    @rule(who=st.integers(0, 1), number=st.integers(0, 5), name=st.sampled_from(CALLS))
    def call(self, who: int, number: int, name: str) -> None:
        getattr(self, name)(self.pair[who], number)

    def order(self, number: int) -> str:
        """One of the last orders."""
        return self.orders[-1 - number % min(3, len(self.orders))]

    def authorization(self, number: int) -> str:
        """One of the last authorizations."""
        return self.authorizations[-1 - number % min(4, len(self.authorizations))]

    def new_order(self, client: AcmeClient, number: int) -> None:
        url, order = client.order((NAMES, NAMES[:1], NAMES[1:])[number % 3])
        self.observe(ORDER, url, order["status"])
        self.orders.append(url)
        for authorization in order["authorizations"]:
            self.seen.setdefault(authorization, "pending")
            self.authorizations.append(authorization)

    def new_authorization(self, client: AcmeClient, number: int) -> None:
        payload = {"identifier": {"type": "dns", "value": NAMES[number % 2]}}
        answer = client.post(client.url("newAuthz"), payload)
        assert answer.status_code in (200, 201)
        self.observe(AUTHORIZATION, answer.headers["Location"], body_of(answer)["status"])
        self.authorizations.append(answer.headers["Location"])

    def prove(self, client: AcmeClient, number: int) -> None:
        if (url := self.order(number)) in self.seen:
            for authorization in client.get(url)["authorizations"]:
                self.submit(client, authorization, "http-01", 200, "")

    def submit_well(self, client: AcmeClient, number: int) -> None:
        self.submit(client, self.authorization(number), "http-01", 200, "")

    def submit_badly(self, client: AcmeClient, number: int) -> None:
        self.submit(client, self.authorization(number), ("http-01", "dns-01")[number % 2], 200, "x")

    def submit_silently(self, client: AcmeClient, number: int) -> None:
        self.submit(client, self.authorization(number), "http-01", 503, "")

    def submit(self, client: AcmeClient, url: str, kind: str, status: int, prefix: str) -> None:
        if url in self.seen:
            token = client.get(url)["challenges"][0]["token"]
            body = prefix + client.key_authorization(token)
            self.website.raw(WELL_KNOWN + token, reply(status, body.encode()))
        assert client.post(f"{url}/{kind}", {}).status_code in (200, 404)
        rows.settle(self.ca.authority.database)

    def finalize(self, client: AcmeClient, number: int) -> None:
        if (url := self.order(number)) in self.seen:
            names = tuple(identifier["value"] for identifier in client.get(url)["identifiers"])
            self.finalize_with(client, url, names)

    def finalize_wrongly(self, client: AcmeClient, number: int) -> None:
        self.finalize_with(client, self.order(number), list(CSRS)[number % len(CSRS)])

    def finalize_with(self, client: AcmeClient, url: str, names: tuple[str, ...]) -> None:
        before = client.post(url)
        answer = client.post(f"{url}/finalize", {"csr": b64(CSRS[names])})
        if before.status_code == 404:
            assert answer.status_code == 404
            return
        order = body_of(before)
        fits = {identifier["value"] for identifier in order["identifiers"]} == set(names)
        expected = {"ready": 200 if fits else 400, "valid": 200 if fits else 403}.get(order["status"], 403)
        assert answer.status_code == expected, answer.text
        if answer.status_code == 200:
            assert body_of(answer)["status"] == "valid"

    def deactivate(self, client: AcmeClient, number: int) -> None:
        url = self.authorization(number)
        assert client.post(url, {"status": "deactivated"}).status_code in (200, 400, 404)

    def strangers_try(self, _client: AcmeClient, number: int) -> None:
        order, authorization = self.order(number), self.authorization(number)
        calls: list[tuple[str, object]] = [
            (order, None),
            (f"{order}/finalize", {"csr": b64(CSRS[NAMES])}),
            (authorization, None),
            (authorization, {"status": "deactivated"}),
            (f"{authorization}/http-01", None),
            (f"{authorization}/http-01", {}),
        ]
        for url, payload in calls:
            there = order in self.seen if url.startswith(order) else authorization in self.seen
            assert self.stranger.post(url, payload).status_code == (403 if there else 404)

    def download(self, client: AcmeClient, number: int) -> None:
        answer = client.post(self.order(number))
        if answer.status_code == 200 and "certificate" in body_of(answer):
            certificate = body_of(answer)["certificate"]
            assert len(certificates(client.ok(certificate).text)) == 2
            assert self.stranger.post(certificate).status_code == 403

    def order_expires(self, _client: AcmeClient, number: int) -> None:
        rows.expire(self.ca.authority.database, "orders", self.order(number))

    def authorization_expires(self, _client: AcmeClient, number: int) -> None:
        rows.expire(self.ca.authority.database, "authorizations", self.authorization(number))

    def work(self, _client: AcmeClient, _number: int) -> None:
        rows.hasten(self.ca.authority.database)
        for job in (takeovers.release_dead, validation.resume_due, issuance.resume_due):
            job(self.ca.authority)

    def sweep(self, client: AcmeClient, _number: int) -> None:
        orders.sweep(self.ca.authority)
        self.seen = {url: status for url, status in self.seen.items() if client.post(url).status_code == 200}

    @invariant()
    def every_transition_is_legal(self) -> None:
        self.look()

    @invariant()
    def ledger_has_one_certificate_for_each_valid_order(self) -> None:
        query = "SELECT order_id, status, der FROM certificates WHERE account_id = :account"
        account = rows.id_of(str(self.pair[0].signer.kid))
        lines = rows.select(self.ca.authority.database, query, account=account)
        assert all(line.status == "issued" and line.der for line in lines)
        issued = [line.order_id for line in lines]
        assert len(set(issued)) == len(issued)
        for url, status in self.seen.items():
            if "/order/" in url:
                assert (rows.id_of(url) in issued) == (status == "valid")

    def look(self) -> None:
        """Read everything, and compare it with what was seen before."""
        for url in list(self.seen):
            body = self.pair[0].get(url)
            self.observe(ORDER if "/order/" in url else AUTHORIZATION, url, body["status"])
            for challenge in body.get("challenges", ()):
                assert (challenge["status"] == "invalid") == ("error" in challenge) or body["status"] == "deactivated"
                self.observe_challenge(challenge)

    def observe(self, transitions: dict[str, set[str]], url: str, status: str) -> None:
        before = self.seen.setdefault(url, status)
        assert status == before or status in transitions.get(before, ()), f"{url}: {before} -> {status}"
        self.seen[url] = status

    def observe_challenge(self, challenge: dict[str, Any]) -> None:
        before = self.challenges_seen.setdefault(challenge["url"], challenge["status"])
        assert challenge["status"] == before or challenge["status"] in CHALLENGE.get(before, ()), challenge
        self.challenges_seen[challenge["url"]] = challenge["status"]


@pytest.mark.timeout(300)
def test_every_sequence_of_calls_keeps_to_the_state_machine(ca: RunningCa, website: WebServer) -> None:
    class Here(Clients):
        def __init__(self) -> None:
            super().__init__(ca, website)

    chosen = settings(
        max_examples=15,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # a sequence that fails tells enough; making it shorter takes minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Here, settings=chosen)
