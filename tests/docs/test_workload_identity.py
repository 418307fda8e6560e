"""docs/workload-identity-00.md says what the code does: test vectors, errors, and the sections that code cites."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from acme_ca.workload import AnyProvider, Expected, refusal
from acme_ca.workload.base import MAX_EVIDENCE, WORKLOAD_CHALLENGE, BindingMode, Code, Format
from acme_ca.workload.jwt import MAX_TOKEN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "workload-identity-00.md").read_text()
CITATION = re.compile(r"workload-identity-00\.md((?:,? §[\d.]*\d)+)")


def vectors() -> list[dict[str, str]]:
    (block,) = re.findall(r"^```json test-vectors\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    found: list[dict[str, str]] = json.loads(block)
    return found


def section(number: str) -> str:
    """The text of a section, without what follows it."""
    found = re.search(rf"^#+ {re.escape(number)}\. .*?$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, number
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a section's tables, without backquotes."""
    found = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return [cells for cells in found if not cells[0].startswith("---")]


@pytest.mark.parametrize("vector", vectors())
def test_the_vectors_are_what_the_code_computes(vector: dict[str, str]) -> None:
    expected = Expected(vector["audience"], "https://ca.corp.example/", vector["key_authorization"])
    assert expected.bound_audience == vector["bound_audience"]
    assert vector["bound_audience"] == f"{vector['audience']}/{vector['digest']}"


def test_there_are_vectors_of_a_challenge_and_of_both_kinds_of_exchange() -> None:
    challenge, nonce, bound = (vector["key_authorization"] for vector in vectors())
    assert challenge.partition(".")[0] != nonce
    assert bound == f"{nonce}.{challenge.partition('.')[2]}"


def test_every_refusal_is_listed_with_its_type_and_status() -> None:
    listed = [tuple(cells[:3]) for cells in rows(section("7"))[1:]]
    problems = {code: refusal(code, "a detail") for code in get_args(Code)}
    assert listed == [(code, problem.type, str(problem.status)) for code, problem in problems.items()]


def test_every_mode_and_format_is_told() -> None:
    assert [cells[0] for cells in rows(section("3"))[1:]] == list(get_args(BindingMode))
    assert re.findall(r"^\*\*`([\w-]+)`\.\*\*", section("4.3"), re.MULTILINE) == list(get_args(Format))
    union, _ = get_args(AnyProvider)
    assert {form for provider in get_args(union) for form in provider.formats} == set(get_args(Format))


def test_its_limits_are_those_of_the_code() -> None:
    told = set(map(int, re.findall(r"at most (\d{4,}) ", PAGE)))
    assert told == {MAX_EVIDENCE, MAX_TOKEN}
    assert f"challenge `{WORKLOAD_CHALLENGE}`" in PAGE


def test_the_sections_that_code_cites_are_there() -> None:
    cited = {
        number.strip(", ")
        for file in (ROOT / "acme_ca").rglob("*.py")
        for found in CITATION.findall(file.read_text())
        for number in found.split("§")[1:]
    }
    assert cited, "no section is cited; the pattern is out of date"
    assert cited <= set(re.findall(r"^#+ ([\d.]*\d)\. ", PAGE, re.MULTILINE))
