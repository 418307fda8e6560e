"""`acme-ca policy show|history|diff|apply|rollback|explain|shadow`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from tests.support.ca import make_ca_files

Run = Callable[..., Result]

POLICY = """
# who gets what
[[rules]]
name = "no-db"
deny = true
dns = [".db.prod.localhost"]

[[rules]]
name = "all"
dns = [".prod.localhost"]
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `acme-ca policy` on a new CA that no server runs for."""
    path = make_ca_files(tmp_path)

    def invoke(verb: str, *arguments: str) -> Result:
        where = ("--config", str(path), "--environment", "prod")
        return CliRunner().invoke(cli, ["policy", *verb.split(), *where, *arguments])

    return invoke


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prod.toml"
    path.write_text(POLICY)
    return path


def test_a_file_is_applied_shown_and_brought_back(run: Run, file: Path, tmp_path: Path) -> None:
    assert "as its configuration file says" in run("show").stdout
    assert run("history").stdout == "The policy of environment prod has no versions yet.\n"
    assert run("diff", str(file)).exit_code == 1
    applied = run("apply", str(file), "--comment", "abc123")
    assert (applied.exit_code, applied.stdout.splitlines()[-1]) == (0, "Version 2 is in force."), applied.output
    assert "+ rule no-db: added" in applied.stdout
    assert run("apply", str(file)).stdout == "Unchanged: version 2 has these rules.\n"
    assert (run("diff", str(file)).exit_code, run("diff", "1", "2").exit_code) == (0, 1)
    shown = tmp_path / "shown.toml"
    shown.write_text(run("show").stdout)
    assert run("apply", str(shown)).stdout.startswith("Unchanged")
    assert json.loads(run("show", "--version", "2", "--json").stdout)["comment"] == "abc123"
    assert [row["number"] for row in json.loads(run("history", "--json").stdout)] == [2, 1]
    back = run("rollback", "1")
    assert back.stdout.splitlines()[-1] == "Version 3 is in force."
    assert run("rollback", "9").exit_code == 1


def test_json_is_the_same_document(run: Run, file: Path, tmp_path: Path) -> None:
    run("apply", str(file))
    path = tmp_path / "prod.json"
    path.write_text(json.dumps({"rules": json.loads(run("show", "--json").stdout)["rules"]}))
    assert run("apply", str(path)).stdout.startswith("Unchanged")


@pytest.mark.parametrize("verb", ["apply", "lint"])
@pytest.mark.parametrize(
    ("seen", "instead", "line", "reason"),
    [
        ('".prod.localhost"', '".example"', 10, "outside the zones"),
        ('name = "all"', 'name = "no-db"', 9, "two policy rules named 'no-db'"),
        ("deny = true", "denied = true", 5, "there is no such setting"),
        ("deny = true", 'deny = "yes"', 5, "boolean"),
        ("deny = true", "deny = ", 5, "not TOML"),
        ('name = "all"', 'name = "all"\ncondition = "accounts == 1"', 10, "no variable 'accounts'"),
        ('name = "all"', 'name = "all"\ncondition = "identifier.valu == \'x\'"', 10, "identifier has no 'valu'"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    run: Run, file: Path, verb: str, seen: str, instead: str, line: int, reason: str
) -> None:
    file.write_text(POLICY.replace(seen, instead))
    result = run(verb, str(file))
    assert result.exit_code == 1
    assert f"{file}:{line}:" in result.output
    assert reason in result.output


def test_a_rule_that_never_decides_is_warned_of(run: Run, file: Path) -> None:
    file.write_text(POLICY + '\n[[rules]]\nname = "late"\ndns = ["a.prod.localhost"]\n')
    result = run("lint", str(file))
    assert result.exit_code == 0
    assert f"{file}:12: rules[2]: rule 'late' never decides: rule 'all'" in result.output
    assert "3 rules, 1 warning" in result.output


def test_a_dry_run_tells_what_it_covered(run: Run, file: Path) -> None:
    result = run("apply", str(file), "--dry-run", "--hours", "2")
    assert result.exit_code == 0, result.output
    assert "0 certificates, 0 unfinished orders, 0 refused orders." in result.stdout
    assert "0 would now be denied" in result.stdout
    assert "as its configuration file says" in run("show").stdout


def test_why_not_is_told_with_the_next_step(run: Run, file: Path) -> None:
    run("apply", str(file))
    result = run("explain", "a.prod.localhost", "x.db.prod.localhost", "--label", "web")
    assert result.exit_code == 1
    assert "dns:a.prod.localhost: allowed\n  rule all allows\n" in result.stdout
    assert "  reason: rule no-db of environment prod denies dns:x.db.prod.localhost\n  next: leave " in result.stdout
    assert run("explain", "a.prod.localhost").exit_code == 0
    whole = run("explain", "a.prod.localhost", "--profile", "none")
    assert "The order as a whole is refused: profile 'none' is not offered" in whole.stdout
    assert run("explain").exit_code == 2


def test_a_shadow_is_started_reported_and_ended(run: Run, file: Path) -> None:
    assert run("shadow report").exit_code == 1
    assert run("apply", "--shadow", str(file)).stdout == "Version 1 is now in the shadow.\n"
    assert run("apply", "--shadow", str(file)).stdout == "Version 1 is already in the shadow.\n"
    assert "It would have decided nothing otherwise." in run("shadow report").stdout
    assert json.loads(run("shadow report", "--json").stdout)["running"]
    assert run("shadow end").stdout == "Version 1 in the shadow has ended.\n"
    assert run("shadow end").exit_code == 1
    assert run("apply", "--shadow", "--dry-run", str(file)).exit_code == 2


def test_cases_about_names_are_tried_on_a_file(run: Run, file: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases.toml"
    cases.write_text("""
[[case]]
name = "web"
names = ["a.prod.localhost"]
expect = { rule = "all" }

[[case]]
name = "databases"
names = ["x.db.prod.localhost", "a.prod.localhost"]
expect = { refused = "rule no-db" }

[[case]]
name = "wrong"
names = ["a.prod.localhost"]
expect = { refused = true }
""")
    result = run("test", "--policy", str(file), str(cases))
    assert result.exit_code == 1
    assert "pass  " in result.stdout
    assert f"FAIL  {cases}: wrong\n      refused: expected a refusal, all names are allowed\n" in result.stdout
    assert "2 of 3 cases pass." in result.stdout
    assert "FAIL" in run("test", str(cases)).stdout  # the configuration's own rules deny no databases


def test_another_policy_can_be_applied_where_none_can_be_read(run: Run, file: Path, tmp_path: Path) -> None:
    run("apply", str(file))
    with sqlite3.connect(next(tmp_path.rglob("*.db"))) as database:
        database.execute("""UPDATE versions SET document = '{"rules": [{"name": "x", "new": 1}]}' WHERE number = 2""")
    shown = run("show", "--json")
    assert shown.exit_code == 0, shown.output
    assert "cannot be read" in json.loads(shown.stdout)["comment"]
    assert run("history").exit_code == 0
    assert run("rollback", "2").exit_code == 1
    applied = run("apply", str(file))
    assert (applied.exit_code, applied.stdout.splitlines()[-1]) == (0, "Version 3 is in force."), applied.output
