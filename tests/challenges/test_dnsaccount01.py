"""dns-account-01: dns-01 at a name of the account's own. draft-ietf-acme-dns-account-label."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acme_ca.challenges.base import Attempt
from acme_ca.challenges.dnsaccount01 import DnsAccount01, account_label
from acme_ca.problems import IncorrectResponse
from tests.challenges.contract import ACCOUNT_URL, ChallengeContract, Site

NAME = f"{account_label(ACCOUNT_URL)}._acme-challenge.app.corp.example"


class TestContract(ChallengeContract):
    type = "dns-account-01"
    wildcards = True
    addresses = False

    def answer_rightly(self, site: Site, attempt: Attempt) -> None:
        site.zone.txt(NAME, attempt.digest)

    def answer_wrongly(self, site: Site, attempt: Attempt) -> None:
        site.zone.txt(NAME, attempt.token)

    def stay_silent(self, site: Site, attempt: Attempt) -> None:  # noqa: ARG002 - all names are silent
        site.zone.fail("silent")


def test_the_label_is_that_of_the_draft() -> None:
    assert account_label("https://example.com/acme/acct/ExampleAccount") == "_ujmmovf2vn55tgye"


def test_the_name_of_dns_01_or_of_another_account_proves_nothing(site: Site) -> None:
    site.zone.txt("_acme-challenge.app.corp.example", site.attempt().digest)
    site.zone.txt(NAME, site.attempt().digest)

    with pytest.raises(IncorrectResponse, match="no TXT record"):
        DnsAccount01().validate(replace(site.attempt(), account_url=ACCOUNT_URL + "1"))
