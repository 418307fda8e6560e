"""Sub-CAs: the lint finds whatever differs from the request, or is more than what is above allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from acme_ca.pki import sub_ca_lint
from acme_ca.pki.ca import constraints_to, make_intermediate, make_root
from acme_ca.pki.issuer import IssuanceError, Issuer
from acme_ca.pki.leaf import NO_REVOCATION
from acme_ca.pki.lint import LintError
from acme_ca.pki.signing import SigningKey, hash_for, new_serial
from acme_ca.pki.sub_ca import SubCaRequest, builder
from acme_ca.pki.sub_ca_lint import unsuitable
from acme_ca.pki.sub_ca_signing import rehearse, sign
from acme_ca.pki.sub_ca_trial import try_out
from tests.pki.conftest import NETWORKS, NOW, ZONES

KEY = ec.generate_private_key(ec.SECP256R1())


def issuer(key: SigningKey | None = None, *, path_length: int = 2, days: int = 365) -> Issuer:
    key = key or ec.generate_private_key(ec.SECP256R1())
    root_key = ec.generate_private_key(ec.SECP384R1())
    start, end = NOW - timedelta(days=1), NOW + timedelta(days=days)
    root = make_root(root_key, common_name="Root", organization="Acme", not_before=start, not_after=end)
    certificate = make_intermediate(
        root,
        root_key,
        key.public_key(),
        common_name="Meshes 1",
        permitted_dns=ZONES,
        permitted_ips=NETWORKS,
        path_length=path_length,
        not_before=start,
        not_after=end,
    )
    return Issuer("meshes-1", certificate, (), root, key, "http://ca.example/i.crt", "http://ca.example/i.crl")


@pytest.fixture(scope="module")
def meshes() -> Issuer:
    return issuer()


def wanted(**changes: Any) -> SubCaRequest:  # noqa: ANN401 - fields of any kind
    values: dict[str, Any] = {
        "common_name": "Mesh",
        "dns_names": (),
        "uris": (),
        "permitted_dns": ("mesh.corp.example",),
        "permitted_ips": (),
        "path_length": 0,
        "extended_key_usages": ("serverAuth", "clientAuth"),
        "public_key": KEY.public_key(),
        "serial": new_serial(),
        "not_before": NOW,
        "not_after": NOW + timedelta(days=90),
    }
    return SubCaRequest(**{**values, **changes})


@pytest.mark.parametrize("key", [ec.SECP256R1(), ec.SECP384R1(), None], ids=["p256", "p384", "rsa"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dns_names": ("id.mesh.corp.example",), "uris": ("spiffe://td.example",)},
        {"permitted_dns": (), "permitted_ips": (ip_network("10.1.0.0/16"),), "path_length": 1},
        {"permitted_ips": (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))},
        {"permitted_dns": (), "uris": ("spiffe://td.example",), "extended_key_usages": ("serverAuth",)},
        {"extended_key_usages": ("clientAuth",)},
    ],
)
def test_what_is_signed_is_what_was_requested(key: ec.EllipticCurve | None, changes: dict[str, Any]) -> None:
    signer = rsa.generate_private_key(65_537, 2048) if key is None else ec.generate_private_key(key)
    certificate = sign(issuer(signer), wanted(**changes))
    assert certificate.public_key() == KEY.public_key()
    assert certificate.subject.rfc4514_string() == "CN=Mesh,O=Acme"


Change = Callable[[x509.CertificateBuilder, SubCaRequest], x509.CertificateBuilder]


def instead(value: x509.ExtensionType, *, critical: bool) -> Change:
    """Put another extension into the place of the one of its kind, or add it."""

    def change(built: x509.CertificateBuilder, request: SubCaRequest) -> x509.CertificateBuilder:
        del request
        kept = [one for one in built._extensions if one.oid != value.oid]
        fresh = _bare(built)
        for one in kept:
            fresh = fresh.add_extension(one.value, one.critical)
        return fresh.add_extension(value, critical)

    return change


def without(oid: x509.ObjectIdentifier) -> Change:
    def change(built: x509.CertificateBuilder, request: SubCaRequest) -> x509.CertificateBuilder:
        del request
        fresh = _bare(built)
        for one in built._extensions:
            if one.oid != oid:
                fresh = fresh.add_extension(one.value, one.critical)
        return fresh

    return change


def _bare(built: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        built._issuer_name,
        built._subject_name,
        built._public_key,
        built._serial_number,
        built._not_valid_before,
        built._not_valid_after,
        [],
    )


def usage(**changes: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    values = {name: name in {"key_cert_sign", "crl_sign"} for name in names.split()}
    return x509.KeyUsage(**{**values, "encipher_only": False, "decipher_only": False, **changes})


ONE = x509.DNSName("a.mesh.corp.example")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (instead(x509.BasicConstraints(ca=False, path_length=None), critical=True), "basic constraints"),
        (instead(x509.BasicConstraints(ca=True, path_length=None), critical=True), "basic constraints"),
        (instead(x509.BasicConstraints(ca=True, path_length=1), critical=True), "basic constraints"),
        (instead(x509.BasicConstraints(ca=True, path_length=0), critical=False), "critical extensions"),
        (instead(usage(digital_signature=True), critical=True), "key usage"),
        (instead(usage(crl_sign=False), critical=True), "key usage"),
        (instead(constraints_to(("mesh.corp.example",), ()), critical=False), "critical extensions"),
        (instead(constraints_to(("corp.example",), ()), critical=True), "permitted names"),
        (instead(x509.NameConstraints([x509.DNSName("mesh.corp.example")], None), critical=True), "excluded names"),
        (instead(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False), "usages"),
        (instead(x509.SubjectAlternativeName([ONE]), critical=False), "extensions"),
        (instead(NO_REVOCATION, critical=False), "extensions"),
        (without(ExtensionOID.NAME_CONSTRAINTS), "extensions"),
        (without(ExtensionOID.EXTENDED_KEY_USAGE), "extensions"),
        (without(ExtensionOID.CRL_DISTRIBUTION_POINTS), "extensions"),
        (without(ExtensionOID.AUTHORITY_KEY_IDENTIFIER), "extensions"),
        (
            instead(
                x509.CRLDistributionPoints(
                    [x509.DistributionPoint([x509.UniformResourceIdentifier("http://x/")], None, None, None)]
                ),
                critical=False,
            ),
            "CRL distribution point",
        ),
        (
            instead(
                x509.AuthorityInformationAccess(
                    [
                        x509.AccessDescription(
                            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://x/")
                        )
                    ]
                ),
                critical=False,
            ),
            "authority information access",
        ),
        (instead(x509.SubjectKeyIdentifier(b"other"), critical=False), "subject key id"),
        (instead(x509.AuthorityKeyIdentifier(b"other", None, None), critical=False), "authority key identifier"),
    ],
)
def test_the_lint_finds_each_extension_that_is_another(meshes: Issuer, change: Change, words: str) -> None:
    request = wanted()
    built = change(builder(meshes, request, request.public_key), request)
    certificate = built.sign(meshes.key, hash_for(meshes.key))
    with pytest.raises(LintError, match=words):
        sub_ca_lint.check(certificate, request, meshes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serial": 5}, "serial"),
        ({"common_name": "Other"}, "subject"),
        ({"not_after": NOW + timedelta(days=91)}, "validity"),
        ({"public_key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "key is not the requested one"),
        ({"permitted_ips": (ip_network("10.0.0.0/8"),)}, "permitted names"),
        ({"extended_key_usages": ("serverAuth",)}, "usages"),
    ],
)
def test_the_lint_finds_each_fact_that_is_another(meshes: Issuer, changes: dict[str, Any], words: str) -> None:
    request = wanted()
    certificate = builder(meshes, request, request.public_key).sign(meshes.key, hash_for(meshes.key))
    with pytest.raises(LintError, match=words):
        sub_ca_lint.check(certificate, replace(request, **changes), meshes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"permitted_dns": ("other.example",)}, "other.example is outside the name constraints of CN=Meshes 1"),
        ({"permitted_dns": ("example",)}, "example is outside"),
        ({"permitted_dns": ("notcorp.example",)}, "notcorp.example is outside"),
        ({"permitted_ips": (ip_network("0.0.0.0/0"),)}, "0.0.0.0/0 is outside"),
        ({"permitted_ips": (ip_network("fc00::/7"),)}, "fc00::/7 is outside"),
        ({"path_length": 2}, "CN=Meshes 1,O=Acme has a path length of 2, and would have 3 CAs below it"),
        ({"not_after": NOW + timedelta(days=366)}, "outlive"),
        ({"serial": 1 << 160}, "159 bits"),
        ({"uris": ("spiffe://a.example", "spiffe://b.example")}, "one URI"),
        ({"dns_names": ("www.corp.example",)}, "outside of what the sub-CA itself may certify"),
        ({"common_name": "Meshes 1"}, "self-issued"),
    ],
)
def test_nothing_more_than_what_is_above_allows_is_signed(meshes: Issuer, changes: dict[str, Any], words: str) -> None:
    with pytest.raises((LintError, ValueError), match=words):
        rehearse(meshes, wanted(**changes))


def test_the_key_of_a_ca_above_is_refused(meshes: Issuer) -> None:
    for key in (meshes.certificate.public_key(), meshes.root.public_key()):
        with pytest.raises(LintError, match="the key is that of a CA above it"):
            rehearse(meshes, wanted(public_key=key))


def foreign(*extensions: x509.ExtensionType) -> Issuer:
    """An issuer that somebody else made."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    start, end = NOW - timedelta(days=1), NOW + timedelta(days=365)
    root = make_root(root_key, common_name="Root", organization="Acme", not_before=start, not_after=end)
    built = (
        x509.CertificateBuilder()
        .issuer_name(root.subject)
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Foreign")]))
        .serial_number(new_serial())
        .not_valid_before(start)
        .not_valid_after(end)
        .public_key(KEY.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    for extension in extensions:
        built = built.add_extension(extension, critical=False)
    return Issuer("foreign", built.sign(root_key, hash_for(root_key)), (), root, KEY)


def test_what_is_excluded_above_is_not_permitted_below() -> None:
    shut = [x509.DNSName("secret.corp.example"), x509.IPAddress(ip_network("10.9.0.0/16"))]
    found = foreign(x509.NameConstraints(None, shut))
    assert unsuitable(found, ("anything.example",), (ip_network("10.8.0.0/16"),), 5) is None
    for zone in ("secret.corp.example", "a.secret.corp.example", "corp.example"):
        assert f"{zone} is outside" in (unsuitable(found, (zone,), (), 0) or "")
    for network in ("10.9.0.0/16", "10.9.1.0/24", "10.0.0.0/8"):
        assert f"{network} is outside" in (unsuitable(found, (), (ip_network(network),), 0) or "")


def test_a_twin_that_says_something_else_is_found_by_trying_it(meshes: Issuer) -> None:
    twin = builder(meshes, wanted(), KEY.public_key()).sign(meshes.key, hash_for(meshes.key))
    try_out(twin, KEY, wanted())
    with pytest.raises(LintError, match=r"leaf for other\.example does not verify"):
        try_out(twin, KEY, wanted(permitted_dns=("other.example",)))
    wide = instead(x509.NameConstraints(None, [x509.DNSName("a.example")]), critical=True)
    free = wide(builder(meshes, wanted(), KEY.public_key()), wanted()).sign(meshes.key, hash_for(meshes.key))
    with pytest.raises(LintError, match=r"leaf for probe\.invalid verifies"):
        try_out(free, KEY, wanted())


def test_a_chain_that_does_not_verify_is_never_given_out() -> None:
    """The lint has no complaint about an issuer without a key usage, and path verifiers have."""
    foreign_issuer = foreign(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()))
    rehearse(foreign_issuer, wanted(public_key=ec.generate_private_key(ec.SECP256R1()).public_key()))
    with pytest.raises(IssuanceError, match="does not verify"):
        sign(foreign_issuer, wanted(public_key=ec.generate_private_key(ec.SECP256R1()).public_key()))
