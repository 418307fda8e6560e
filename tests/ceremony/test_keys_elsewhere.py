"""Ceremonies with keys that are in no file: the store signs everything, and while it is away nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from acme_ca.ceremony.acts import Creation, perform
from acme_ca.ceremony.plan import load
from acme_ca.ceremony.signings import CrlSigning, IntermediateSigning
from acme_ca.keys import AnyKey, KeyAway, PrivateKey, elsewhere
from acme_ca.pki import csr
from acme_ca.pki.ca import name_of
from tests.keys.test_elsewhere import Memory
from tests.support.offline import PLAN, Offline


@pytest.mark.parametrize("kind", ["ec-p384", "rsa-2048"])
def test_a_key_elsewhere_signs_all_of_it(tmp_path: Path, kind: str) -> None:
    offline = Offline.prepare(tmp_path / "offline", PLAN.replace("ec-p384", kind))
    made = ec.generate_private_key(ec.SECP384R1()) if kind == "ec-p384" else rsa.generate_private_key(65_537, 2048)
    store = Memory(made)
    key = elsewhere.private_key(store)

    class Making(Creation):
        def open_key(self) -> tuple[PrivateKey, list[Path | AnyKey]]:
            return key, [self.reviewed.plan.root.key]

    class Signing(IntermediateSigning):
        def open_key(self) -> tuple[PrivateKey, list[Path | AnyKey]]:
            return key, []

    class Listing(CrlSigning):
        def open_key(self) -> tuple[PrivateKey, list[Path | AnyKey]]:
            return key, []

    outcome = perform(Making(load(offline.plan)))
    assert outcome.act.key.made
    perform(Signing(load(offline.plan), offline.request("prod-1"), "prod-1"))
    before = offline.transcript.read_bytes()
    store.is_away = True
    with pytest.raises(KeyAway):
        perform(Listing(load(offline.plan)))
    assert offline.transcript.read_bytes() == before
    assert list(offline.folder.glob("*.crl")) == []
    again = elsewhere.private_key(Memory(made))

    class ListingAgain(CrlSigning):
        def open_key(self) -> tuple[PrivateKey, list[Path | AnyKey]]:
            return again, []

    perform(ListingAgain(load(offline.plan)))
    assert offline.run("verify", offline.transcript).exit_code == 0


def test_a_key_elsewhere_asks_for_its_certificate() -> None:
    key = elsewhere.private_key(Memory(ec.generate_private_key(ec.SECP256R1())))
    request = csr.make_for_authority(key, name_of("issuer", []), ("a.example",), ())
    assert isinstance(request, x509.CertificateSigningRequest)
    assert request.is_signature_valid
