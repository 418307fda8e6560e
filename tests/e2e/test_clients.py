"""Unmodified clients get, renew and revoke certificates: each client, each scenario that it knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e import checks
from tests.e2e.ca import Ca
from tests.e2e.registry import CLIENTS
from tests.e2e.scenario import SCENARIOS, Challenge, Client, Issued, Scenario, Wish
from tests.support.clients import FETCH

pytestmark = pytest.mark.timeout(FETCH + 120)  # the first test of a client may have to fetch and compile it

Home = Callable[[type[Client]], Client]


def clients_for(*scenarios: Scenario) -> pytest.MarkDecorator:
    """Run the test with each client that can, once for each scenario."""
    return pytest.mark.parametrize(
        ("kind", "scenario"),
        [
            pytest.param(kind, scenario, id=f"{kind.slug()}-{scenario}")
            for kind in CLIENTS
            for scenario in SCENARIOS
            if scenario in scenarios and scenario not in kind.cannot
        ],
    )


def name_for(kind: type[Client], scenario: Scenario, zone: str) -> str:
    return f"{scenario}.{kind.slug()}.{zone}"


def check(ca: Ca, issued: Issued, wish: Wish, folder: Path) -> None:
    checks.names_are(issued, wish.names)
    checks.chain_verifies(issued, ca.root, wish.names, folder)
    checks.shakes_hands(issued, ca.root, wish.names)


def ordinary(ca: Ca, kind: type[Client], scenario: Scenario, profile: str | None = None) -> Wish:
    return Wish((name_for(kind, scenario, ca.zone()),), kind.ordinary, profile)


@clients_for("http-01", "dns-01", "tls-alpn-01", "dns-persist-01")
def test_issues_by_challenge(ca: Ca, at_home: Home, kind: type[Client], scenario: Challenge, tmp_path: Path) -> None:
    kind.version()
    wish = Wish((name_for(kind, scenario, ca.zone()),), scenario)
    check(ca, at_home(kind).issue(wish), wish, tmp_path)


@clients_for("wildcard")
def test_issues_for_wildcard(ca: Ca, at_home: Home, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    kind.version()
    name = name_for(kind, scenario, ca.zone())
    wish = Wish((f"*.{name}", name), "dns-01")
    check(ca, at_home(kind).issue(wish), wish, tmp_path)


@clients_for("ip")
def test_issues_for_ip_address(ca: Ca, at_home: Home, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    del scenario
    kind.version()
    wish = Wish(("127.0.0.1",), kind.ordinary)
    check(ca, at_home(kind).issue(wish), wish, tmp_path)


@clients_for("profile")
def test_issues_by_profile(ca: Ca, at_home: Home, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    kind.version()
    wish = ordinary(ca, kind, scenario, "server-8h")
    issued = at_home(kind).issue(wish)
    check(ca, issued, wish, tmp_path)
    leaf = issued.leaf
    backdate = timedelta(minutes=1)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=8) + backdate


@clients_for("eab")
def test_binds_account(ca: Ca, new_home: Path, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    kind.version()
    client = kind(ca, new_home, ca.new_eab())
    wish = Wish((name_for(kind, scenario, ca.zone(bound=True)),), kind.ordinary)
    check(ca, client.issue(wish), wish, tmp_path)


@clients_for("renew")
def test_renews(ca: Ca, at_home: Home, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    kind.version()
    client, wish = at_home(kind), ordinary(ca, kind, scenario)
    before = client.issue(wish).serial
    renewed = client.renew(wish)
    check(ca, renewed, wish, tmp_path)
    assert renewed.serial != before


@clients_for("ari")
def test_renews_when_told(ca: Ca, at_home: Home, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    """A revoked certificate is to be renewed at once, says the CA; a fresh one is not, so it stays."""
    kind.version()
    client, wish = at_home(kind), ordinary(ca, kind, scenario, kind.ari_profile)
    issued = client.issue(wish)
    before = issued.serial
    assert checks.revoke_by_key(ca.directory, ca.root, issued.leaf, issued.key) is None
    renewed = client.renew_if_due(wish)
    check(ca, renewed, wish, tmp_path)
    assert renewed.serial != before
    if not kind.waits:
        assert client.renew_if_due(wish).serial == renewed.serial


@clients_for("revoke")
def test_revokes(ca: Ca, at_home: Home, kind: type[Client], scenario: Scenario) -> None:
    kind.version()
    client = at_home(kind)
    issued = client.issue(ordinary(ca, kind, scenario))
    leaf = issued.leaf  # some clients put a revoked certificate away
    client.revoke(issued)
    assert checks.revoke_by_key(ca.directory, ca.root, leaf, issued.key) == "alreadyRevoked"


@clients_for("rollover")
def test_changes_account_key(ca: Ca, new_home: Path, kind: type[Client], scenario: Scenario, tmp_path: Path) -> None:
    kind.version()
    client, wish = kind(ca, new_home), ordinary(ca, kind, scenario)
    client.issue(wish)
    changes = checks.audited(ca.database, "account.key_changed")
    client.roll_over()
    assert checks.audited(ca.database, "account.key_changed") == changes + 1
    check(ca, client.renew(wish), wish, tmp_path)


@clients_for("deactivate")
def test_deactivates_account(ca: Ca, new_home: Path, kind: type[Client], scenario: Scenario) -> None:
    kind.version()
    client = kind(ca, new_home)
    client.issue(ordinary(ca, kind, scenario))
    before = checks.audited(ca.database, "account.deactivated")
    client.deactivate()
    assert checks.audited(ca.database, "account.deactivated") == before + 1
