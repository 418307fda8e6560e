"""External account keys that are for some names, some profiles, some accounts."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from ipaddress import ip_network
from typing import Any

import pytest

from acme_ca.identifiers import Identifier
from acme_ca.models.external_key import new_mac_key
from acme_ca.policy.scope import Scope, stored
from acme_ca.services import explanations, external_keys, revocations
from acme_ca.services.explanations import Question
from acme_ca.services.external_keys import Wanted
from tests.acme.conftest import MakeCa
from tests.support import rows
from tests.support.acme_client import AcmeClient, body_of, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.jws import b64, eab
from tests.support.web import WebServer

SCOPE = Scope(dns=(".a.test.localhost",), ip=(ip_network("127.0.0.0/30"),), profiles=("server-8h",))


def member(ca: RunningCa, **wanted: Any) -> tuple[AcmeClient, str]:  # noqa: ANN401 - of Wanted
    """A client whose account has such a key, and the key's identifier."""
    key = external_keys.create(ca.authority.database, "test", Wanted(**wanted))
    return bound(ca, key), key.kid


def bound(ca: RunningCa, key: external_keys.NewKey) -> AcmeClient:
    client, secret = ca.client(), urlsafe_b64decode(key.mac_key + "=")
    return client.register(externalAccountBinding=eab(key.kid, secret, client.signer.key, client.url("newAccount")))


def order_of(client: AcmeClient, *names: str, **members: str) -> Any:  # noqa: ANN401 - what AcmeClient says
    payload = {"identifiers": [{"type": "dns", "value": name} for name in names], **members}
    return client.refused(client.url("newOrder"), payload)


def test_account_has_the_names_and_profiles_that_its_key_is_for(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca()
    client, _ = member(ca, scope=SCOPE)
    for names in (["b.test.localhost"], ["x.a.test.localhost", "b.test.localhost"], ["*.test.localhost"]):
        kind, detail, _ = order_of(client, *names)
        assert kind == "rejectedIdentifier"
        assert "it is for .a.test.localhost, 127.0.0.0/30" in detail
    assert order_of(client, "a.test.localhost", profile="server-1h")[0] == "invalidProfile"
    assert issue(client, website, ["x.a.test.localhost"])["profile"] == "server-8h"
    assert client.refused(client.url("newAuthz"), {"identifier": {"type": "dns", "value": "b.test.localhost"}})[0] == (
        "rejectedIdentifier"
    )
    free = ca.client().register()
    assert issue(free, website, ["b.test.localhost"])["status"] == "valid"


def test_a_key_allows_nothing_that_no_rule_allows(make_ca: MakeCa) -> None:
    ca = make_ca(policy=[{"name": "some", "dns": [".b.test.localhost"], "profiles": ["server-1h"]}])
    client, _ = member(ca, scope=Scope(dns=(".a.test.localhost", ".b.test.localhost"), profiles=("server-8h",)))
    assert "no rule of environment test allows" in order_of(client, "a.test.localhost")[1]
    kind, detail, _ = order_of(client, "b.test.localhost")
    assert kind == "rejectedIdentifier"
    assert "for profile server-8h alone" in detail


def test_what_a_key_is_for_is_looked_at_again_at_finalize(make_ca: MakeCa, website: WebServer) -> None:
    """Nobody changes the scope of an account; but finalize must not need to trust that."""
    ca = make_ca()
    client, _ = member(ca)
    url, order = client.order(["b.test.localhost"])
    rows.change(ca.authority.database, """UPDATE accounts SET scope = '{"dns": ["a.test.localhost"]}'""")
    assert order_of(client, "b.test.localhost")[0] == "rejectedIdentifier"
    authorize(client, website, order)
    answer = client.finalize(order, make_csr(["b.test.localhost"]))
    assert body_of(answer)["type"].endswith(":rejectedIdentifier")
    assert client.get(url)["status"] == "ready"


def test_a_key_is_good_for_as_many_accounts_as_it_says(make_ca: MakeCa) -> None:
    ca = make_ca(external_account_required=True)
    key = external_keys.create(ca.authority.database, "test", Wanted(uses=2))
    for _ in range(2):
        bound(ca, key)
    with pytest.raises(AssertionError, match="good for no further account"):
        bound(ca, key)
    found = external_keys.get(ca.authority.database, "test", key.kid)
    assert (found.uses_left, found.mac_key) == (0, b"")


def test_certificates_are_revoked_with_their_key(make_ca: MakeCa, website: WebServer) -> None:
    ca = make_ca()
    client, kid = member(ca)
    issue(client, website, ["a.test.localhost"])
    issue(ca.client().register(), website, ["b.test.localhost"])
    assert external_keys.preview_revoke(ca.authority, "test", kid, reason=4, by="uid:0") == (1, 1)
    ended, revocation = external_keys.revoke(ca.authority, "test", kid, reason=4, by="uid:0")
    assert ended == 1
    assert revocation is not None
    revocations.resume(ca.authority)
    found = rows.select(ca.authority.database, "SELECT eab_kid, revocation_reason FROM certificates ORDER BY id")
    assert found == [(kid, 4), (None, None)]


def test_scopes_are_kept_as_they_are() -> None:
    assert stored(SCOPE.document()) == SCOPE
    assert Scope().document() is None
    assert stored(None) is None
    narrow = Scope(ip=(ip_network("10.0.0.0/8"),))
    assert narrow.obstacle(Identifier("ip", "10.1.1.1")) is None
    assert narrow.obstacle(Identifier("ip", "fd00::1")) is not None
    assert narrow.obstacle(Identifier("dns", "a.test.localhost")) is not None
    assert narrow.obstacle(Identifier("uri", "spiffe://test/a")) is not None
    assert Scope(profiles=("p",)).obstacle(Identifier("dns", "a.test.localhost")) is None


def test_why_a_key_is_not_for_a_name_is_explained(make_ca: MakeCa) -> None:
    ca = make_ca()
    client, _ = member(ca, scope=SCOPE)
    question = Question((("dns", "b.test.localhost"),), account=str(client.signer.kid).rpartition("/")[2])
    explained = explanations.explain(ca.authority, ca.authority.environments["test"], question)
    (answer,) = explained.answers
    assert not explained.allowed
    assert "it is for .a.test.localhost" in answer.reason
    assert "an account whose external account key is for it" in answer.next_step


def test_no_mac_key_begins_like_an_option() -> None:
    """certbot's --eab-hmac-key would not take it."""
    assert not [key for key in (b64(new_mac_key()) for _ in range(1000)) if key.startswith("-")]
