"""`acme-ca workload`: bindings listed and revoked, a workload admitted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from tests.support.ca import make_ca_files

Run = Callable[..., Result]

SETTINGS = """
trust_domain = "prod.localhost"
provider = [{ type = "oidc", name = "ci", issuer = "https://ci.example" }]

[[environment.prod.workload]]
name = "machines"
provider = "ci"
match = { rack = "r1" }
spiffe = { id = "spiffe://prod.localhost/machine/${sub}", add = "always" }
dns = ["${sub}.prod.localhost"]
profiles = ["workload-1h"]
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `acme-ca workload` on a new CA that believes a platform."""
    path = make_ca_files(tmp_path)
    place = "[environment.prod]\n"
    text = path.read_text()
    assert place in text
    first, _, rest = SETTINGS.strip().partition("\n\n")
    path.write_text(text.replace(place, place + first + "\n") + "\n" + rest + "\n")
    (tmp_path / "claims.json").write_text('{"rack": "r1"}')
    (tmp_path / "other.json").write_text('{"rack": "r2"}')
    (tmp_path / "wrong.json").write_text("[")
    (tmp_path / "list.json").write_text("[]")

    def invoke(verb: str, *arguments: str) -> Result:
        words = [str(tmp_path / word) if word.endswith(".json") else word for word in arguments]
        return CliRunner().invoke(cli, ["workload", verb, "--config", str(path), *words])

    return invoke


def admit(run: Run, claims: str = "claims.json", *more: str) -> Result:
    names = ("--environment", "prod", "--provider", "ci", "--subject", "m1")
    return run("admit", *names, "--claims", claims, *more)


def test_a_workload_is_admitted_listed_and_revoked(run: Run) -> None:
    made = json.loads(admit(run, "claims.json", "--json").output)
    assert made["identity"] == {"spiffe_id": "spiffe://prod.localhost/machine/m1", "dns": ["m1.prod.localhost"]}
    assert len(made["hmac_key"]) == 43
    (row,) = json.loads(run("list", "--environment", "prod", "--json").output)
    assert (row["id"], row["subject"], row["rule"], row["status"]) == (made["binding"], "m1", "machines", "live")
    assert made["hmac_key"] not in run("list", "--environment", "prod", "--all").output
    ended = run("revoke", "--environment", "prod", "--subject", "m1", "--reason", "gone")
    assert ended.output == "1 binding(s) ended.\n"
    assert json.loads(run("list", "--environment", "prod", "--json").output) == []
    (row,) = json.loads(run("list", "--environment", "prod", "--all", "--json").output)
    assert (row["status"], row["reason"]) == ("revoked", "gone")


def test_the_key_is_shown_with_a_command_for_certbot(run: Run) -> None:
    output = admit(run).output
    assert "spiffe://prod.localhost/machine/m1" in output
    assert "--eab-kid wk_" in output


@pytest.mark.parametrize(
    ("claims", "expected"),
    [("other.json", "rack is"), ("wrong.json", "is not JSON"), ("list.json", "is not a JSON object")],
)
def test_what_policy_does_not_grant_is_refused(run: Run, claims: str, expected: str) -> None:
    result = admit(run, claims)
    assert result.exit_code == 1
    assert expected in result.output


@pytest.mark.parametrize("chosen", [(), ("--rule", "a", "--provider", "b")])
def test_one_thing_is_revoked_at_a_time(run: Run, chosen: tuple[str, ...]) -> None:
    assert run("revoke", "--environment", "prod", "--reason", "x", *chosen).exit_code == 2


def test_an_environment_without_providers_admits_nobody(run: Run) -> None:
    names = ("--environment", "dev", "--provider", "ci", "--subject", "m1", "--claims", "claims.json")
    result = run("admit", *names)
    assert result.exit_code == 1
    assert "no provider" in result.output
