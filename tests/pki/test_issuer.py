"""Issuers: what they sign verifies for strangers, OpenSSL among them, and they refuse the rest."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from acme_ca.identifiers import Identifier
from acme_ca.pki.ca import key_identifier_of, make_intermediate, make_root
from acme_ca.pki.issuer import MARGIN, IssuanceError, Issuer, new_serial
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import BUILTIN, Usage
from acme_ca.pki.signing import SigningKey
from acme_ca.public_keys import PublicKey
from tests.pki.conftest import NOW, Authority, authority

LEAF_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
RSA_KEY = rsa.generate_private_key(65_537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
URI = "spiffe://corp.example/ns/a"
PURPOSES: dict[Usage, str] = {"serverAuth": "sslserver", "clientAuth": "sslclient"}
CRL = "http://ca.example/1.crl"


def dns(*values: str) -> tuple[Identifier, ...]:
    return tuple(Identifier("dns", value) for value in values)


def request(*identifiers: Identifier, profile: str = "server-1h", **changes: Any) -> LeafRequest:  # noqa: ANN401 - its fields
    plain = LeafRequest(
        identifiers=identifiers,
        uris=(),
        public_key=LEAF_KEY,
        profile=BUILTIN[profile],
        serial=new_serial(),
        not_before=NOW - timedelta(seconds=60),
        not_after=NOW + timedelta(seconds=BUILTIN[profile].lifetime),
    )
    return replace(plain, **changes)


def issuer_of(ca: Authority, **changes: Any) -> Issuer:  # noqa: ANN401 - its fields
    plain = Issuer("test", ca.certificate, (), ca.root, ca.key, issuer_url="http://ca.example/i.crt", crl_url=CRL)
    return replace(plain, **changes)


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def openssl_verify(folder: Path, issuer: Issuer, certificate: x509.Certificate, purpose: str) -> str:
    """Verify strictly and up to the root; return what openssl says."""
    (folder / "root.pem").write_bytes(pem([issuer.root]))
    (folder / "above.pem").write_bytes(pem([issuer.certificate, *issuer.chain]))
    (folder / "leaf.pem").write_bytes(pem([certificate]))
    trust = ["-CAfile", "root.pem", "-no-CApath", "-no-CAstore", "-untrusted", "above.pem"]
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(NOW.timestamp())), *trust]
    done = subprocess.run([*command, "leaf.pem"], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


LEAFS = [
    pytest.param(request(*dns("a.corp.example")), id="dns"),
    pytest.param(request(*dns("corp.example")), id="apex"),
    pytest.param(request(*dns("*.corp.example")), id="wildcard"),
    pytest.param(request(*dns("*.corp.example", "corp.example", "b.a.corp.example")), id="several"),
    pytest.param(request(*dns("localhost")), id="one label"),
    pytest.param(request(*dns("1.a--b.0.corp.example", "xn--bcher-kva.corp.example")), id="unusual labels"),
    pytest.param(request(*dns("*." + ".".join(["a" * 63] * 3 + ["b" * 46]) + ".corp.example")), id="longest"),
    pytest.param(request(Identifier("ip", "10.1.2.3")), id="ipv4"),
    pytest.param(request(Identifier("ip", "fd00::1"), Identifier("ip", "10.0.0.1")), id="ipv6"),
    pytest.param(request(*dns("a.corp.example"), profile="client-1h"), id="client"),
    pytest.param(request(profile="workload-1h", uris=(URI,)), id="uri alone"),
    pytest.param(request(*dns("a.corp.example"), profile="workload-1h", uris=(URI,)), id="uri and dns"),
    pytest.param(request(*dns("a.corp.example"), profile="server-7d"), id="revocable"),
    pytest.param(request(*dns("a.corp.example"), public_key=RSA_KEY.public_key()), id="rsa"),
    pytest.param(request(*dns("a.corp.example"), public_key=ED_KEY.public_key()), id="ed25519"),
]


@pytest.mark.parametrize("asked", LEAFS)
def test_openssl_verifies_every_kind_of_leaf_strictly_up_to_the_root(
    ca: Authority, tmp_path: Path, asked: LeafRequest
) -> None:
    issuer = issuer_of(ca)
    certificate = issuer.issue(asked)
    for usage in asked.profile.extended_key_usages:
        assert openssl_verify(tmp_path, issuer, certificate, PURPOSES[usage]) == "leaf.pem: OK"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithmOID.ECDSA_WITH_SHA256),
        (ec.generate_private_key(ec.SECP384R1()), SignatureAlgorithmOID.ECDSA_WITH_SHA384),
        (ec.generate_private_key(ec.SECP521R1()), SignatureAlgorithmOID.ECDSA_WITH_SHA512),
        (RSA_KEY, SignatureAlgorithmOID.RSA_WITH_SHA256),
    ],
    ids=["p256", "p384", "p521", "rsa"],
)
def test_every_kind_of_issuer_key_signs(key: SigningKey, algorithm: x509.ObjectIdentifier, tmp_path: Path) -> None:
    issuer = issuer_of(authority(key))
    certificate = issuer.issue(request(*dns("a.corp.example")))
    assert certificate.signature_algorithm_oid == algorithm
    assert openssl_verify(tmp_path, issuer, certificate, "sslserver") == "leaf.pem: OK"


def test_a_short_leaf_says_that_it_cannot_be_revoked(ca: Authority) -> None:
    extensions = issuer_of(ca).issue(request(*dns("a.corp.example"))).extensions
    oid = x509.ObjectIdentifier("2.5.29.56")
    found = extensions.get_extension_for_oid(oid)
    assert (found.critical, found.value) == (False, x509.UnrecognizedExtension(oid, b"\x05\x00"))
    assert x509.CRLDistributionPoints not in {type(extension.value) for extension in extensions}


def test_a_longer_leaf_says_where_the_crl_is(ca: Authority) -> None:
    points = (
        issuer_of(ca)
        .issue(request(*dns("a.corp.example"), profile="server-7d"))
        .extensions.get_extension_for_class(x509.CRLDistributionPoints)
        .value
    )
    assert [name.value for point in points for name in point.full_name or []] == [CRL]


def test_a_revocable_leaf_needs_a_place_for_the_crl(ca: Authority) -> None:
    with pytest.raises(ValueError, match="publishes none"):
        issuer_of(ca, crl_url=None).issue(request(*dns("a.corp.example"), profile="server-7d"))


def test_the_subject_is_empty_and_the_names_critical(ca: Authority) -> None:
    certificate = issuer_of(ca).issue(request(*dns("a.corp.example")))
    assert not list(certificate.subject)
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_a_common_name_is_the_first_dns_name_that_fits(ca: Authority, tmp_path: Path) -> None:
    profile = BUILTIN["server-1h"].model_copy(update={"subject": "common-name"})
    issuer, long = issuer_of(ca), "a" * 60 + ".corp.example"
    asked = request(Identifier("ip", "10.1.2.3"), *dns(long, "b.corp.example"))
    certificate = issuer.issue(replace(asked, profile=profile))
    assert [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "b.corp.example"
    ]
    assert not certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert openssl_verify(tmp_path, issuer, certificate, "sslserver") == "leaf.pem: OK"
    assert not list(issuer.issue(replace(request(*dns(long)), profile=profile)).subject)


@pytest.mark.parametrize(
    ("key", "profile", "encipherment"),
    [
        (RSA_KEY.public_key(), "server-1h", True),
        (RSA_KEY.public_key(), "client-1h", False),
        (LEAF_KEY, "server-1h", False),
    ],
)
def test_only_rsa_servers_encipher_keys(ca: Authority, key: PublicKey, profile: str, encipherment: bool) -> None:  # noqa: FBT001 - a parameter of the test
    certificate = issuer_of(ca).issue(request(*dns("a.corp.example"), profile=profile, public_key=key))
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_encipherment) == (True, True, encipherment)


def test_a_chain_in_pem_is_leaf_first_and_without_the_root(ca: Authority) -> None:
    issuer = issuer_of(ca)
    certificate = issuer.issue(request(*dns("a.corp.example")))
    der = certificate.public_bytes(Encoding.DER)
    assert x509.load_pem_x509_certificates(issuer.pem_chain(der).encode()) == [
        certificate,
        ca.certificate,
    ]


def test_an_alternate_chain_replaces_what_is_above_the_leaf(ca: Authority) -> None:
    issuer = issuer_of(ca, alternates=((ca.certificate, ca.root),))
    certificate = issuer.issue(request(*dns("a.corp.example")))
    der = certificate.public_bytes(Encoding.DER)
    assert x509.load_pem_x509_certificates(issuer.pem_chain(der, 1).encode())[1:] == [ca.certificate, ca.root]


def test_an_issuer_stops_a_leaf_and_a_margin_before_its_chain_ends() -> None:
    ca = authority(days=1)
    issuer, lifetime = issuer_of(ca), timedelta(hours=1)
    last = ca.certificate.not_valid_after_utc - lifetime - MARGIN
    assert issuer.can_sign(last, lifetime)
    assert not issuer.can_sign(last + timedelta(seconds=1), lifetime)
    assert not issuer.can_sign(ca.certificate.not_valid_before_utc - timedelta(seconds=1), lifetime)


@pytest.mark.parametrize("changed", ["key", "root", "chain"])
def test_certificates_that_do_not_belong_together_are_refused(ca: Authority, changed: str) -> None:
    other = authority()
    value = {"key": other.key, "root": other.root, "chain": (other.certificate,)}[changed]
    with pytest.raises(ValueError, match="does not"):
        issuer_of(ca, **{changed: value})


@pytest.mark.parametrize("keys", [{"key": ED_KEY}, {"root_key": ED_KEY}])
def test_a_chain_with_an_ed25519_ca_key_is_refused_at_once(keys: dict[str, SigningKey]) -> None:
    """The path verifier takes none, so that no leaf would ever be issued."""
    with pytest.raises(ValueError, match="Ed25519 CA key"):
        issuer_of(authority(keys.get("key"), keys.get("root_key")))


def test_the_key_has_no_repr(ca: Authority) -> None:
    assert "PrivateKey" not in repr(issuer_of(ca))


def test_threads_issue_at_once(ca: Authority) -> None:
    issuer = issuer_of(ca)
    with ThreadPoolExecutor(4) as pool:
        asked = [request(*dns(f"a{number}.corp.example")) for number in range(16)]
        issued = list(pool.map(issuer.issue, asked))
    assert [certificate.serial_number for certificate in issued] == [one.serial for one in asked]


def test_serials_are_128_random_bits_behind_an_octet_of_one() -> None:
    serials = {new_serial() for _ in range(1000)}
    assert len(serials) == 1000
    assert {serial >> 128 for serial in serials} == {1}
    assert max(serial & (2**128 - 1) for serial in serials).bit_length() > 120


# --- three levels: a CA between the root and the issuer that says less than the issuer does ---


def three_levels(
    *, zone: str | None = None, usage: x509.ObjectIdentifier | None = None, upper_days: int = 99
) -> Issuer:
    """An issuer below a middle CA that constrains names to a zone, or what certificates are for, or ends early."""
    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    begins, ends = NOW - timedelta(days=1), NOW + timedelta(days=99)
    root = make_root(root_key, common_name="Root", organization="Acme", not_before=begins, not_after=ends)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Middle")])
    builder = (
        x509.CertificateBuilder()
        .serial_number(new_serial())
        .issuer_name(root.subject)
        .subject_name(name)
        .not_valid_before(begins)
        .not_valid_after(NOW + timedelta(days=upper_days))
        .public_key(middle_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(root.extensions.get_extension_for_class(x509.KeyUsage).value, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(middle_key.public_key()), critical=False)
        .add_extension(key_identifier_of(root), critical=False)
    )
    if zone:
        builder = builder.add_extension(x509.NameConstraints([x509.DNSName(zone)], None), critical=True)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    middle = builder.sign(root_key, hashes.SHA256())
    certificate = make_intermediate(
        middle,
        middle_key,
        key.public_key(),
        common_name="Issuing",
        permitted_dns=("corp.example", "other.example"),
        not_before=begins,
        not_after=min(ends, middle.not_valid_after_utc),
    )
    return Issuer("test", certificate, (middle,), root, key)


def test_three_levels_verify(tmp_path: Path) -> None:
    issuer = three_levels()
    certificate = issuer.issue(request(*dns("a.other.example"), profile="workload-1h"))
    assert openssl_verify(tmp_path, issuer, certificate, "sslserver") == "leaf.pem: OK"
    assert openssl_verify(tmp_path, issuer, certificate, "sslclient") == "leaf.pem: OK"


def test_constraints_above_the_issuer_hold_for_every_leaf_not_for_the_first_alone() -> None:
    issuer = three_levels(zone="corp.example")
    issuer.issue(request(*dns("a.corp.example")))
    with pytest.raises(IssuanceError, match="name constraints"):
        issuer.issue(request(*dns("a.other.example")))
    issuer.issue(request(*dns("b.corp.example")))


def test_a_chain_that_is_good_for_clients_is_not_taken_to_be_good_for_servers() -> None:
    issuer = three_levels(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    issuer.issue(request(*dns("a.corp.example"), profile="client-1h"))
    for profile in ("server-1h", "workload-1h"):
        with pytest.raises(IssuanceError, match="does not verify"):
            issuer.issue(request(*dns("a.corp.example"), profile=profile))


def test_a_leaf_never_outlives_anything_above_it() -> None:
    issuer = three_levels(upper_days=1)
    asked = request(*dns("a.corp.example"), not_before=issuer.ends_at - timedelta(minutes=59))
    assert issuer.issue(replace(asked, not_after=issuer.ends_at))
    with pytest.raises(IssuanceError, match="would outlive"):
        issuer.issue(replace(asked, not_after=issuer.ends_at + timedelta(seconds=1)))
