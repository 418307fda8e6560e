"""Sub-CAs whose signing does not go well: the serial is given up, and nothing of it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import config
from acme_ca.authority import Authority, Environment
from acme_ca.keys import elsewhere
from acme_ca.keys.elsewhere import Scheme
from acme_ca.problems import Contended, ServiceUnavailable
from acme_ca.services import crls, sub_cas
from acme_ca.services.sub_cas import Wish
from tests.keys.test_elsewhere import Memory
from tests.support import rows
from tests.support.ca import RunningCa, start_ca
from tests.support.sub_cas import key, make_sub_ca_files, request


@pytest.fixture
def running(tmp_path: Path, sqlite_url: str) -> Iterator[RunningCa]:
    """A CA with rules for meshes."""
    found = start_ca(config.load(make_sub_ca_files(tmp_path / "ca")), sqlite_url, tmp_path / "state")
    yield found
    found.close()


@pytest.fixture
def ca(running: RunningCa) -> Authority:
    """The same without its HTTP."""
    return running.authority


class Watched(Memory):
    """A store that does something before it signs."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        self.before()
        return super().sign(scheme, message)


def watched(ca: Authority) -> tuple[Environment, Watched]:
    """The environment with its issuer's key in a store, and the store."""
    environment = ca.environments["test"]
    store = Watched(environment.sub_cas[0].key)
    return replace(environment, sub_cas=(replace(environment.sub_cas[0], key=elsewhere.private_key(store)),)), store


def wish() -> Wish:
    return Wish(x509.load_pem_x509_csr(request(key()).encode()).public_bytes(Encoding.DER), "istio-eu")


def ledger(ca: Authority) -> list[str]:
    return [row.status for row in rows.select(ca.database, "SELECT status FROM certificates")]


def events(ca: Authority) -> list[str]:
    found = rows.select(ca.database, "SELECT event FROM audit_events WHERE event LIKE 'sub_ca%' OR event LIKE 'cert%'")
    return [row.event for row in found]


def test_a_key_elsewhere_signs(ca: Authority) -> None:
    environment, store = watched(ca)
    seen: list[list[str]] = []
    store.before = lambda: seen.append(ledger(ca))
    sub_cas.sign(ca, environment, wish(), by="admin:alice")
    assert seen == [["claimed"]], "its serial was in the ledger before the key signed"
    assert (ledger(ca), events(ca)) == (["issued"], ["sub_ca.signed"])


def test_a_key_that_is_away_is_503_and_the_serial_is_given_up(ca: Authority) -> None:
    environment, store = watched(ca)
    store.is_away = True
    with pytest.raises(ServiceUnavailable, match="unplugged"):
        sub_cas.sign(ca, environment, wish(), by="admin:alice")
    assert (ledger(ca), events(ca)) == (["abandoned"], ["certificate.abandoned"])
    store.is_away = False
    sub_cas.plan(ca, environment, wish())


def test_a_store_that_signs_something_else_gets_nothing_out(ca: Authority) -> None:
    environment, store = watched(ca)
    store.is_wrong = True
    with pytest.raises(ServiceUnavailable):
        sub_cas.sign(ca, environment, wish(), by="admin:alice")
    assert (ledger(ca), events(ca)) == (["abandoned"], ["certificate.abandoned"])


def test_what_was_given_up_while_it_was_signed_is_not_recorded(ca: Authority) -> None:
    environment, store = watched(ca)

    def give_up() -> None:
        rows.change(ca.database, "UPDATE certificates SET created_at = :then", then=rows.LONG_AGO)
        assert sub_cas.abandon_dead(ca) == 1

    store.before = give_up
    with pytest.raises(Contended):
        sub_cas.sign(ca, environment, wish(), by="admin:alice")
    assert (ledger(ca), events(ca)) == (["abandoned"], ["certificate.abandoned"])


def test_what_its_certificate_points_to_is_served(running: RunningCa) -> None:
    ca = running.authority
    line = sub_cas.sign(ca, ca.environments["test"], wish(), by="admin:alice")
    certificate = x509.load_der_x509_certificate(line.der or b"")
    crls.publish_due(ca)
    (access,) = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (place,) = list(point.full_name or ())
    status = running.app.test_client()
    issuer = x509.load_der_x509_certificate(status.get(urlsplit(access.access_location.value).path).data)
    certificate.verify_directly_issued_by(issuer)
    published = x509.load_der_x509_crl(status.get(urlsplit(place.value).path).data)
    assert published.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # an issuer's key signs
