"""CAA as real resolvers answer it. RFC 8659, RFC 8657."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.challenges import caa
from acme_ca.challenges.base import Unanswered
from acme_ca.challenges.issue_value import IssueValue
from acme_ca.identifiers import parse
from acme_ca.problems import Caa
from tests.challenges.contract import ACCOUNT_URL, CA, Site
from tests.support.dns import Fault

NAME = "app.corp.example"


def check(site: Site, value: str = NAME, type_: str = "dns", method: str = "http-01") -> str:
    return caa.check(site.network(), parse(type_, value), method, ACCOUNT_URL, (CA, "ca2.corp.example"))


def test_without_records_everything_is_permitted(site: Site) -> None:
    assert check(site) == "no CAA records from app.corp.example up to example"
    assert [name for name, _, _ in site.zone.queries] == [NAME, "corp.example", "example"]


@pytest.mark.parametrize(
    "record",
    [
        f'0 issue "{CA}"',
        f'128 issue "{CA}"',
        f'0 ISSUE "{CA.upper()}"',
        f'0 issue " {CA} "',
        f'0 issue "{CA};"',
        '0 issue "ca2.corp.example"',
        f'0 issue "{CA}; accounturi={ACCOUNT_URL}"',
        f'0 issue "{CA};\taccounturi = {ACCOUNT_URL} ; validationmethods=dns-01,http-01"',
        f'0 issue "{CA}; validationmethods=HTTP-01"',
        f'0 issue "{CA}; unknown=1; a=b"',
        '0 iodef "mailto:security@corp.example"',
        '0 issuewild ";"',
        '0 unknown "whatever"',
    ],
)
def test_these_records_permit(site: Site, record: str) -> None:
    site.zone.caa("corp.example", record)

    assert "corp.example" in check(site)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ('0 issue ";"', "expected ca.corp.example or"),
        ('0 issue ""', "expected"),
        ('0 issue "other.example"', "expected"),
        (f'0 issue "{CA}.other.example"', "expected"),
        (f'0 issue "{CA} extra"', "domain name"),
        (f'0 issue "{CA}; accounturi={ACCOUNT_URL}0"', "the account is"),
        (f'0 issue "{CA}; accounturi={ACCOUNT_URL}; accounturi={ACCOUNT_URL}"', "the account is"),
        (f'0 issue "{CA}; ACCOUNTURI=https://other.example/"', "the account is"),
        (f'0 issue "{CA}; validationmethods=dns-01"', "type is http-01"),
        (f'0 issue "{CA}; validationmethods=http-01; validationmethods=http-01"', "type is http-01"),
        (f'0 issue "{CA}; validationmethods="', "type is http-01"),
        (f'0 issue "{CA}; accounturi"', "tag=value"),
        (f'0 issue "{CA}; ; accounturi={ACCOUNT_URL}"', "tag=value"),
        (f'0 issue "{CA}; a_b=c"', "tag=value"),
        ('0 issue "-ca.corp.example"', "domain name"),
        ('0 issue "' + "a" * 5000 + '"', "too long"),
        ('128 unknown "whatever"', "unknown critical"),
    ],
)
def test_these_records_forbid(site: Site, record: str, why: str) -> None:
    site.zone.caa("corp.example", record)

    with pytest.raises(Caa, match=why) as refusal:
        check(site)

    assert "corp.example" in refusal.value.detail


def test_one_permission_among_others_is_enough(site: Site) -> None:
    site.zone.caa(NAME, '0 issue "other.example"', f'0 issue "{CA}"', '0 iodef "mailto:a@corp.example"')

    assert CA in check(site)


def test_an_unknown_critical_property_forbids_beside_a_permission(site: Site) -> None:
    site.zone.caa(NAME, f'0 issue "{CA}"', '128 future "x"')

    with pytest.raises(Caa, match="'future'"):
        check(site)


def test_the_records_nearest_to_the_name_decide(site: Site) -> None:
    site.zone.caa("corp.example", '0 issue ";"')
    site.zone.caa(NAME, f'0 issue "{CA}"')

    assert NAME in check(site)
    with pytest.raises(Caa):
        check(site, "other.corp.example")


def test_records_behind_an_alias_count(site: Site) -> None:
    site.zone.set(NAME, "CNAME", "host.other.example.")
    site.zone.caa("host.other.example", '0 issue ";"')

    with pytest.raises(Caa):
        check(site)


class TestWildcards:
    def test_issuewild_decides_if_there_is_any(self, site: Site) -> None:
        site.zone.caa("corp.example", f'0 issue "{CA}"', '0 issuewild ";"')

        assert check(site)
        with pytest.raises(Caa):
            check(site, "*.corp.example", method="dns-01")

    def test_issue_decides_otherwise(self, site: Site) -> None:
        site.zone.caa("corp.example", '0 issue ";"')

        with pytest.raises(Caa):
            check(site, "*.corp.example", method="dns-01")

    def test_the_asterisk_is_not_asked_for(self, site: Site) -> None:
        check(site, "*.corp.example", method="dns-01")

        assert site.zone.queries[0][0] == "corp.example"


@pytest.mark.parametrize("at", [NAME, "corp.example", "example"])
@pytest.mark.parametrize("fault", ["servfail", "refused", "garbage"])
def test_silence_is_no_permission(site: Site, at: str, fault: Fault) -> None:
    site.zone.caa("example", f'0 issue "{CA}"')
    site.zone.faults[at, "CAA"] = fault

    with pytest.raises(Unanswered, match=f"CAA {at}"):
        check(site)


@pytest.mark.parametrize(("value", "type_"), [("10.0.0.1", "ip"), ("fd00::1", "ip"), ("localhost", "dns")])
def test_addresses_and_localhost_have_none(site: Site, value: str, type_: str) -> None:
    assert check(site, value, type_) == f"CAA does not apply to {value}"
    assert not site.zone.queries


@given(st.text())
def test_no_issue_value_crashes(text: str) -> None:
    try:
        value = IssueValue.parse(text)
    except ValueError:
        return
    assert value.issuer == value.issuer.lower()
