"""An environment is a boundary: what belongs to one is worth nothing in another."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.services import external_keys
from tests.acme.conftest import MakeCa
from tests.support import ari, rows
from tests.support.acme_client import AcmeClient, body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issue import authorize, issue
from tests.support.jws import Signer, b64, eab
from tests.support.web import WebServer

ENVIRONMENTS = ("dev", "test", "prod")
PAIRS = tuple(permutations(ENVIRONMENTS, 2))


@dataclass
class Inhabitant:
    """An account of an environment with everything that one can have."""

    client: AcmeClient
    environment: str
    resources: list[tuple[str, Any]]  # URL and payload of every call that its owner may make
    leaf: x509.Certificate
    leaf_key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.leaf.public_bytes(Encoding.DER)


def settle_in(ca: RunningCa, website: WebServer, environment: str) -> Inhabitant:
    client, name = ca.client(environment).register(), f"a.{environment}.localhost"
    url, order = client.order([name])
    authorize(client, website, order)
    key = ec.generate_private_key(ec.SECP256R1())
    finished = body_of(client.finalize(order, make_csr([name], key)))
    ready_url, ready = client.order([name])
    _, pending = client.order([f"b.{environment}.localhost"])
    account, authorization = str(client.signer.kid), pending["authorizations"][0]
    resources: list[tuple[str, Any]] = [
        (account, None),
        (account, {"contact": ["mailto:x@example.com"]}),
        (f"{account}/orders", None),
        (url, None),
        (ready_url, None),
        (ready["finalize"], {"csr": b64(make_csr([name]))}),
        (finished["certificate"], None),
        (authorization, None),
        (f"{authorization}/http-01", None),
        (f"{authorization}/http-01", {}),
        (authorization, {"status": "deactivated"}),
        (account, {"status": "deactivated"}),
    ]
    return Inhabitant(client, environment, resources, certificates(client.ok(finished["certificate"]).text)[0], key)


@pytest.fixture
def inhabitants(ca: RunningCa, website: WebServer) -> Iterator[dict[str, Inhabitant]]:
    """One in each environment; nothing that happens in a test may change what they have."""
    found = {environment: settle_in(ca, website, environment) for environment in ENVIRONMENTS}
    before = rows.everything(ca.authority.database)
    yield found
    assert rows.everything(ca.authority.database) == before


def test_no_resource_is_there_in_another_environment(inhabitants: dict[str, Inhabitant]) -> None:
    for home, abroad in PAIRS:
        for url, payload in inhabitants[home].resources:
            transposed = url.replace(f"/acme/{home}/", f"/acme/{abroad}/")
            assert inhabitants[abroad].client.refused(transposed, payload)[2] in (403, 404), transposed


def test_no_account_acts_in_another_environment(inhabitants: dict[str, Inhabitant]) -> None:
    """Neither by its own name, nor by what its name would be there, on any resource."""
    for home, abroad in PAIRS:
        owner, there = inhabitants[home], inhabitants[abroad]
        renamed = str(owner.client.signer.kid).replace(f"/acme/{home}/", f"/acme/{abroad}/")
        calls = [
            *there.resources,
            (there.client.url("newOrder"), {"identifiers": []}),
            (there.client.url("newAuthz"), {}),
        ]
        for url, payload in calls:
            stranger = AcmeClient(there.client.app, there.client.base, owner.client.signer)
            assert stranger.refused(url, payload)[::2] == ("unauthorized", 403)
            stranger.signer = Signer(owner.client.signer.key, renamed)
            assert stranger.refused(url, payload)[::2] == ("accountDoesNotExist", 400)
            stranger.signer = Signer(owner.client.signer.key, there.client.signer.kid)
            assert stranger.refused(url, payload)[2] == 400, "another key's signature"


def test_no_nonce_is_good_in_another_environment(inhabitants: dict[str, Inhabitant]) -> None:
    for home, abroad in PAIRS:
        client = inhabitants[abroad].client
        nonce = inhabitants[home].client.nonce()
        assert client.refused(str(client.signer.kid), None, nonce=nonce)[::2] == ("badNonce", 400)
        client = inhabitants[home].client
        assert client.post(str(client.signer.kid), None, nonce=nonce).status_code == 200, "nor was it spent there"


def test_no_request_can_be_played_in_another_environment(inhabitants: dict[str, Inhabitant]) -> None:
    for home, abroad in PAIRS:
        owner, there = inhabitants[home].client, inhabitants[abroad].client
        for resource in ("newOrder", "newAuthz", "newAccount", "revokeCert", "keyChange"):
            url = owner.url(resource)
            body = owner.signer.sign(url, {}, nonce=owner.nonce(), use_jwk=resource == "newAccount")
            assert there.send(there.url(resource), body).status_code == 403


def test_no_key_change_of_another_environment_is_taken(inhabitants: dict[str, Inhabitant]) -> None:
    for home, abroad in PAIRS:
        owner, there = inhabitants[home].client, inhabitants[abroad].client
        inner = owner.signer.key_change(Signer.new(), owner.url("keyChange"))
        assert there.refused(there.url("keyChange"), inner)[2] in (400, 403)
        inner = owner.signer.key_change(Signer.new(), there.url("keyChange"))
        assert there.refused(there.url("keyChange"), inner)[::2] == ("unauthorized", 403)


def test_no_certificate_is_known_in_another_environment(inhabitants: dict[str, Inhabitant]) -> None:
    for home, abroad in PAIRS:
        owner, there = inhabitants[home], inhabitants[abroad].client
        payload = {"certificate": b64(owner.der)}
        assert there.refused(there.url("revokeCert"), payload)[::2] == ("malformed", 404)
        by_key = AcmeClient(there.app, there.base, Signer(owner.leaf_key))
        assert by_key.refused(there.url("revokeCert"), payload)[::2] == ("malformed", 404)
        assert ari.ask(there, ari.identifier(owner.der)).status_code == 404
        assert ari.ask(owner.client, ari.identifier(owner.der)).status_code == 200


def test_no_name_of_another_environment_is_ordered(inhabitants: dict[str, Inhabitant]) -> None:
    for home, abroad in PAIRS:
        client, identifier = inhabitants[home].client, {"type": "dns", "value": f"a.{abroad}.localhost"}
        for resource, payload in (
            ("newOrder", {"identifiers": [identifier]}),
            ("newAuthz", {"identifier": identifier}),
        ):
            assert client.refused(client.url(resource), payload)[::2] == ("rejectedIdentifier", 403)


def test_each_environment_signs_with_an_issuer_of_its_own(inhabitants: dict[str, Inhabitant], ca: RunningCa) -> None:
    for home, abroad in PAIRS:
        (own,), (other,) = (ca.authority.environments[name].issuers for name in (home, abroad))
        leaf = inhabitants[home].leaf
        leaf.verify_directly_issued_by(own.certificate)
        with pytest.raises((InvalidSignature, ValueError)):
            leaf.verify_directly_issued_by(other.certificate)
        permitted = own.certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        zones = {name.value for name in permitted or () if isinstance(name, x509.DNSName)}
        assert zones == {f"{home}.localhost"}


def test_same_key_has_an_account_of_its_own_in_each(ca: RunningCa) -> None:
    signer, found = Signer.new(), []
    for environment in ENVIRONMENTS:
        client = ca.client(environment)
        client.signer = signer
        assert client.refused(client.url("newAccount"), {"onlyReturnExisting": True})[0] == "accountDoesNotExist"
        found.append(client.register())
    assert len({rows.id_of(str(client.signer.kid)) for client in found}) == 3
    found[0].ok(str(found[0].signer.kid), {"status": "deactivated"})
    assert found[1].get(str(found[1].signer.kid))["status"] == "valid"


def test_external_key_binds_in_its_environment_alone(make_ca: MakeCa) -> None:
    """Not in the other one, and what is tried there does not spend it."""
    ca = make_ca(external_account_required=True)
    key = external_keys.create(ca.authority.database, "test")
    mac_key = urlsafe_b64decode(key.mac_key + "=")
    for environment, status in (("dev", 403), ("prod", 403), ("test", 201)):
        client = ca.client(environment)
        url = client.url("newAccount")
        binding = eab(key.kid, mac_key, client.signer.key, url)
        assert client.post(url, {"externalAccountBinding": binding}).status_code == status


def test_authorization_is_not_used_in_another_environment(make_ca: MakeCa, website: WebServer) -> None:
    """Where two environments share a zone, and a key has an account in both."""
    ca = make_ca(zones=("test.localhost", "dev.localhost"), policy=[{"name": "both", "dns": [".dev.localhost"]}])
    name = "a.dev.localhost"
    dev, test = ca.client("dev").register(), ca.client("test")
    order = issue(dev, website, [name])
    test.signer = Signer(dev.signer.key)
    test.register()
    identifier = {"type": "dns", "value": name}
    url, pending = test.order([name])
    assert pending["status"] == "pending"
    assert not {rows.id_of(url) for url in pending["authorizations"]} & {
        rows.id_of(url) for url in order["authorizations"]
    }
    assert test.ok(test.url("newAuthz"), {"identifier": identifier}).headers["Location"] in pending["authorizations"]
    der = certificates(dev.ok(order["certificate"]).text)[0].public_bytes(Encoding.DER)
    authorize(test, website, pending)
    assert test.get(url)["status"] == "ready"
    assert test.refused(test.url("revokeCert"), {"certificate": b64(der)})[2] == 404
    assert "replaces" not in test.order([name], replaces=ari.identifier(der))[1]
