"""`acme-ca issuer distrust|distrusted|trust|unpublish`: what is asked, told and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from tests.support.two_issuers import make_two_issuers

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `acme-ca issuer` on a CA of two issuers that nobody serves."""
    path = make_two_issuers(tmp_path)

    def invoke(verb: str, *arguments: str, answer: str | None = None, noun: str = "issuer") -> Result:
        return CliRunner().invoke(cli, [noun, verb, *arguments, "--config", str(path)], input=answer)

    return invoke


def document(result: Result) -> Any:  # noqa: ANN401 - whatever JSON carries
    return json.loads(result.stdout)


def reminders(run: Run) -> list[str]:
    """What the doctor reminds of."""
    found = document(run("--json", "--environment", "test", noun="doctor"))["findings"]
    return [one["place"] for one in found if one["code"] == "ISS007"]


def test_it_is_asked_done_shown_and_taken_back(run: Run) -> None:
    assert "distrusts no issuer" in run("distrusted", "test").stdout
    wish = ("test/test-1", "--reason", "stolen", "--minutes", "15")
    told = run("distrust", *wish, "--dry-run").stdout
    assert "0 valid certificates of test/test-1 would be replaced within 15 minutes; test-2 would sign" in told
    asked = run("distrust", *wish, answer="n\n")
    assert (asked.exit_code, "within 15 minutes, test-2 signs?" in asked.stderr) == (1, True)
    assert "distrusts no issuer" in run("distrusted", "test").stdout
    done = run("distrust", *wish, answer="y\n")
    assert done.exit_code == 0, done.output
    assert "test/test-1 signs nothing any more" in done.stdout
    assert "acme-ca root sign-crl" in done.stdout
    (row,) = json.loads(run("distrusted", "test", "--json").stdout)
    assert (row["issuer"], row["reason"], row["spread"], row["others"]) == ("test-1", "stolen", 900, ["test-2"])
    assert "stolen" in run("distrusted", "test").stdout
    listed = {row["issuer"]: (row["stage"], row["signs"]) for row in document(run("list", "test", "--json"))["issuers"]}
    assert listed == {"test-1": ("distrusted", False), "test-2": ("active", True)}
    assert reminders(run) == ["issuer test/test-1"]
    assert f"serial {row['serial']}" in run("distrusted", "test/test-1").stdout
    assert "test/test-1 signs again" in run("trust", "test/test-1").stdout
    assert json.loads(run("distrusted", "test", "--json").stdout) == []
    assert reminders(run) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("distrust", "test-1", "--reason", "x", "--yes"), 2, "expected ENVIRONMENT/ISSUER"),
        (("distrust", "test/", "--reason", "x", "--yes"), 2, "expected ENVIRONMENT/ISSUER"),
        (("distrust", "test/test-1", "--yes"), 2, "Missing option '--reason'"),
        (("distrust", "test/none", "--reason", "x", "--yes"), 1, "there are test-1, test-2"),
        (("distrust", "none/test-1", "--reason", "x", "--yes"), 1, "there is no environment"),
        (("distrust", "prod/prod-1", "--reason", "x", "--yes"), 1, "503 until another issuer"),
        (("distrust", "test/test-1", "--reason", "x", "--unpublish", "--yes"), 1, "no trust domain"),
        (("distrusted", "test", "--wait"), 2, "--wait is for one ISSUER"),
        (("distrusted", "test/test-1"), 1, "distrusts no issuer"),
        (("trust", "test/test-1"), 1, "distrusts no issuer"),
        (("unpublish", "test/test-1"), 1, "distrusts no issuer"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    refused = run(*arguments)
    assert (refused.exit_code, words in refused.output) == (code, True), refused.output


def test_an_environment_can_be_left_without_an_issuer_by_force(run: Run) -> None:
    done = run("distrust", "prod/prod-1", "--reason", "x", "--force", "--yes")
    assert "until then orders are answered 503" in done.stdout
