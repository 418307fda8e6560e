"""dns-persist-01: a TXT record that stays. draft-ietf-acme-dns-persist-02, and the form of -00 and -01."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from acme_ca.challenges.base import Attempt
from acme_ca.challenges.dnspersist01 import DnsPersist01, account_hash_prefix, hashed_uri
from acme_ca.problems import IncorrectResponse
from tests.challenges.contract import ACCOUNT_URL, CA, THUMBPRINT, ChallengeContract, Site

NAME = "_validation-persist.app.corp.example"
URI = f"accounturi={ACCOUNT_URL}"
HASHED = f"accounturi={hashed_uri(ACCOUNT_URL, THUMBPRINT, 'app.corp.example')}"
FUTURE = 4102444800  # 2100-01-01


class TestContract(ChallengeContract):
    type = "dns-persist-01"
    wildcards = True
    addresses = False

    def answer_rightly(self, site: Site, attempt: Attempt) -> None:
        site.zone.txt(NAME, f"{CA}; accounturi={attempt.account_url}")

    def answer_wrongly(self, site: Site, attempt: Attempt) -> None:
        site.zone.txt(NAME, f"{CA}; accounturi={attempt.account_url}1")

    def stay_silent(self, site: Site, attempt: Attempt) -> None:  # noqa: ARG002 - all names are silent
        site.zone.fail("silent")


@pytest.mark.parametrize(
    ("domain", "digest"),
    [
        ("example.com", "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"),
        ("*", "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"),
    ],
)
def test_the_hash_is_that_of_the_draft(domain: str, digest: str) -> None:
    """Section 10.2 of draft 02."""
    uri = hashed_uri("https://ca.example/acct/123", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", domain)

    assert uri == f"https://ca.example/acct-hash/sha-256/{digest}"


@pytest.mark.parametrize(
    "record",
    [
        f"{CA}; {URI}",
        f"{CA};{URI}",
        f"{CA.upper()}; {URI}; policy=wildcard",
        f"{CA}; {HASHED}",
        f"{CA}; accounturi={hashed_uri(ACCOUNT_URL, THUMBPRINT, '*')}",
        f"{CA}; unknown=1; {URI}",
        f"{CA}; {URI}; policy=something",
        f"{CA}; {URI}; persistUntil={FUTURE}",
        f"{CA}; {URI}; persistUntil={'9' * 20}",
    ],
)
def test_these_records_prove_control(site: Site, record: str) -> None:
    site.zone.txt(NAME, "v=spf1 -all", "other.example; accounturi=https://other.example/1", record)

    evidence = DnsPersist01().validate(site.attempt())

    assert evidence.records[0]["record"] == record


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (CA, "another account"),
        (f"{CA}; {URI}; {URI}", "another account"),
        (f"{CA}; {URI.upper()}", "another account"),
        (f"{CA}; {HASHED.swapcase()}", "another account"),
        (f"{CA}; {HASHED.replace('sha-256', 'sha-512')}", "another account"),
        (f"{CA}; accounturi={hashed_uri(ACCOUNT_URL, THUMBPRINT, 'corp.example')}", "another account"),
        (f"{CA}; accounturi={hashed_uri(ACCOUNT_URL, 'other', '*')}", "another account"),
        (f"{CA}; {URI}; persistUntil=1", "past its persistUntil"),
        (f"{CA}; {URI}; persistUntil=soon", "not one number"),
        (f"{CA}; {URI}; persistUntil=-1", "not one number"),
        (f"{CA}; {URI}; persistUntil={FUTURE}; persistUntil={FUTURE}", "not one number"),
        (f"other.example; {URI}", "none for"),
        (f"; {URI}", "none for"),
        (URI, "none for"),
    ],
)
def test_these_records_prove_nothing(site: Site, record: str, why: str) -> None:
    site.zone.txt(NAME, record)

    with pytest.raises(IncorrectResponse, match=why) as refusal:
        DnsPersist01().validate(site.attempt())

    assert f"{CA}; {URI}" in refusal.value.detail
    assert NAME in refusal.value.detail


def test_without_an_identity_of_the_ca_nothing_is_proved(site: Site) -> None:
    site.zone.txt(NAME, f"; {URI}")

    with pytest.raises(IncorrectResponse):
        DnsPersist01().validate(replace(site.attempt(), caa_identities=()))


class TestWildcards:
    @pytest.mark.parametrize("policy", ["wildcard", "WILDCARD"])
    def test_the_policy_permits_them(self, site: Site, policy: str) -> None:
        site.zone.txt("_validation-persist.corp.example", f"{CA}; {URI}; policy={policy}")

        assert DnsPersist01().validate(site.attempt("*.corp.example"))

    @pytest.mark.parametrize("policy", ["", "; policy=all", "; policy=wildcard; policy=all"])
    def test_nothing_else_does(self, site: Site, policy: str) -> None:
        site.zone.txt("_validation-persist.corp.example", f"{CA}; {URI}{policy}")

        with pytest.raises(IncorrectResponse, match="policy=wildcard"):
            DnsPersist01().validate(site.attempt("*.corp.example"))


def test_the_proof_ends_with_the_record_that_lasts_longest(site: Site) -> None:
    site.zone.txt(NAME, *(f"{CA}; {URI}; persistUntil={FUTURE + later}" for later in (0, 60, 30)))

    assert DnsPersist01().validate(site.attempt()).expires_at == datetime.fromtimestamp(FUTURE + 60, UTC)

    site.zone.txt(NAME, f"{CA}; {URI}; persistUntil={FUTURE}", f"{CA}; {URI}")

    assert DnsPersist01().validate(site.attempt()).expires_at is None


def test_the_challenge_object_tells_what_to_write() -> None:
    members = DnsPersist01().members(ACCOUNT_URL, tuple(f"{number}.example" for number in range(12)))

    assert members["accounturi"] == ACCOUNT_URL
    assert members["issuer-domain-names"] == members["issuerDomainNames"] == [f"{n}.example" for n in range(10)]
    assert account_hash_prefix(ACCOUNT_URL) == "https://ca.corp.example/acme/prod/account-hash/"
