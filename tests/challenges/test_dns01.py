"""dns-01 against a real DNS server. RFC 8555 §8.4."""

from __future__ import annotations

import pytest

from acme_ca.challenges.base import Attempt
from acme_ca.challenges.dns01 import Dns01
from acme_ca.problems import IncorrectResponse
from tests.challenges.contract import ChallengeContract, Site

NAME = "_acme-challenge.app.corp.example"


class TestContract(ChallengeContract):
    type = "dns-01"
    wildcards = True
    addresses = False

    def answer_rightly(self, site: Site, attempt: Attempt) -> None:
        site.zone.txt(NAME, attempt.digest)

    def answer_wrongly(self, site: Site, attempt: Attempt) -> None:
        site.zone.txt(NAME, attempt.key_authorization)

    def stay_silent(self, site: Site, attempt: Attempt) -> None:  # noqa: ARG002 - all names are silent
        site.zone.fail("silent")


def test_the_digest_is_that_of_the_rfc(site: Site) -> None:
    """Computed apart from this code: printf TOKEN.THUMBPRINT | openssl sha256 -binary | basenc --base64url."""
    assert site.attempt().digest == "xdGyW3wkNEjzUzdQf0VhJcAm_td9cXRd0t2VODwDsec"


def test_one_right_record_among_others_is_enough(site: Site) -> None:
    site.zone.txt(NAME, "old", site.attempt().digest, "v=spf1 -all")

    assert Dns01().validate(site.attempt()).summary == f"TXT record at {NAME}"


def test_a_wildcard_is_proved_at_its_base(site: Site) -> None:
    site.zone.txt("_acme-challenge.corp.example", site.attempt().digest)

    assert "_acme-challenge.corp.example" in Dns01().validate(site.attempt("*.corp.example")).summary


def test_an_alias_is_followed(site: Site) -> None:
    site.zone.set(NAME, "CNAME", "validation.other.example.")
    site.zone.txt("validation.other.example", site.attempt().digest)

    assert Dns01().validate(site.attempt()).summary == f"TXT record at {NAME}"


def test_the_detail_shows_what_was_seen_and_expected(site: Site) -> None:
    site.zone.txt(NAME, "one", "two\x07", "three", "four")

    with pytest.raises(IncorrectResponse) as refusal:
        Dns01().validate(site.attempt())

    assert r"4 TXT records" in refusal.value.detail
    assert r"'one', 'two\x07', 'three', …" in refusal.value.detail
    assert site.attempt().digest in refusal.value.detail
    assert f"127.0.0.1:{site.resolver.port}" in refusal.value.detail


def test_no_record_is_a_definite_answer(site: Site) -> None:
    with pytest.raises(IncorrectResponse, match=f"no TXT record at {NAME}"):
        Dns01().validate(site.attempt())


def test_the_digest_is_compared_as_a_whole(site: Site) -> None:
    site.zone.txt(NAME, site.attempt().digest[:-1], site.attempt().digest + "=", site.attempt().digest.lower())

    with pytest.raises(IncorrectResponse):
        Dns01().validate(site.attempt())
