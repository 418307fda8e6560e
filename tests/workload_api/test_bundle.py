"""The SPIFFE bundle: what verifies an environment's workloads, with a number that never goes back."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store
from spiffe import SpiffeId, TrustDomain, X509Bundle, X509Svid

from acme_ca.config import Config
from acme_ca.services import versions
from tests.acme.conftest import MakeCa
from tests.support import issuers
from tests.support.acme_client import body_of, certificates, make_csr
from tests.support.ca import RunningCa
from tests.support.issuers import TokenIssuer
from tests.workload_api.conftest import AUDIENCE, NAME, SPIFFE_ID, TRUST_DOMAIN
from tests.workload_api.test_exchange import exchange, register


@pytest.mark.parametrize("path", ["/acme/test/bundle", "/ca/test/bundle.json"])
def test_the_bundle_has_the_issuers(ca: RunningCa, path: str) -> None:
    answer = ca.app.test_client().get(path)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    found = answer.json
    assert found is not None
    assert (found["spiffe_sequence"], found["spiffe_refresh_hint"]) == (1, 300)
    (key,) = found["keys"]
    assert {"kty", "crv", "x", "y", "use", "x5c"} == set(key)
    assert key["use"] == "x509-svid"
    authority = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0]))
    assert authority == ca.authority.environments["test"].issuers[0].certificate


def test_the_number_grows_with_each_change_and_is_the_same_in_every_process(
    make_ca: MakeCa, settings: dict[str, Any], ca_settings: Config
) -> None:
    first, second = make_ca(**settings), make_ca(**settings)
    for ca in (first, second, first):
        versions.keep(ca.authority)
        assert sequence(ca) == 1
    issuers_ = (*ca_settings.environment["test"].issuer, *ca_settings.environment["prod"].issuer)
    changed = make_ca(**settings, issuer=issuers_)
    assert sequence(changed) == 1  # what is shown is what was brought into force
    versions.keep(changed.authority)
    for ca in (changed, first):  # also by a process that was not restarted yet, and which brings nothing back
        versions.keep(ca.authority)
        assert sequence(ca) == 2
        assert len((ca.app.test_client().get("/acme/test/bundle").json or {})["keys"]) == 2
    back = make_ca(**settings)
    versions.keep(back.authority)
    assert sequence(back) == 3


def sequence(ca: RunningCa) -> int:
    found = ca.app.test_client().get("/acme/test/bundle").json or {}
    return int(found["spiffe_sequence"])


def test_an_environment_without_a_trust_domain_has_none(ca: RunningCa) -> None:
    for path in ("/acme/prod/bundle", "/acme/none/bundle", "/ca/prod/bundle.json"):
        assert ca.app.test_client().get(path).status_code == 404


def test_policies_are_kept_by_version(ca: RunningCa) -> None:
    assert (
        versions.keep(ca.authority) == 8
    )  # policy and roots of three environments, and the workloads and the bundle of one
    assert versions.keep(ca.authority) == 0


def test_a_relying_party_takes_the_leaf_for_an_x509_svid(ca: RunningCa, cluster: TokenIssuer) -> None:
    client = register(ca, exchange(ca, cluster.token(issuers.kubernetes(AUDIENCE))))
    key = ec.generate_private_key(ec.SECP256R1())
    _, made = client.order([NAME])
    done = body_of(client.finalize(made, make_csr([NAME], key)))
    chain = client.ok(done["certificate"]).text
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    svid = X509Svid.parse(chain.encode(), pem)

    assert svid.spiffe_id == SpiffeId(SPIFFE_ID)
    document = ca.app.test_client().get("/acme/test/bundle").json or {}
    authorities = [x509.load_der_x509_certificate(base64.b64decode(each["x5c"][0])) for each in document["keys"]]
    bundle = X509Bundle(TrustDomain(TRUST_DOMAIN), set(authorities))
    leaf, *above = certificates(chain)
    PolicyBuilder().store(Store(list(bundle.x509_authorities))).build_client_verifier().verify(leaf, above)
