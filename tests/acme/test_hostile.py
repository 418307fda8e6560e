"""Whatever a client sends: never a 5xx, and what is refused has changed nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support import rows
from tests.support.acme_client import CONTENT_TYPE, AcmeClient, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.jws import Signer, b64, eab
from tests.support.web import WebServer

NAME = "a.test.localhost"
EXAMPLES = settings(
    max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Every character that JSON can carry: half surrogates and NUL, which databases and UTF-8 refuse, among them.
TEXT = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["\0", "\ud800", "", "valid", "..", "a" * 9000, "AA.AQ", "https://localhost:8443/acme/test/account/"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, 2**64, -1, 10**400])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


class Target:
    """A CA in some state, all that can be asked of it, and what it looked like before."""

    def __init__(self, ca: RunningCa, website: WebServer) -> None:
        self.ca = ca
        self.client = ca.client().register()
        finished = issue(self.client, website, [NAME])
        certificate = certificates(self.client.ok(finished["certificate"]).text)[0].public_bytes(Encoding.DER)
        url, order = self.client.order(["b.test.localhost"])
        ready_url, ready = self.client.order([NAME])
        authorize(self.client, website, ready)
        identifier = {"type": "dns", "value": NAME}
        new_key, key_change = Signer.new(), self.client.url("keyChange")
        binding = eab("kid", b"secret", self.client.signer.key, self.client.url("newAccount"))
        registration = {"termsOfServiceAgreed": True, "contact": [], "externalAccountBinding": binding}
        self.calls: list[tuple[str, Any]] = [
            (self.client.url("newAccount"), registration),
            (self.client.url("newAccount"), {"onlyReturnExisting": True}),
            (self.client.url("newOrder"), {"identifiers": [identifier], "profile": "server-1h", "replaces": "AA.AQ"}),
            (self.client.url("newOrder"), {"identifiers": [identifier], "notAfter": "2030-01-01T00:00:00Z"}),
            (self.client.url("newAuthz"), {"identifier": identifier}),
            (self.client.url("revokeCert"), {"certificate": b64(certificate), "reason": 4}),
            (key_change, self.client.signer.key_change(new_key, key_change)),
            (str(self.client.signer.kid), {"contact": ["mailto:ops@example.com"], "status": "valid"}),
            (f"{self.client.signer.kid}/orders", None),
            (url, None),
            (ready_url, None),
            (ready["finalize"], {"csr": b64(make_csr([NAME]))}),
            (order["authorizations"][0], {"status": "valid"}),
            (f"{order['authorizations'][0]}/dns-01", None),
            (finished["certificate"], None),
        ]

    def unharmed(self, ask: Callable[[], TestResponse]) -> None:
        """Ask; the client checks that the answer is no 5xx."""
        before = rows.everything(self.ca.authority.database)
        if ask().status_code >= 400:
            assert rows.everything(self.ca.authority.database) == before


@pytest.fixture
def target(ca_on_each: RunningCa, website: WebServer) -> Target:
    """A CA on each kind of database: they differ in what they refuse to store."""
    return Target(ca_on_each, website)


@st.composite
def mutations(draw: st.DrawFn, payload: Any) -> Any:  # noqa: ANN401 - anything that JSON can be
    """A payload with something in it replaced, removed or added, at any depth."""
    if not isinstance(payload, dict | list) or not payload or draw(st.integers(0, 4)) == 0:
        return draw(JSON)
    if isinstance(payload, list):
        position = draw(st.integers(0, len(payload) - 1))
        return [*payload[:position], draw(mutations(payload[position])), *payload[position + 1 :]]
    member = draw(st.sampled_from(sorted(payload)))
    what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
    if what == "add":
        return payload | {draw(TEXT): draw(JSON)}
    rest = {name: value for name, value in payload.items() if name != member}
    return rest if what == "remove" else rest | {member: draw(mutations(payload[member]))}


def send(client: AcmeClient, url: str, payload: object, header: Mapping[str, Any]) -> TestResponse:
    members = {"nonce": client.nonce(), **header}
    return client.send(url, client.signer.sign(url, payload, use_jwk=url.endswith("/newAccount"), **members))


def test_no_payload_does_harm(target: Target) -> None:
    @EXAMPLES
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        url, payload = data.draw(st.sampled_from(target.calls))
        changed = data.draw(mutations(payload))
        target.unharmed(lambda: send(target.client, url, changed, {}))

    attack()


def test_no_payload_that_is_no_json_does_harm(target: Target) -> None:
    @EXAMPLES
    @given(st.data(), st.binary(max_size=40))
    def attack(data: st.DataObject, noise: bytes) -> None:
        url, payload = data.draw(st.sampled_from(target.calls))
        octets = json.dumps(payload).encode()
        place = data.draw(st.integers(0, len(octets)))
        end = data.draw(st.integers(place, len(octets)))
        target.unharmed(lambda: send(target.client, url, octets[:place] + noise + octets[end:], {}))

    attack()


def test_no_protected_header_does_harm(target: Target) -> None:
    names = ("alg", "kid", "jwk", "url", "nonce", "crit", "b64", "jku", "x5c")

    @EXAMPLES
    @given(st.data(), st.dictionaries(st.sampled_from(names), JSON, min_size=1, max_size=2))
    @example(None, {"kid": "https://localhost:8443/acme/test/account/\0"})
    @example(None, {"kid": "https://localhost:8443/acme/test/account/\ud800"})
    @example(None, {"kid": "https://localhost:8443/acme/test/account/" + "a" * 9000})
    @example(None, {"nonce": "\ud800"})
    @example(None, {"url": "\ud800"})
    def attack(data: st.DataObject | None, header: dict[str, Any]) -> None:
        url, payload = target.calls[2] if data is None else data.draw(st.sampled_from(target.calls))
        target.unharmed(lambda: send(target.client, url, payload, header))

    attack()


def test_no_body_does_harm(target: Target) -> None:
    @EXAMPLES
    @given(st.data(), st.binary(max_size=20))
    def attack(data: st.DataObject, noise: bytes) -> None:
        url, payload = data.draw(st.sampled_from(target.calls))
        body = target.client.signer.sign(url, payload, nonce=target.client.nonce())
        place = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(place, len(body)))
        target.unharmed(lambda: target.client.send(url, body[:place] + noise + body[end:]))

    attack()


def test_no_identifier_in_a_url_does_harm(target: Target) -> None:
    patterns = (
        *("account/{}", "account/{}/orders", "order/{}", "order/{}/finalize", "certificate/{}", "certificate/x/{}"),
        *("authorization/{}", "authorization/{}/http-01", "authorization/x/{}", "account/x/orders?cursor={}"),
    )

    @EXAMPLES
    @given(st.sampled_from(patterns), TEXT, JSON)
    @example("order/{}", "\0", None)
    @example("authorization/{}", "\0", None)
    @example("certificate/{}", "\0", None)
    @example("account/{}", "\0", None)
    def attack(pattern: str, text: str, payload: object) -> None:
        url = target.client.url(pattern)
        encoded = target.client.path(url).format(quote(text.encode("utf-8", "surrogatepass"), safe=""))
        client = target.client
        body = client.signer.sign(url.format(text), payload, nonce=client.nonce())
        before = rows.everything(target.ca.authority.database)
        answer = client.app.test_client().post(encoded, data=body, content_type=CONTENT_TYPE)
        assert 400 <= answer.status_code < 500, answer.text
        assert rows.everything(target.ca.authority.database) == before

    attack()


def test_no_cursor_does_harm(target: Target) -> None:
    client = target.client

    @EXAMPLES
    @given(TEXT)
    @example("\0")
    def attack(cursor: str) -> None:
        query = quote(cursor.encode("utf-8", "surrogatepass"), safe="")
        url = f"{client.signer.kid}/orders?cursor={query}"
        assert client.post(url).status_code in (200, 400)

    attack()


def test_no_renewal_identifier_does_harm(target: Target) -> None:
    @EXAMPLES
    @given(TEXT, TEXT)
    @example("AA", "AA")
    @example("\0", "\0")
    def attack(key: str, serial: str) -> None:
        certificate = ".".join(quote(text.encode("utf-8", "surrogatepass"), safe="") for text in (key, serial))
        client = target.client
        answer = client.app.test_client().get(client.path(client.url(f"renewalInfo/{certificate}")))
        assert 400 <= answer.status_code < 500, answer.text

    attack()
