"""`acme-ca workload`: bindings listed and revoked, a workload admitted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from acme_ca.clock import now
from acme_ca.config import load
from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models.binding import Binding
from acme_ca.models.owner import claim_evidence
from acme_ca.workload import Proof
from tests.support import machines

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `acme-ca workload` on a new CA that believes a platform."""
    path = machines.make(tmp_path)
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
    assert ended.output == "1 binding ended.\n"
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


def test_no_value_of_a_list_is_cut(run: Run) -> None:
    """Each row is a line of its own where no terminal limits it, and can be copied from."""
    made = json.loads(admit(run, "claims.json", "--json").output)
    lines = run("list", "--environment", "prod").output.splitlines()
    assert len(lines) == 2
    assert lines[0].split()[:2] == ["binding", "workload"]
    assert made["binding"] in lines[1].split()
    assert "spiffe://prod.localhost/machine/m1" in lines[1].split()


def test_an_empty_list_says_so(run: Run) -> None:
    assert run("list", "--environment", "prod").output == "There are no bindings in environment prod that stand.\n"
    assert run("list", "--environment", "prod", "--all").output == "There are no bindings in environment prod.\n"


@pytest.mark.parametrize("chosen", [(), ("--rule", "a", "--provider", "b"), ("--subject", ""), ("--nonsense", "a")])
@pytest.mark.parametrize("verb", ["revoke", "release"])
def test_one_thing_is_chosen_at_a_time(run: Run, verb: str, chosen: tuple[str, ...]) -> None:
    reason = ("--reason", "x") if verb == "revoke" else ()
    assert run(verb, "--environment", "prod", *reason, *chosen).exit_code == 2


@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", " ")])
def test_bindings_are_not_ended_without_a_reason(run: Run, reason: tuple[str, ...]) -> None:
    admit(run)
    assert run("revoke", "--environment", "prod", "--subject", "m1", *reason).exit_code == 2
    assert "m1" in run("list", "--environment", "prod").output


def test_several_bindings_are_counted(run: Run) -> None:
    for _ in range(2):
        admit(run)
    ended = run("revoke", "--environment", "prod", "--rule", "machines", "--reason", "gone")
    assert ended.output == "2 bindings ended.\n"


@pytest.mark.parametrize(("verb", "reason"), [("revoke", ("--reason", "x")), ("release", ())])
def test_what_finds_nothing_is_told_so(run: Run, verb: str, reason: tuple[str, ...]) -> None:
    for more in ((), ("--json",)):
        result = run(verb, "--environment", "prod", "--subject", "m2", *reason, *more)
        assert result.exit_code == 1
        assert "with subject m2" in result.output


def test_an_instance_is_released_once(run: Run, tmp_path: Path) -> None:
    made = json.loads(admit(run, "claims.json", "--json").output)
    database = Database(load(tmp_path / "acme-ca.toml").database.url)
    with database.write() as connection:  # as after an exchange with a token that has no bound audience
        binding = base.get(connection, Binding, made["binding"])
        assert binding is not None
        binding.mode, binding.instance = "affinity", "pod-1"
        base.update(connection, binding)
        claim_evidence(connection, "prod", Proof("jwt", "token"), binding.workload(), "lost", now())
    database.close()
    released = run("release", "--environment", "prod", "--binding", made["binding"])
    assert released.output == "1 instance released: the next account key that proves itself for one has it.\n"
    assert run("release", "--environment", "prod", "--binding", made["binding"]).exit_code == 1


def test_what_was_ended_is_told_to_scripts(run: Run) -> None:
    admit(run)
    ended = run("revoke", "--environment", "prod", "--provider", "ci", "--reason", "gone", "--json")
    assert json.loads(ended.output) == {"ended": 1}


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "1e300", "1e-300", "ten", ""])
def test_a_lifetime_is_a_number_of_minutes(run: Run, minutes: str) -> None:
    result = admit(run, "claims.json", "--minutes", minutes)
    assert result.exit_code == 2
    assert "expected a number of minutes" in result.output


def test_a_workload_has_a_subject(run: Run) -> None:
    names = ("--environment", "prod", "--provider", "ci", "--claims", "claims.json")
    assert run("admit", *names, "--subject", "").exit_code == 2


def test_an_environment_without_providers_admits_nobody(run: Run) -> None:
    names = ("--environment", "dev", "--provider", "ci", "--subject", "m1", "--claims", "claims.json")
    result = run("admit", *names)
    assert result.exit_code == 1
    assert "no provider" in result.output
