"""Leafs: each extension and whether it is critical, fields from the request alone, and an end before their issuers'."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_ca.identifiers import Identifier
from acme_ca.pki import leaf
from acme_ca.pki.ca import make_intermediate, make_root
from acme_ca.pki.issuer import MARGIN, Issuer
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import BUILTIN, Profile
from acme_ca.pki.signing import hash_for, new_serial
from acme_ca.pki.validity import validity
from acme_ca.problems import Malformed
from tests.pki.conftest import NOW, Authority

NAME = Identifier("dns", "a.corp.example")
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
NAMED = BUILTIN["server-1h"].model_copy(update={"subject": "common-name"})
ISSUER_URL, CRL_URL = "http://ca.example/i.crt", "http://ca.example/1.crl"

COMMON = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: False,
}
NAMES, NO_REVOCATION = ExtensionOID.SUBJECT_ALTERNATIVE_NAME, leaf.NO_REVOCATION.oid


def request(profile: Profile = BUILTIN["server-1h"], **changes: Any) -> LeafRequest:  # noqa: ANN401 - its fields
    start, end = validity(profile, NOW)
    plain = LeafRequest(
        identifiers=(NAME,),
        uris=(),
        public_key=KEY,
        profile=profile,
        serial=new_serial(),
        not_before=start,
        not_after=end,
    )
    return replace(plain, **changes)


def signed(ca: Authority, asked: LeafRequest, issuer_url: str | None = ISSUER_URL) -> x509.Certificate:
    return leaf.builder(asked, ca.certificate, issuer_url, CRL_URL).sign(ca.key, hash_for(ca.key))


@pytest.mark.parametrize(
    ("asked", "further"),
    [
        (request(), {NAMES: True, NO_REVOCATION: False}),
        (request(NAMED), {NAMES: False, NO_REVOCATION: False}),
        (request(NAMED, identifiers=(Identifier("ip", "10.0.0.1"),)), {NAMES: True, NO_REVOCATION: False}),
        (request(BUILTIN["server-7d"]), {NAMES: True, ExtensionOID.CRL_DISTRIBUTION_POINTS: False}),
        (request(BUILTIN["workload-1h"], uris=("spiffe://corp.example/a",)), {NAMES: True, NO_REVOCATION: False}),
    ],
    ids=["empty subject", "common name", "address without a common name", "revocable", "workload"],
)
def test_extensions_are_these_and_so_critical(
    ca: Authority, asked: LeafRequest, further: dict[x509.ObjectIdentifier, bool]
) -> None:
    found = {extension.oid: extension.critical for extension in signed(ca, asked).extensions}
    assert found == COMMON | further


def test_values_point_at_the_issuer(ca: Authority) -> None:
    certificate = signed(ca, request(BUILTIN["server-7d"]))
    extensions = certificate.extensions
    above = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert certificate.issuer == ca.certificate.subject
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert (authority.key_identifier, authority.authority_cert_issuer) == (above.digest, None)
    access = list(extensions.get_extension_for_class(x509.AuthorityInformationAccess).value)
    assert [one.access_location.value for one in access] == [ISSUER_URL]
    points = list(extensions.get_extension_for_class(x509.CRLDistributionPoints).value)
    assert [[name.value for name in point.full_name or ()] for point in points] == [[CRL_URL]]
    bare = signed(ca, request(), issuer_url=None).extensions
    assert ExtensionOID.AUTHORITY_INFORMATION_ACCESS not in {extension.oid for extension in bare}


def test_fields_are_the_requests(ca: Authority) -> None:
    asked = request(identifiers=(NAME, Identifier("ip", "fd00::1"), Identifier("dns", "*.corp.example")))
    certificate = signed(ca, asked)
    assert certificate.version == x509.Version.v3
    assert certificate.serial_number == asked.serial
    assert certificate.public_key() == asked.public_key
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (asked.not_before, asked.not_after)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["a.corp.example", "fd00::1", "*.corp.example"]


# --- years of issuing: a root of ten years, and each two years an issuer of three ---

BIRTH = datetime(2030, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


def _succession() -> list[Issuer]:
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = make_root(root_key, common_name="Root", organization="Acme", not_before=BIRTH, not_after=BIRTH + 10 * YEAR)
    issuers = []
    for number in range(5):
        key, begins = ec.generate_private_key(ec.SECP256R1()), BIRTH + 2 * number * YEAR
        certificate = make_intermediate(
            root,
            root_key,
            key.public_key(),
            common_name=f"Issuing CA {number}",
            permitted_dns=("corp.example",),
            not_before=begins,
            not_after=min(begins + 3 * YEAR, root.not_valid_after_utc),
        )
        issuers.append(Issuer(f"i{number}", certificate, (), root, key, issuer_url=ISSUER_URL, crl_url=CRL_URL))
    return issuers


SUCCESSION = _succession()
moments = st.datetimes((BIRTH - YEAR).replace(tzinfo=None), (BIRTH + 12 * YEAR).replace(tzinfo=None))
edges = st.sampled_from([issuer.certificate.not_valid_after_utc for issuer in SUCCESSION])
near_an_end = st.builds(lambda edge, before: edge - timedelta(seconds=before), edges, st.integers(-600, 8 * 86_400))


@settings(deadline=None, max_examples=200)
@given(
    now=moments.map(lambda moment: moment.replace(tzinfo=UTC)) | near_an_end,
    profile=st.sampled_from(list(BUILTIN.values())),
    wish=st.none() | st.timedeltas(timedelta(0), timedelta(days=8)),
)
def test_no_leaf_of_any_year_outlives_an_issuer(now: datetime, profile: Profile, wish: timedelta | None) -> None:
    try:
        start, end = validity(profile, now, not_after=now + wish if wish is not None else None)
    except Malformed:
        return
    asked = request(profile, not_before=start, not_after=end)
    signing = [issuer for issuer in SUCCESSION if issuer.can_sign(now, end - now)]
    for issuer in signing:
        certificate = issuer.issue(asked)
        for above in (issuer.certificate, issuer.root):
            assert certificate.not_valid_after_utc <= above.not_valid_after_utc - MARGIN
            assert above.not_valid_before_utc <= now
    if BIRTH + YEAR < now < BIRTH + 8 * YEAR:
        assert signing  # with an issuer each two years there is never a gap
