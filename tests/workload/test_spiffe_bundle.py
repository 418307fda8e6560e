"""Trust bundles: which keys of them count, how often they are fetched, and what happens when they are not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.workload.base import Proof, Workload
from acme_ca.workload.documents import Documents
from acme_ca.workload.spiffe import Spiffe
from acme_ca.workload.spiffe_bundle import Bundle, FileBundle, WebBundle, bundle_of, parse_bundle
from tests.support import spiffe_domain
from tests.support.jws import public_jwk, shared_key
from tests.support.pop import Holder, der64, now
from tests.support.spiffe_domain import BundleEndpoint, SpiffeDomain
from tests.workload.proofs import BOUND, EXPECTED, KEY_AUTHORIZATION, URL, refused

PATH = "/ns/pay/sa/api"


@dataclass
class Site:
    """A trust domain, its bundle endpoint, and a provider that believes what is published there."""

    domain: SpiffeDomain
    endpoint: BundleEndpoint

    @property
    def place(self) -> WebBundle:
        return WebBundle(url=self.endpoint.url, ca_file=self.endpoint.ca_file, max_stale=3600)

    def token(self, token: str) -> Workload:
        return self._provider.verify(Proof("jwt", token), EXPECTED, now())

    def certificate(self, holder: Holder) -> Workload:
        return self._provider.verify(Proof("x5c", holder.sign(URL, KEY_AUTHORIZATION)), EXPECTED, now())

    @property
    def _provider(self) -> Spiffe:
        return Spiffe(name="corp", trust_domain=self.domain.name, bundle=self.place)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    domain = SpiffeDomain("corp.example")
    with spiffe_domain.serve(domain, tmp_path) as endpoint:
        yield Site(domain, endpoint)


def test_a_new_key_is_found_at_once_and_asked_for_once(site: Site) -> None:
    assert site.token(site.domain.jwt_svid(PATH, BOUND))
    site.domain.add_key("second")
    site.endpoint.publish(site.domain.bundle())

    assert site.token(site.domain.jwt_svid(PATH, BOUND, "second"))
    before = site.endpoint.fetched
    unknown = site.domain.jwt_svid(PATH, BOUND, header={"kid": "third"})
    codes = {refused(lambda: site.token(unknown))[0] for _ in range(3)}

    assert codes == {"signature_invalid"}
    assert site.endpoint.fetched == before


def test_a_new_authority_is_found_at_once(site: Site) -> None:
    old = site.domain.x509_svid(PATH)
    assert site.certificate(old)
    site.domain.add_authority()
    site.endpoint.publish(site.domain.bundle())

    assert site.certificate(site.domain.x509_svid(PATH))
    assert site.certificate(old)


def test_a_withdrawn_bundle_is_no_trouble_of_the_server(site: Site) -> None:
    site.endpoint.publish({"keys": []})

    assert refused(lambda: site.token(site.domain.jwt_svid(PATH, BOUND)))[0] == "signature_invalid"
    assert refused(lambda: site.certificate(site.domain.x509_svid(PATH)))[0] == "issuer_untrusted"


@pytest.mark.parametrize("document", [{}, [], "keys", {"keys": {}}, {"keys": None}])
def test_without_a_bundle_the_client_may_come_again(site: Site, document: object) -> None:
    site.endpoint.publish(document)

    assert refused(lambda: site.token(site.domain.jwt_svid(PATH, BOUND)))[0] == "provider_unavailable"
    assert refused(lambda: site.certificate(site.domain.x509_svid(PATH)))[0] == "provider_unavailable"


def test_a_server_with_another_certificate_is_not_believed(site: Site, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(site.domain.authorities[0].certificate.public_bytes(Encoding.PEM))
    place = WebBundle(url=site.endpoint.url, ca_file=stranger)

    assert refused(lambda: bundle_of(place, "corp.example", lambda _: True))[0] == "provider_unavailable"


def test_a_bundle_in_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    domain = SpiffeDomain("corp.example")
    domain.write(tmp_path / "bundle.json")
    settings = {"name": "corp", "trust_domain": "spiffe://corp.example", "bundle": {"file": "bundle.json"}}
    provider = Spiffe.model_validate(settings, context={"folder": tmp_path})

    assert provider.verify(Proof("jwt", domain.jwt_svid(PATH, BOUND)), EXPECTED, now())
    domain.keys.clear()
    domain.add_key("new", "ec-p384")
    domain.write(tmp_path / "bundle.json")

    assert provider.verify(Proof("jwt", domain.jwt_svid(PATH, BOUND, "new")), EXPECTED, now())


@pytest.mark.parametrize("content", [None, b"", b"{", b"[" * 100_000])
def test_a_file_that_is_no_bundle_is_no_fault_of_the_client(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "bundle.json"
    if content is not None:
        file.write_bytes(content)

    code, detail = refused(lambda: bundle_of(FileBundle(file=file), "corp.example", lambda _: True))

    assert code == "provider_unavailable"
    assert str(file) in detail


@pytest.mark.parametrize(
    ("hint", "refresh"), [(None, 300), (0, 300), (-1, 300), ("60", 300), (True, 300), (1, 30), (60, 60), (86400, 3600)]
)
def test_the_refresh_hint_counts_within_bounds(hint: object, refresh: int) -> None:
    bundle = SpiffeDomain("corp.example").bundle() | {"spiffe_refresh_hint": hint}

    assert parse_bundle(bundle, "corp.example", "here").refresh == refresh


def test_a_bundle_is_fetched_as_often_as_it_asks_for(site: Site) -> None:
    clock = [1000.0]
    documents: Documents[Bundle] = Documents(lambda: clock[0])
    site.endpoint.publish(site.domain.bundle() | {"spiffe_refresh_hint": 100})

    def fetched_at(moment: float) -> int:
        clock[0] = moment
        bundle_of(site.place, "corp.example", lambda _: True, documents)
        return site.endpoint.fetched

    assert [fetched_at(moment) for moment in (1000, 1099, 1101, 1200, 1202)] == [1, 1, 2, 2, 3]


def test_the_last_good_bundle_is_used_until_it_is_too_old(site: Site) -> None:
    clock = [1000.0]
    documents: Documents[Bundle] = Documents(lambda: clock[0])

    def sequence_at(moment: float) -> int | None:
        clock[0] = moment
        return bundle_of(site.place, "corp.example", lambda _: True, documents).sequence

    assert sequence_at(1000) == 3
    site.endpoint.publish({"broken": True})
    assert sequence_at(4000) == 3
    assert refused(lambda: sequence_at(5000))[0] == "provider_unavailable"


def broken_authorities(domain: SpiffeDomain) -> list[object]:
    leaf, foreign = domain.x509_svid(PATH).certificate, SpiffeDomain("evil.example", number=6).authorities[0]
    use = {"use": "x509-svid"}
    return [
        use,
        use | {"x5c": []},
        use | {"x5c": [1]},
        use | {"x5c": ["é"]},
        use | {"x5c": ["AAAA"]},
        use | {"x5c": [der64(foreign.certificate)]},
        use | {"x5c": [der64(leaf)]},
        use | {"x5c": [der64(domain.authorities[0].certificate)] * 2},
        {"use": "x509", "x5c": [der64(domain.authorities[0].certificate)]},
        {"use": "jwt-svid"} | public_jwk(shared_key("ec-p256", 60)),  # without the kid that it needs
        {"use": "sig", "kid": "a"} | public_jwk(shared_key("ec-p256", 61)),
        {"kid": "b"} | public_jwk(shared_key("ec-p256", 62)),
        {"use": "jwt-svid", "kid": "weak", "kty": "RSA", "n": "AQAB", "e": "AQAB"},
        None,
        [],
        "key",
    ]


def test_keys_that_cannot_be_used_are_left_out() -> None:
    domain = SpiffeDomain("corp.example")
    domain.extra = broken_authorities(domain)

    found = parse_bundle(domain.bundle(), "corp.example", "here")

    assert found.x509_authorities == (domain.authorities[0].certificate,)
    assert [key.kid for key in found.jwt_keys] == ["first"]
