"""What a process that was taken over asks for, and does not get: the signer signs what it finds right by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from acme_ca import clock, issuer_keys
from acme_ca.authority import Authority
from acme_ca.identifiers import Identifier
from acme_ca.keys import KeyRefused
from acme_ca.keys.elsewhere import GREETING
from acme_ca.models import base
from acme_ca.models.certificate import Certificate, CertificateStatus, serial_text
from acme_ca.pki import admin_leaf, crl, leaf, ocsp, sub_ca
from acme_ca.pki.ca import CA_KEY_USAGE, key_identifier_of
from acme_ca.pki.issuer import Issuer, new_serial
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.signing import hash_for
from acme_ca.pki.sub_ca import SubCaRequest
from acme_ca.pki.validity import validity
from acme_ca.public_keys import spki_sha256
from acme_ca.services import listener, responders, sub_cas

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
NAME = "a.test.localhost"


@dataclass(frozen=True)
class Claimed:
    """A claim, and what is to be signed for it."""

    issuer: Issuer
    line: Certificate
    request: LeafRequest

    @property
    def builder(self) -> x509.CertificateBuilder:
        issuer, shard = self.issuer, self.issuer.crl_url
        return leaf.builder(self.request, issuer.certificate, issuer.issuer_url, shard, issuer.ocsp_url)

    def sign(self, builder: x509.CertificateBuilder | None = None) -> x509.Certificate:
        return (builder or self.builder).sign(self.issuer.key, hash_for(self.issuer.key))


def request(name: str = NAME, profile: str = "server-7d", **changes: Any) -> LeafRequest:  # noqa: ANN401 - fields of any kind
    start, end = validity(BUILTIN[profile], clock.now())
    names = (Identifier("dns", name),)
    own = LeafRequest(names, (), KEY.public_key(), BUILTIN[profile], new_serial(), start, end)
    return replace(own, **changes)


def claim(ca: Authority, wanted: LeafRequest, **changes: Any) -> Claimed:  # noqa: ANN401 - columns of any kind
    """Claim a serial; times in `changes` are from now on."""
    issuer = ca.environments["test"].issuers[0]
    profile = next(name for name, found in BUILTIN.items() if found.lifetime == wanted.profile.lifetime)
    line = Certificate(
        serial=serial_text(wanted.serial),
        environment="test",
        account_id="a",
        order_id=base.new_id(),
        issuer_id=issuer.id,
        authority_key_id=issuer.key_id,
        profile=profile,
        policy_version="1",
        names=[*(f"uri:{uri}" for uri in wanted.uris), *map(str, wanted.identifiers)],
        key_sha256=spki_sha256(wanted.public_key),
        not_before=wanted.not_before,
        not_after=wanted.not_after,
        created_at=clock.now(),
    )
    for name, value in changes.items():
        setattr(line, name, clock.now() + value if isinstance(value, timedelta) else value)
    with ca.database.write() as connection:
        base.insert(connection, line)
    return Claimed(issuer, line, wanted)


def refused(sign: Callable[[], object], reason: str) -> None:
    with pytest.raises(KeyRefused, match=reason):
        sign()


def test_what_is_claimed_is_signed_and_once_only(ca: Authority) -> None:
    for profile in ("server-1h", "server-7d"):
        claimed = claim(ca, request(profile=profile))
        certificate = claimed.issuer.issue(claimed.request)
        certificate.verify_directly_issued_by(claimed.issuer.certificate)
        refused(claimed.sign, f"serial {claimed.line.serial} was signed before")


def test_a_serial_is_signed_once_whatever_the_ledger_says_by_then(ca: Authority) -> None:
    wanted = request()
    claimed = claim(ca, wanted)
    claimed.sign()
    with ca.database.write() as connection:
        claimed.line.names = ["dns:b.test.localhost"]
        base.update(connection, claimed.line)
    again = replace(claimed, request=replace(wanted, identifiers=(Identifier("dns", "b.test.localhost"),)))
    refused(again.sign, "was signed before")


def test_what_is_not_claimed_is_not_signed(ca: Authority) -> None:
    issuer = ca.environments["test"].issuers[0]
    refused(lambda: issuer.issue(request()), "the ledger of environment test does not know serial .*; expected a claim")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": CertificateStatus.ABANDONED.value}, "is abandoned in the ledger, not claimed"),
        ({"status": CertificateStatus.ISSUED.value}, "is issued in the ledger, not claimed"),
        ({"issuer_id": "prod-1"}, "was claimed for issuer prod-1, not test-1"),
        ({"environment": "prod"}, "the ledger of environment test does not know serial"),
        ({"key_sha256": bytes(32)}, "was claimed for another key"),
        ({"names": ["dns:b.test.localhost"]}, "subjectAltName has"),
        ({"names": [f"dns:{NAME}", "dns:b.test.localhost"]}, "subjectAltName has"),
        ({"names": [f"dns:{NAME}", "strange:b"]}, "the ledger has the name 'strange:b'"),
        ({"profile": "server-1h"}, "the validity is not within|noRevAvail"),
        ({"profile": "client-1h"}, "profile client-1h is not offered in environment test"),
        ({"not_after": timedelta(days=3)}, "the validity is"),
        ({"created_at": -timedelta(minutes=10)}, "was claimed 6.. s ago, expected at most 300"),
        ({"created_at": timedelta(minutes=10)}, "was claimed -.* s ago"),
        ({"account_id": "sub-ca"}, "was claimed for a sub-CA"),
        ({"crl_shard": 3}, None),  # there are no shards
    ],
)
def test_a_claim_on_something_else_does_not_do(ca: Authority, changes: dict[str, Any], reason: str | None) -> None:
    claimed = claim(ca, request(), **changes)
    if reason is None:
        assert claimed.sign()
    else:
        refused(claimed.sign, reason)


def as_authority(claimed: Claimed) -> x509.CertificateBuilder:
    own = claimed.builder._extensions
    for extension in list(own):
        if isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage):
            own.remove(extension)
    return (
        rebuilt(claimed, own)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
    )


def rebuilt(claimed: Claimed, extensions: list[x509.Extension[x509.ExtensionType]]) -> x509.CertificateBuilder:
    wanted = claimed.request
    built = (
        x509.CertificateBuilder()
        .serial_number(wanted.serial)
        .issuer_name(claimed.issuer.certificate.subject)
        .not_valid_before(wanted.not_before)
        .not_valid_after(wanted.not_after)
        .subject_name(x509.Name([]))
        .public_key(wanted.public_key)
    )
    for extension in extensions:
        built = built.add_extension(extension.value, extension.critical)
    return built


def test_a_claim_for_a_leaf_gets_no_certificate_of_a_ca(ca: Authority) -> None:
    claimed = claim(ca, request())
    refused(lambda: claimed.sign(as_authority(claimed)), "it is a CA certificate")


@pytest.mark.parametrize(
    "extension",
    [
        x509.SubjectKeyIdentifier(bytes(20)),
        x509.NameConstraints([x509.DNSName("")], None),
        x509.OCSPNoCheck(),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ],
)
def test_extensions_that_no_leaf_has_are_refused(ca: Authority, extension: x509.ExtensionType) -> None:
    claimed = claim(ca, request())
    refused(lambda: claimed.sign(claimed.builder.add_extension(extension, critical=False)), "extensions that no leaf")


def test_claims_beyond_the_environment_are_refused(ca: Authority) -> None:
    """Whoever can write to the ledger gets no more than the configuration allows."""
    refused(claim(ca, request("a.prod.localhost")).sign, "dns:a.prod.localhost is in no zone of environment test")
    start, end = validity(BUILTIN["server-7d"], clock.now())
    longer = claim(ca, request(not_after=end + timedelta(days=1)))
    refused(longer.sign, "the validity is not within")
    later = claim(ca, request(not_before=start + timedelta(days=9), not_after=end + timedelta(days=9)))
    refused(later.sign, "it ends at")
    over = claim(ca, request(not_before=start - timedelta(days=9), not_after=end - timedelta(days=9)))
    refused(over.sign, "it ends at")
    refused(claim(ca, request(public_key=rsa.generate_private_key(3, 2048).public_key())).sign, "RSA exponent")
    own = ca.environments["test"].issuers[0].certificate.public_key()
    refused(claim(ca, request(public_key=own)).sign, "the key is the issuer's own")


def test_another_issuers_name_is_not_signed(ca: Authority) -> None:
    claimed = claim(ca, request())
    issuer, other = claimed.issuer, ca.environments["prod"].issuers[0]
    strange = leaf.builder(claimed.request, other.certificate, issuer.issuer_url, issuer.crl_url, issuer.ocsp_url)
    refused(lambda: claimed.sign(strange), "the issuer's name is not the issuer's subject")
    elsewhere = leaf.builder(claimed.request, issuer.certificate, "http://evil.example/i.crt", issuer.crl_url)
    refused(lambda: claimed.sign(elsewhere), "OCSP responders|its issuer is said to be")


@hypothesis(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), change=st.integers(1, 255), cut=st.booleans())
def test_no_octet_of_what_is_claimed_can_be_another_one(ca: Authority, place: int, change: int, cut: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
    claimed = claim(ca, request())
    whole = bytearray(claimed.builder.sign(OTHER, SHA256()).tbs_certificate_bytes)
    place %= len(whole)
    if cut:
        del whole[place:]
    else:
        whole[place] ^= change
    key = claimed.issuer.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with pytest.raises(KeyRefused):
        key.sign(bytes(whole), ec.ECDSA(SHA256()))


@pytest.mark.parametrize("octets", [b"", b"\x30", b"\x30\x00", b"\x30\x03\x02\x01\x00", GREETING + b".", bytes(4096)])
def test_what_is_no_certificate_and_no_list_is_not_signed(ca: Authority, octets: bytes) -> None:
    key: Any = ca.environments["test"].issuers[0].key
    refused(lambda: key.sign(octets, ec.ECDSA(SHA256())), "it cannot be read")


def test_requests_and_responses_are_not_signed(ca: Authority) -> None:
    issuer = ca.environments["test"].issuers[0]
    csr = x509.CertificateSigningRequestBuilder().subject_name(issuer.certificate.subject)
    refused(lambda: csr.sign(issuer.key, hash_for(issuer.key)), "it cannot be read")
    responder = ocsp.Responder(issuer.certificate, issuer.key)  # type: ignore[arg-type]  # a key of the same interface
    single = ocsp.Single(ocsp.cert_id(issuer.certificate, 7), "good", clock.now(), clock.now())
    refused(lambda: ocsp.respond([single], responder, clock.now(), None), "it cannot be read")


def test_only_the_hash_of_the_issuer_is_used(ca: Authority) -> None:
    claimed = claim(ca, request())
    tbs = claimed.builder.sign(OTHER, SHA256()).tbs_certificate_bytes
    key: Any = claimed.issuer.key
    refused(lambda: key.sign(tbs, ec.ECDSA(SHA512())), "it says that it is signed by .*sha256.*sha512.* was asked for")


def list_of(issuer: Issuer, begin: datetime, end: datetime, name: x509.Certificate | None = None) -> bytes:
    asked = crl.CrlRequest(1, begin, end, [crl.Revoked(7, begin, 1)], ["http://localhost/crl/test-1/0.crl"])
    return crl.make(asked, name or issuer.certificate, issuer.key)


def test_lists_are_signed_for_their_own_issuer_and_as_long_as_is_configured(ca: Authority) -> None:
    now, day = clock.now(), timedelta(days=1)
    issuer, other = ca.environments["test"].issuers[0], ca.environments["prod"].issuers[0]
    for mesh in ca.environments["test"].sub_cas:
        assert list_of(mesh, now, now + day)
    assert list_of(issuer, now, now + day)
    assert list_of(issuer, now, now + day), "a list has no serial that could be signed twice"
    refused(lambda: list_of(issuer, now, now + day, other.certificate), "the issuer of the list is not the issuer's")
    refused(lambda: list_of(issuer, now, now + 2 * day), "nextUpdate is .*, expected until .* at most")
    refused(lambda: list_of(issuer, now - day, now + day), "thisUpdate is .*, expected about")
    refused(lambda: list_of(issuer, now - timedelta(minutes=9), now - timedelta(minutes=8)), "nextUpdate is")


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ([], "extensions that are missing"),
        ([(x509.CRLNumber(1), False), (x509.DeltaCRLIndicator(1), True)], "that no list has: .*2.5.29.27"),
        ([(x509.CRLNumber(1), False), ("indirect", True)], "is more than URLs of a shard"),
        ([(x509.CRLNumber(1), False), ("plain", False)], "is not critical"),
    ],
)
def test_lists_of_other_kinds_are_refused(ca: Authority, extensions: list[tuple[Any, bool]], reason: str) -> None:
    issuer, now = ca.environments["test"].issuers[0], clock.now()
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now)
        .next_update(now + timedelta(hours=1))
        .add_extension(key_identifier_of(issuer.certificate), critical=False)
    )
    for value, critical in extensions:
        found = point(indirect=value == "indirect") if isinstance(value, str) else value
        built = built.add_extension(found, critical)
    refused(lambda: built.sign(issuer.key, hash_for(issuer.key)), reason)


def point(*, indirect: bool) -> x509.IssuingDistributionPoint:
    names = [x509.UniformResourceIdentifier("http://localhost/crl/test-1/0.crl")]
    return x509.IssuingDistributionPoint(names, None, False, False, None, indirect, False)  # noqa: FBT003 - as it is


def test_responders_are_certified_and_nothing_like_them(ca: Authority) -> None:
    assert responders.renew(ca) == 1
    issuer = ca.environments["test"].issuers[0]

    def responder(name: str, days: int) -> None:
        ocsp.make_responder(OTHER, name, issuer.certificate, issuer.key, clock.now(), timedelta(days=days))

    responder(ocsp.responder_name("test-1"), 2)
    refused(lambda: responder(ocsp.responder_name("test-1"), 3), "it lives from .* to .*, expected from")
    refused(lambda: responder("somebody", 1), "the subject is no responder's")
    without = ca.environments["prod"].issuers[0]
    named = ocsp.responder_name("prod-1")
    refused(
        lambda: ocsp.make_responder(OTHER, named, without.certificate, without.key, clock.now(), timedelta(days=1)),
        "issuer prod-1 has no OCSP responder",
    )


def test_the_service_issuer_signs_for_the_host_of_the_listener_alone(ca: Authority) -> None:
    path = listener.ensure(ca.config)
    assert x509.load_pem_x509_certificate(path.read_bytes())
    issuer = listener.service_issuer(ca.config)
    start, end = validity(listener.PROFILE, clock.now())

    def sign(profile: Any, *names: Identifier) -> None:  # noqa: ANN401 - a profile
        wanted = LeafRequest(names, (), KEY.public_key(), profile, new_serial(), start, end)
        leaf.builder(wanted, issuer.certificate, issuer.issuer_url, None).sign(issuer.key, hash_for(issuer.key))

    own = listener.names_of(ca.config.external_url)
    sign(listener.PROFILE, *own)
    refused(lambda: sign(listener.PROFILE, *own, Identifier("dns", "b.localhost")), "subjectAltName has")
    client = listener.PROFILE.model_copy(update={"extended_key_usages": ("clientAuth",)})
    refused(lambda: sign(client, *own), "the extended key usages are not the profile's")
    now = clock.now()
    refused(lambda: list_of(issuer, now, now + timedelta(hours=1)), "this issuer publishes no revocation lists")


def test_operators_get_certificates_that_are_good_for_signing_in_alone(ca: Authority) -> None:
    admin = ca.config.listener.admin
    assert admin is not None
    certificate = x509.load_pem_x509_certificate(admin.issuer.certificate.read_bytes())
    key, now = issuer_keys.open_key(ca.config, admin.issuer.key, issuer_keys.OPERATORS, certificate), clock.now()

    def make(days: int) -> x509.Certificate:
        end = now + timedelta(days=days)
        return admin_leaf.make(certificate, key, KEY.public_key(), name="ada", not_before=now, not_after=end)

    assert make(90)
    refused(lambda: make(91), "it lives from")
    built = (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .issuer_name(certificate.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ada")]))
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .public_key(KEY.public_key())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), critical=False)
        .add_extension(key_identifier_of(certificate), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(admin_leaf.KEY_USAGE, critical=True)
    )
    as_ca = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    refused(lambda: as_ca.sign(key, hash_for(key)), "it is a CA certificate")
    refused(lambda: built.sign(key, hash_for(key)), "extensions that are missing")


def test_sub_cas_are_signed_under_their_rule_alone(ca: Authority) -> None:
    environment = ca.environments["test"]
    wish = sub_cas.Wish(csr_for(OTHER), "linkerd")
    assert sub_cas.sign(ca, environment, wish, by="admin:ada").status == CertificateStatus.ISSUED
    planned = sub_cas.plan(ca, environment, wish)
    issuer = planned.issuer

    def sign(wanted: SubCaRequest) -> None:
        sub_ca.builder(issuer, wanted, wanted.public_key).sign(issuer.key, hash_for(issuer.key))

    refused(lambda: sign(planned.request), "does not know serial .*; expected a claim")
    sub_cas._claim(ca, planned, "admin:ada", "")
    deeper = replace(planned.request, path_length=planned.request.path_length + 1)
    refused(lambda: sign(deeper), "constraints")
    refused(lambda: sign(replace(planned.request, permitted_dns=("localhost",))), "the permitted names are")
    leafs = environment.issuers[0]
    lower = sub_ca.builder(leafs, planned.request, planned.request.public_key)
    refused(lambda: lower.sign(leafs.key, hash_for(leafs.key)), "was claimed for issuer test-mesh-1, not test-1")
    sign(planned.request)
    refused(lambda: sign(planned.request), "was signed before")


def csr_for(key: ec.EllipticCurvePrivateKey) -> bytes:
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    return csr.public_bytes(Encoding.DER)
