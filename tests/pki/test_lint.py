"""The lint refuses every certificate that is not exactly what was requested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from acme_ca.identifiers import Identifier
from acme_ca.pki import leaf, lint
from acme_ca.pki.ca import CA_KEY_USAGE
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.lint import LintError
from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.validity import validity
from tests.pki.conftest import NOW, Authority

THROWAWAY = ec.generate_private_key(ec.SECP256R1())
LEAF_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
NAME = Identifier("dns", "a.corp.example")
CRL_URL, OCSP_URL = "http://ca.example/1.crl", "http://ca.example/ocsp/1"
URI = "spiffe://corp.example/a"
Extensions = dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool]]


def request(*names: Identifier, profile: str = "server-1h", **changes: Any) -> LeafRequest:  # noqa: ANN401 - its fields
    plain = LeafRequest(
        identifiers=names or (NAME,),
        uris=(),
        public_key=LEAF_KEY,
        profile=BUILTIN[profile],
        serial=2**127 + 1,
        not_before=NOW - timedelta(seconds=60),
        not_after=NOW + timedelta(hours=1),
    )
    return replace(plain, **changes)


def build(asked: LeafRequest, ca: Authority, crl_url: str | None = None) -> x509.Certificate:
    return leaf.builder(asked, ca.certificate, "http://ca.example/i.crt", crl_url).sign(THROWAWAY, hashes.SHA256())


def rebuilt(
    certificate: x509.Certificate,
    change: Callable[[Extensions], None] = lambda _: None,
    **fields: Any,  # noqa: ANN401
) -> x509.Certificate:
    """The certificate with other fields or extensions: what a defect in the builder would make."""
    extensions: Extensions = {type(one.value): (one.value, one.critical) for one in certificate.extensions}
    change(extensions)
    builder = (
        x509.CertificateBuilder()
        .serial_number(fields.get("serial", certificate.serial_number))
        .issuer_name(fields.get("issuer", certificate.issuer))
        .subject_name(fields.get("subject", certificate.subject))
        .not_valid_before(fields.get("not_before", certificate.not_valid_before_utc))
        .not_valid_after(fields.get("not_after", certificate.not_valid_after_utc))
        .public_key(fields.get("public_key", certificate.public_key()))
    )
    for value, critical in extensions.values():
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(THROWAWAY, hashes.SHA256())


def setting(value: x509.ExtensionType, *, critical: bool) -> Callable[[Extensions], None]:
    return lambda extensions: extensions.update({type(value): (value, critical)})


def without(kind: type[x509.ExtensionType]) -> Callable[[Extensions], None]:
    def drop(extensions: Extensions) -> None:
        del extensions[kind]

    return drop


def names(*values: x509.GeneralName, critical: bool = True) -> Callable[[Extensions], None]:
    return setting(x509.SubjectAlternativeName(values), critical=critical)


A, OTHER = x509.DNSName("a.corp.example"), x509.DNSName("b.corp.example")
COMMON_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "b.corp.example")])


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(Identifier("dns", "*.corp.example"), NAME),
        request(Identifier("dns", "localhost"), Identifier("ip", "10.1.2.3"), Identifier("ip", "fd00::1")),
        request(profile="workload-1h", uris=(URI,)),
        request(profile="workload-1h", uris=(URI,), identifiers=()),
        request(profile=("client-1h")),
    ],
)
def test_what_the_builder_makes_passes(ca: Authority, asked: LeafRequest) -> None:
    lint.check(build(asked, ca), asked, ca.certificate)


def test_a_revocable_leaf_passes(ca: Authority) -> None:
    asked = request(profile="server-7d", not_after=NOW + timedelta(days=7))
    lint.check(build(asked, ca, CRL_URL), asked, ca.certificate, CRL_URL)
    with_ocsp = leaf.builder(asked, ca.certificate, "http://ca.example/i.crt", CRL_URL, OCSP_URL)
    certificate = with_ocsp.sign(THROWAWAY, hashes.SHA256())
    lint.check(certificate, asked, ca.certificate, CRL_URL, OCSP_URL)
    for urls in ((CRL_URL, None), (CRL_URL, OCSP_URL + "2"), (CRL_URL + "2", OCSP_URL), (None, OCSP_URL)):
        with pytest.raises(LintError, match="not as the profile says"):
            lint.check(certificate, asked, ca.certificate, *urls)


def test_a_leaf_without_revocation_names_no_responder(ca: Authority) -> None:
    asked = request()
    built = leaf.builder(asked, ca.certificate, "http://ca.example/i.crt", CRL_URL, OCSP_URL)
    lint.check(built.sign(THROWAWAY, hashes.SHA256()), asked, ca.certificate, CRL_URL, OCSP_URL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (names(A, OTHER), "subjectAltName has"),
        (names(OTHER), "subjectAltName has"),
        (names(A, A), "subjectAltName has"),
        (names(A, x509.RFC822Name("a@corp.example")), "no dns, ip or uri"),
        (names(A, x509.UniformResourceIdentifier(URI)), "subjectAltName has"),
        (names(A, critical=False), "not critical"),
        (without(x509.SubjectAlternativeName), r"missing: 2\.5\.29\.17"),
        (without(x509.BasicConstraints), r"missing: 2\.5\.29\.19"),
        (without(x509.AuthorityKeyIdentifier), r"missing: 2\.5\.29\.35"),
        (setting(x509.AuthorityKeyIdentifier(b"x" * 20, None, None), critical=False), "authority key identifier"),
        (setting(x509.BasicConstraints(ca=True, path_length=0), critical=True), "CA certificate"),
        (setting(x509.BasicConstraints(ca=False, path_length=None), critical=False), "critical extensions are"),
        (setting(CA_KEY_USAGE, critical=True), "key usage"),
        (setting(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False), "extended key usages"),
        (
            setting(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]),
                critical=False,
            ),
            "extended key usages",
        ),
        (setting(x509.OCSPNoCheck(), critical=False), "that no leaf has"),
        (without(x509.UnrecognizedExtension), "noRevAvail"),
        (
            setting(
                x509.CRLDistributionPoints(
                    [
                        x509.DistributionPoint(
                            [x509.UniformResourceIdentifier("http://ca.example/1.crl")], None, None, None
                        )
                    ]
                ),
                critical=False,
            ),
            "CRL distribution point",
        ),
    ],
)
def test_an_extension_that_was_not_asked_for_is_refused(
    ca: Authority, change: Callable[[Extensions], None], message: str
) -> None:
    with pytest.raises(LintError, match=message):
        lint.check(rebuilt(build(request(), ca), change), request(), ca.certificate)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"serial": 7}, "serial"),
        ({"issuer": COMMON_NAME}, "issuer's subject"),
        ({"subject": COMMON_NAME}, "the subject is"),
        ({"not_before": NOW}, "the validity is"),
        ({"not_after": NOW + timedelta(minutes=30)}, "the validity is"),
        ({"public_key": THROWAWAY.public_key()}, "not the requested one"),
    ],
)
def test_a_field_that_was_not_asked_for_is_refused(ca: Authority, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LintError, match=message):
        lint.check(rebuilt(build(request(), ca), **fields), request(), ca.certificate)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(Identifier("dns", "a.evil.example")), "dns:a.evil.example is outside"),
        (request(Identifier("dns", "notcorp.example")), "outside"),
        (request(Identifier("dns", "*.evil.example")), "outside"),
        (request(NAME, Identifier("dns", "b.corp.example"), Identifier("ip", "192.0.2.1")), "ip:192.0.2.1 is outside"),
        (request(not_after=NOW + timedelta(days=2)), "not within"),
        (request(profile="server-1h", uris=(URI,)), "carries no URI"),
        (request(profile="workload-1h", uris=(URI, URI + "/b")), "exactly one URI"),
    ],
)
def test_a_request_that_must_not_be_fulfilled_is_refused(ca: Authority, asked: LeafRequest, message: str) -> None:
    with pytest.raises(LintError, match=message):
        lint.check(build(asked, ca), asked, ca.certificate)


def test_addresses_are_refused_below_a_ca_that_excludes_them(ca_without_ips: Authority) -> None:
    asked = request(Identifier("ip", "10.1.2.3"))
    with pytest.raises(LintError, match=r"ip:10\.1\.2\.3 is outside"):
        lint.check(build(asked, ca_without_ips), asked, ca_without_ips.certificate)


def test_the_issuers_own_key_is_refused(ca: Authority) -> None:
    asked = request(public_key=ca.key.public_key())
    with pytest.raises(LintError, match="issuer's own"):
        lint.check(build(asked, ca), asked, ca.certificate)


def test_a_leaf_that_outlives_its_issuer_is_refused(ca: Authority) -> None:
    end = ca.certificate.not_valid_after_utc
    asked = request(not_before=end - timedelta(minutes=30), not_after=end + timedelta(seconds=1))
    with pytest.raises(LintError, match="outlives"):
        lint.check(build(asked, ca), asked, ca.certificate)


def test_every_validity_that_a_client_may_wish_for_passes(ca: Authority) -> None:
    """The widest that `validity` grants: a backdate more at both ends."""
    profile = BUILTIN["server-1h"]
    back = timedelta(seconds=profile.backdate)
    start, end = validity(profile, NOW, None, NOW - 2 * back, NOW + timedelta(seconds=profile.lifetime) + back)
    asked = request(not_before=start, not_after=end)
    lint.check(build(asked, ca), asked, ca.certificate)


def test_addresses_are_compared_as_addresses(ca: Authority) -> None:
    asked = request(Identifier("ip", "fd00::1"))
    other = rebuilt(build(asked, ca), names(x509.IPAddress(ip_address("fd00::2"))))
    with pytest.raises(LintError, match="subjectAltName has"):
        lint.check(other, asked, ca.certificate)


def test_an_ocsp_responder_is_not_this_leafs_business(ca: Authority) -> None:
    """A profile with noRevAvail forbids one. RFC 9608 §4."""
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ca.example")
            )
        ]
    )
    with pytest.raises(LintError, match="OCSP"):
        lint.check(rebuilt(build(request(), ca), setting(access, critical=False)), request(), ca.certificate)
