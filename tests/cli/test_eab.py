"""`acme-ca eab`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from tests.support.ca import make_ca_files

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `acme-ca eab` on a new CA."""
    path = make_ca_files(tmp_path)

    def invoke(verb: str, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["eab", verb, "--config", str(path), *arguments])

    return invoke


def test_key_is_made_listed_and_revoked(run: Run) -> None:
    made = json.loads(run("create", "--environment", "prod", "--label", "team-a", "--hours", "2", "--json").output)
    assert made["directory"] == "https://localhost:8443/acme/prod/directory"
    assert len(made["mac_key"]) == 43
    listed = json.loads(run("list", "--environment", "prod", "--json").output)
    assert [(row["kid"], row["label"], row["status"]) for row in listed] == [(made["kid"], "team-a", "usable")]
    assert made["mac_key"] not in run("list", "--environment", "prod").output
    assert (
        "0 accounts that it had bound ended"
        in run("revoke", "--environment", "prod", "--keep-accounts", made["kid"]).output
    )
    assert run("revoke", "--environment", "prod", made["kid"]).exit_code == 0
    assert json.loads(run("list", "--environment", "prod", "--json").output)[0]["status"] == "revoked"


def test_unknown_environment_and_key_are_refused(run: Run) -> None:
    result = run("create", "--environment", "nowhere")
    assert result.exit_code == 1
    assert "dev, test, prod" in result.output
    result = run("revoke", "--environment", "prod", "nothing")
    assert result.exit_code == 1
    assert "nothing" in result.output


def test_a_list_without_keys_says_so(run: Run) -> None:
    assert run("list", "--environment", "prod").output == "There are no keys in environment prod.\n"


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1e300", "ten"])
def test_a_lifetime_is_a_number_of_hours(run: Run, hours: str) -> None:
    result = run("create", "--environment", "prod", "--hours", hours)
    assert result.exit_code == 2
    assert "expected a number of hours" in result.output


def test_made_key_is_shown_with_client_commands(run: Run) -> None:
    output = run("create", "--environment", "dev").output
    assert "--eab-kid" in output
    assert "https://localhost:8443/acme/dev/directory" in output


def test_keys_for_some_names_profiles_and_accounts_are_listed_so(run: Run) -> None:
    bounds = ("--name", ".a.prod.localhost", "--network", "127.0.0.0/8", "--profile", "server-8h", "--uses", "3")
    assert run("create", "--environment", "prod", *bounds).exit_code == 0
    (row,) = json.loads(run("list", "--environment", "prod", "--json").output)
    assert row["scope"] == {"dns": [".a.prod.localhost"], "ip": ["127.0.0.0/8"], "profiles": ["server-8h"]}
    assert (row["reusable"], row["uses_left"]) == (True, 3)
    table = run("list", "--environment", "prod").output
    assert "3 more" in table
    assert ".a.prod.localhost, 127.0.0.0/8, server-8h" in " ".join(table.split())


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--name", "a.*.b"), "asterisk"),
        (("--network", "127.0.0.1/8"), "scope.ip.0: expected a network such as 10.0.0.0/8"),
        (("--profile", "nothing"), "server-1h"),
        (("--uses", "2", "--reusable"), "leave one of them out"),
    ],
    ids=str,
)
def test_bounds_that_cannot_be_are_refused(run: Run, option: tuple[str, ...], told: str) -> None:
    result = run("create", "--environment", "prod", *option)
    assert result.exit_code == 1
    assert told in result.output


def test_revoking_with_certificates_tells_of_them(run: Run) -> None:
    kid = json.loads(run("create", "--environment", "prod", "--json").output)["kid"]
    assert (
        "0 certificates would be revoked"
        in run("revoke", "--environment", "prod", kid, "--dry-run", "--revoke", "superseded").output
    )
    output = run("revoke", "--environment", "prod", kid, "--revoke", "superseded").output
    assert "is about 0 certificates (superseded)" in output
