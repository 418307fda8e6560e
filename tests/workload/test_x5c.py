"""Certificates of a bootstrap CA: which chains are believed, and what a machine is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from pydantic import ValidationError

from acme_ca.workload.base import Expected, Proof, Workload
from acme_ca.workload.x5c import X5c
from tests.support.jws import shared_key
from tests.support.pop import Authority, Holder, distinguished, now, usage, write_pem
from tests.workload.proofs import (
    EXPECTED,
    JSON,
    KEY_AUTHORIZATION,
    OF_ANOTHER_ACCOUNT,
    OF_ANOTHER_ENVIRONMENT,
    OF_NOBODY,
    URL,
    refused,
)

ROOT = Authority.root("bootstrap root", 10)
ISSUING = ROOT.below("issuing", 11)
STRANGER = Authority.root("stranger", 12)
NAMESAKE = Authority.root("bootstrap root", 13)  # the same name, another key
HOST = x509.DNSName("host.corp.example")


@pytest.fixture
def provider(tmp_path: Path) -> X5c:
    write_pem(tmp_path / "ca.pem", ROOT.certificate)
    return X5c.model_validate({"name": "bootstrap", "ca_file": "ca.pem"}, context={"folder": tmp_path})


def proof_of(holder: Holder, url: str = URL, provider: str | None = None) -> Proof:
    return Proof("x5c", holder.sign(url, KEY_AUTHORIZATION), provider)


def verify(provider: X5c, holder: Holder, expected: Expected = EXPECTED) -> Workload:
    return provider.verify(proof_of(holder), expected, now())


def test_a_machine_is_what_its_certificate_says(provider: X5c) -> None:
    subject = distinguished("pay", (NameOID.ORGANIZATION_NAME, "Corp"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "Ops"))
    names = (HOST, x509.IPAddress(ip_address("10.0.0.7")), x509.RFC822Name("ops@corp.example"))
    holder = ISSUING.leaf(*names, subject=subject, serial=0xBEEF)

    found = verify(provider, holder)

    assert found.provider == "bootstrap"
    assert found.issuer == "CN=bootstrap root"
    assert found.subject == "x5c:OU=Ops,O=Corp,CN=pay;dns=host.corp.example;ip=10.0.0.7;mail=ops@corp.example"
    assert found.claims == {
        "common_name": "pay",
        "organization": "Corp",
        "organizational_unit": ["Ops"],
        "dns": ["host.corp.example"],
        "uri": [],
        "ip": ["10.0.0.7"],
        "mail": ["ops@corp.example"],
        "serial": "beef",
        "issuing_ca": "CN=issuing",
    }
    assert found.mode == "required"
    assert found.instance == "beef"
    assert found.token_id is None
    assert found.expires_at == holder.certificate.not_valid_after_utc
    assert any("CN=bootstrap root" in check for check in found.checks)


def test_a_certificate_with_exactly_one_uri_is_that_uri(provider: X5c) -> None:
    uri = x509.UniformResourceIdentifier("spiffe://boot.example/host/7")

    assert verify(provider, ISSUING.leaf(uri, HOST)).subject == "x5c:spiffe://boot.example/host/7"


def test_certificates_of_one_machine_have_one_subject_in_whatever_order_their_names_are(provider: X5c) -> None:
    more = x509.DNSName("a.corp.example")

    found = [verify(provider, ISSUING.leaf(*names)) for names in ((HOST, more), (more, HOST))]

    assert found[0].subject == found[1].subject
    assert found[0].instance != found[1].instance


def test_no_two_sets_of_names_make_one_subject(provider: X5c) -> None:
    uris = [x509.UniformResourceIdentifier(f"urn:{text}") for text in ("x", "a;dns=b", "a%3Bdns=b", "a")]
    cases = [
        ((), "workload;dns=b"),
        ((x509.DNSName("b"),), "workload"),
        ((uris[0], uris[1]), "workload"),
        ((uris[0], uris[2]), "workload"),
        ((uris[0], uris[3], x509.DNSName("b")), "workload"),
        ((uris[0],), "workload"),
        ((), "urn:x"),
    ]

    found = {verify(provider, ROOT.leaf(*names, subject=distinguished(name))).subject for names, name in cases}

    assert len(found) == len(cases)


def test_a_name_that_is_there_twice_is_no_claim(provider: X5c) -> None:
    subject = distinguished("one", (NameOID.COMMON_NAME, "two"))

    assert "common_name" not in verify(provider, ROOT.leaf(subject=subject)).claims


def test_a_leaf_alone_is_enough_where_the_intermediates_are_configured(provider: X5c, tmp_path: Path) -> None:
    alone = replace(leaf := ISSUING.leaf(HOST), chain=leaf.chain[:1])
    below = write_pem(tmp_path / "below.pem", ISSUING.certificate)
    knowing = provider.model_copy(update={"name": "knowing", "intermediates_file": below})

    assert verify(knowing, alone).issuer == "CN=bootstrap root"
    assert knowing.claims_proof(proof_of(alone))
    assert not provider.claims_proof(proof_of(alone))
    code, detail = refused(lambda: verify(provider, alone))
    assert code == "issuer_untrusted"
    assert "send all intermediates" in detail


def test_a_serial_number_can_be_made_to_count_once(provider: X5c) -> None:
    once = provider.model_copy(update={"single_use_serial": True})

    assert verify(once, ROOT.leaf(serial=0xABC)).token_id == "abc"


@pytest.mark.parametrize(
    ("named", "authority", "claims"),
    [
        (None, ROOT, {True}),
        (None, ISSUING, {True}),
        (None, STRANGER, {False}),
        ("bootstrap", STRANGER, {True}),
        ("another", ROOT, {False}),
    ],
)
def test_a_proof_is_claimed_by_name_or_by_its_issuer(
    provider: X5c, named: str | None, authority: Authority, claims: set[bool]
) -> None:
    assert {provider.claims_proof(proof_of(authority.leaf(HOST), provider=named))} == claims


def constrained(*names: x509.GeneralName) -> Authority:
    return ROOT.below("constrained", 14, x509.NameConstraints(permitted_subtrees=list(names), excluded_subtrees=None))


def late(seconds: int, length: int = 3600) -> Holder:
    return ROOT.leaf(HOST, begin=now() + timedelta(seconds=seconds), seconds=length)


URI = x509.UniformResourceIdentifier("spiffe://boot.example/host/7")
REFUSED: dict[str, tuple[Callable[[], Holder], str, str]] = {
    "root unknown": (lambda: STRANGER.leaf(HOST), "issuer_untrusted", "no path leads from its issuer"),
    "root of the same name": (lambda: NAMESAKE.leaf(HOST), "issuer_untrusted", "bootstrap"),
    "root sent along": (
        lambda: replace(leaf := STRANGER.leaf(HOST), chain=(*leaf.chain, STRANGER.certificate)),
        "issuer_untrusted",
        "bootstrap",
    ),
    "intermediate of another": (
        lambda: replace(leaf := STRANGER.leaf(HOST), chain=(*leaf.chain, ISSUING.certificate)),
        "issuer_untrusted",
        "bootstrap",
    ),
    "leaf that issued": (
        lambda: Authority((host := ROOT.leaf(HOST)).key, host.certificate, host.chain).leaf(HOST),
        "issuer_untrusted",
        "bootstrap",
    ),
    "URI name constraints": (
        lambda: constrained(x509.UniformResourceIdentifier("boot.example")).leaf(URI),
        "issuer_untrusted",
        "constrains the names of URIs",
    ),
    "outside of DNS name constraints": (
        lambda: constrained(x509.DNSName("other.example")).leaf(HOST),
        "issuer_untrusted",
        "bootstrap",
    ),
    "expired": (lambda: late(-3601), "token_expired", "expired at"),
    "not yet valid": (lambda: late(120), "token_not_yet_valid", "is valid from"),
    "a CA": (lambda: ROOT.leaf(HOST, ca=True), "evidence_malformed", "that of a CA"),
    "the intermediate itself": (
        lambda: Holder(ISSUING.key, (ISSUING.certificate,)),
        "evidence_malformed",
        "that of a CA",
    ),
    "the root itself": (lambda: Holder(ROOT.key, (ROOT.certificate,)), "evidence_malformed", "that of a CA"),
    "not for signatures": (
        lambda: ROOT.leaf(HOST, key_usage=usage(digital_signature=False)),
        "evidence_malformed",
        "not for signatures",
    ),
    "for certificates": (
        lambda: ROOT.leaf(HOST, key_usage=usage(digital_signature=True, signs_certificates=True)),
        "evidence_malformed",
        "not for signatures",
    ),
    "no names": (lambda: ROOT.leaf(subject=distinguished(None)), "evidence_malformed", "neither a subject nor"),
    "name that is none": (lambda: ROOT.leaf(x509.DNSName("a;dns=b")), "evidence_malformed", "which is no name"),
    "URI that is none": (
        lambda: ROOT.leaf(x509.UniformResourceIdentifier("CN=admin")),
        "evidence_malformed",
        "which is no name",
    ),
    "line break in a name": (
        lambda: ROOT.leaf(HOST, subject=distinguished("a\nb")),
        "evidence_malformed",
        "cannot be printed",
    ),
    "endless names": (
        lambda: ROOT.leaf(*(x509.DNSName(f"host-{n}.corp.example") for n in range(60))),
        "evidence_malformed",
        "more than 1024",
    ),
    "stolen leaf": (
        lambda: Holder(shared_key("ec-p256", 77), ROOT.leaf(HOST).chain),
        "signature_invalid",
        "not by the key",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_certificate_is_refused(provider: X5c, name: str) -> None:
    make, code, says = REFUSED[name]

    seen, detail = refused(lambda: verify(provider, make()))

    assert seen == code
    assert says in detail


def test_a_certificate_from_a_clock_that_is_ahead_is_accepted_within_the_leeway(provider: X5c) -> None:
    assert verify(provider, late(30)).subject.endswith("host.corp.example")


def test_a_certificate_that_is_made_for_too_long_is_refused(provider: X5c) -> None:
    strict = provider.model_copy(update={"max_lifetime": 3600})

    assert verify(strict, ROOT.leaf(HOST, seconds=3600))
    code, detail = refused(lambda: verify(strict, ROOT.leaf(HOST, seconds=3601)))
    assert code == "token_too_old"
    assert "3601 s" in detail


@pytest.mark.parametrize("purposes", [(), (ExtendedKeyUsageOID.SERVER_AUTH,), (ExtendedKeyUsageOID.CODE_SIGNING,)])
def test_an_extended_key_usage_can_be_required(provider: X5c, purposes: tuple[x509.ObjectIdentifier, ...]) -> None:
    strict = provider.model_copy(update={"required_eku": "clientAuth"})
    holder = ROOT.leaf(HOST, purposes=purposes)

    assert verify(provider, holder)
    assert verify(strict, ROOT.leaf(HOST, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)))
    assert refused(lambda: verify(strict, holder))[0] == "issuer_untrusted"


def test_a_stolen_proof_is_of_no_use(provider: X5c) -> None:
    proof = proof_of(ROOT.leaf(HOST))
    for other in (OF_ANOTHER_ACCOUNT, OF_ANOTHER_ENVIRONMENT, OF_NOBODY):
        assert refused(partial(provider.verify, proof, other, now()))[0] == "binding_mismatch"


def test_another_format_is_refused(provider: X5c) -> None:
    assert refused(lambda: provider.verify(Proof("jwt", "a.b.c"), EXPECTED, now()))[0] == "format_unsupported"


def test_roots_are_read_again_when_the_file_changes(provider: X5c) -> None:
    assert refused(lambda: verify(provider, STRANGER.leaf(HOST)))[0] == "issuer_untrusted"

    write_pem(provider.ca_file, STRANGER.certificate, ROOT.certificate)
    os.utime(provider.ca_file, ns=(1, 1))

    assert verify(provider, STRANGER.leaf(HOST)).issuer == "CN=stranger"
    assert verify(provider, ROOT.leaf(HOST)).issuer == "CN=bootstrap root"


def test_the_last_good_roots_go_on_when_the_file_breaks(provider: X5c) -> None:
    assert verify(provider, ROOT.leaf(HOST))

    provider.ca_file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="ascii")

    assert verify(provider, ROOT.leaf(HOST))


@pytest.mark.parametrize("content", [None, "a folder", b"", b"no PEM", b"\xff\xfe"])
def test_without_roots_the_client_may_come_again(tmp_path: Path, content: bytes | str | None) -> None:
    file = tmp_path / "ca.pem"
    if isinstance(content, str):
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    provider = X5c(name="bootstrap", ca_file=file)
    holder = ROOT.leaf(HOST)

    assert provider.claims_proof(proof_of(holder))
    code, detail = refused(lambda: verify(provider, holder))
    assert code == "provider_unavailable"
    assert str(file) in detail


@pytest.mark.parametrize(
    "settings",
    [{}, {"ca_file": "a", "binding": "affinity"}, {"ca_file": "a", "required_eku": "any"}, {"ca_file": "a", "x": 1}],
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        X5c.model_validate({"name": "bootstrap"} | settings)


@given(JSON)
def test_whatever_the_evidence_nothing_but_a_problem_is_raised(evidence: object) -> None:
    provider = X5c(name="bootstrap", ca_file=Path("/nowhere/ca.pem"))

    assert refused(lambda: provider.claims_proof(Proof("x5c", evidence)))[0] == "evidence_malformed"
    assert refused(lambda: provider.verify(Proof("x5c", evidence), EXPECTED, now()))[0] == "evidence_malformed"
