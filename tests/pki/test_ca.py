"""Roots and intermediates."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from acme_ca.pki.ca import make_intermediate, make_root
from acme_ca.pki.signing import SigningKey
from acme_ca.problems import BadPublicKey
from tests.pki.conftest import NETWORKS, NOW, ZONES, Authority


def constraints(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert extension.critical
    permitted, excluded = (extension.value.permitted_subtrees or [], extension.value.excluded_subtrees or [])
    return {str(name.value) for name in permitted}, {str(name.value) for name in excluded}


def intermediate(ca: Authority, **changes: Any) -> x509.Certificate:  # noqa: ANN401 - keywords of make_intermediate
    keywords: dict[str, Any] = {
        "common_name": "Another",
        "permitted_dns": ("corp.example",),
        "not_before": NOW,
        "not_after": NOW + timedelta(days=30),
    }
    public_key = changes.pop("public_key", ca.key.public_key())
    return make_intermediate(ca.root, changes.pop("root_key", ca.root_key), public_key, **keywords | changes)


def test_a_root_is_a_self_signed_ca(ca: Authority) -> None:
    ca.root.verify_directly_issued_by(ca.root)
    basic = ca.root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, None)
    usage = ca.root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    assert ca.root.subject.rfc4514_string() == "CN=Test Root,O=Acme"


def test_an_intermediate_issues_leafs_only(ca: Authority) -> None:
    ca.certificate.verify_directly_issued_by(ca.root)
    basic = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usages = ca.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_an_intermediate_names_its_issuer(ca: Authority) -> None:
    root_id = ca.root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    extensions = ca.certificate.extensions
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == root_id
    access = list(extensions.get_extension_for_class(x509.AuthorityInformationAccess).value)
    assert [(entry.access_method, entry.access_location.value) for entry in access] == [
        (AuthorityInformationAccessOID.CA_ISSUERS, "http://ca.example/root.crt")
    ]
    assert ca.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "Acme"


def test_an_intermediate_excludes_addresses_unless_permitted(ca: Authority, ca_without_ips: Authority) -> None:
    assert constraints(ca_without_ips.certificate) == (set(ZONES), {"0.0.0.0/0", "::/0"})
    assert constraints(ca.certificate) == ({*ZONES, *map(str, NETWORKS)}, set())
    only_v4 = intermediate(ca, permitted_ips=(ip_network("10.0.0.0/8"),))
    assert constraints(only_v4) == ({"corp.example", "10.0.0.0/8"}, {"::/0"})


def test_an_intermediate_for_networks_alone_excludes_every_name(ca: Authority) -> None:
    assert constraints(intermediate(ca, permitted_dns=(), permitted_ips=(ip_network("10.0.0.0/8"),))) == (
        {"10.0.0.0/8"},
        {"::/0", ""},
    )


@pytest.mark.parametrize(
    "zone", [".corp.example", "*.corp.example", "corp.example.", "Corp.example", "", "a b", "ü.de"]
)
def test_a_zone_that_is_no_plain_name_is_refused(ca: Authority, zone: str) -> None:
    with pytest.raises(ValueError, match="zone"):
        intermediate(ca, permitted_dns=(zone,))


def test_an_intermediate_that_could_issue_nothing_is_refused(ca: Authority) -> None:
    with pytest.raises(ValueError, match="could issue nothing"):
        intermediate(ca, permitted_dns=())


def test_an_intermediate_does_not_outlive_its_root(ca: Authority) -> None:
    with pytest.raises(ValueError, match="not inside the root's"):
        intermediate(ca, not_after=ca.root.not_valid_after_utc + timedelta(seconds=1))
    with pytest.raises(ValueError, match="not inside the root's"):
        intermediate(ca, not_before=ca.root.not_valid_before_utc - timedelta(seconds=1))


def test_a_foreign_root_key_and_weak_keys_are_refused(ca: Authority) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        intermediate(ca, root_key=ec.generate_private_key(ec.SECP384R1()))
    weak = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(BadPublicKey, match="secp256k1"):
        intermediate(ca, public_key=weak.public_key())
    with pytest.raises(BadPublicKey, match="secp256k1"):
        make_root(weak, common_name="x", organization="y", not_before=NOW, not_after=NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithmOID.ECDSA_WITH_SHA256),
        (ec.generate_private_key(ec.SECP384R1()), SignatureAlgorithmOID.ECDSA_WITH_SHA384),
        (ec.generate_private_key(ec.SECP521R1()), SignatureAlgorithmOID.ECDSA_WITH_SHA512),
        (ed25519.Ed25519PrivateKey.generate(), SignatureAlgorithmOID.ED25519),
        (rsa.generate_private_key(65_537, 2048), SignatureAlgorithmOID.RSA_WITH_SHA256),
    ],
    ids=["p256", "p384", "p521", "ed25519", "rsa"],
)
def test_the_signature_algorithm_follows_the_key(key: SigningKey, algorithm: x509.ObjectIdentifier) -> None:
    root = make_root(key, common_name="x", organization="y", not_before=NOW, not_after=NOW + timedelta(days=1))
    assert root.signature_algorithm_oid == algorithm
