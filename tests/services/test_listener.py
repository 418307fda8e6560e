"""The listener's own certificate: when it is made, what is in it, how it is put in place."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from sqlalchemy import select

from acme_ca import clock, config
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.problems import ServiceUnavailable
from acme_ca.services import listener
from tests.support.ca import make_ca_files

AWAY = "postgresql://nobody@127.0.0.1:1/nothing"  # nothing listens there


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What `acme-ca init` makes."""
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def settings(made: Config, tmp_path: Path) -> Config:
    """The same with a state folder of the test's own."""
    return made.model_copy(update={"state": tmp_path / "state"})


def served(settings: Config) -> list[x509.Certificate]:
    """The chain in the file."""
    return x509.load_pem_x509_certificates(listener.certificate_path(settings).read_bytes())


def test_it_is_made_with_its_key_and_chain(settings: Config) -> None:
    path = listener.ensure(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    leaf, *chain = served(settings)
    root = x509.load_pem_x509_certificate(settings.service.issuer.root.read_bytes())
    verifier = PolicyBuilder().store(Store([root])).time(clock.now()).build_server_verifier(x509.DNSName("localhost"))
    assert len(verifier.verify(leaf, chain)) == 3
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"localhost", "127.0.0.1", "::1"}
    assert listener.check(settings) is None
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def events(settings: Config) -> list[str]:
    """The serials of the trail's events about it."""
    with closing(Database(settings.database.url)) as database, database.read() as connection:
        rows = connection.execute(select(AUDIT_EVENTS.c.subject).where(AUDIT_EVENTS.c.event == "listener.certified"))
        return [subject for (subject,) in rows]


def test_the_trail_has_it(settings: Config) -> None:
    before = events(settings)
    listener.ensure(settings)
    listener.ensure(settings)
    assert events(settings) == [*before, f"{served(settings)[0].serial_number:034x}"]


def test_without_a_database_a_good_one_stays_and_a_missing_one_is_made(
    settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = settings.model_copy(update={"database": settings.database.model_copy(update={"url": AWAY})})
    listener.ensure(away)
    first = served(away)[0]
    monkeypatch.setattr(listener, "_why_renew", lambda *_: "half its life was over")
    with pytest.raises(ServiceUnavailable):
        listener.ensure(away)
    assert served(away)[0] == first
    listener.ensure(settings)
    assert served(settings)[0] != first


def test_a_good_one_stays(settings: Config) -> None:
    before = listener.ensure(settings).read_bytes()
    assert listener.ensure(settings).read_bytes() == before


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _mix(path: Path) -> None:
    """Put another key in front of the chain."""
    pem = path.read_bytes()
    path.unlink()
    marker = b"-----BEGIN CERTIFICATE"
    path.write_bytes(_KEYS.pop() + marker + pem.partition(marker)[2])


_KEYS: list[bytes] = []


@pytest.mark.parametrize("spoil", [_truncate, _empty, _mix, Path.unlink])
def test_one_that_cannot_be_used_is_replaced(settings: Config, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    other = settings.model_copy(update={"state": tmp_path / "other"})
    _KEYS[:] = [listener.ensure(other).read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]]
    path = listener.ensure(settings)
    before = served(settings)[0].serial_number
    spoil(path)
    listener.ensure(settings)
    assert served(settings)[0].serial_number != before
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_another_service_issuer_replaces_it(settings: Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    listener.ensure(settings)
    other = config.load(make_ca_files(tmp_path_factory.mktemp("other")))
    moved = other.model_copy(update={"state": settings.state})
    listener.ensure(moved)
    issuer = x509.load_pem_x509_certificate(moved.service.issuer.certificate.read_bytes())
    served(settings)[0].verify_directly_issued_by(issuer)


@pytest.mark.parametrize(("url", "names"), [("https://127.0.0.1:8443", {"127.0.0.1"}), ("https://ca.localhost", None)])
def test_its_names_follow_the_external_url(tmp_path: Path, url: str, names: set[str] | None) -> None:
    settings = config.load(make_ca_files(tmp_path, "--external-url", url))
    listener.ensure(settings)
    found = served(settings)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in found} == (names or {"ca.localhost", "127.0.0.1", "::1"})


def test_it_is_renewed_when_half_its_life_is_over(settings: Config) -> None:
    listener.ensure(settings)
    issuer = x509.load_pem_x509_certificate(settings.service.issuer.certificate.read_bytes())
    leaf = served(settings)[0]
    half = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2
    path, names = listener.certificate_path(settings), listener.names_of(settings.external_url)
    assert listener._why_renew(path, issuer, names, clock.now()) is None
    assert listener._why_renew(path, issuer, names, half) == "half its life was over"
