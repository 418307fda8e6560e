"""The files around the code: what they name is there. No container engine is at hand, so that images are not built."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from acme_ca.cli import COMMANDS
from tests.support.tools import ROOT

LOCKS = ("scripts/requirements.lock", "deploy/requirements.lock")


def _names(text: str) -> set[str]:
    return {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def test_compose_runs_a_command_that_exists_in_an_image_that_can_be_built() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "ca"}
    ca = services["ca"]
    assert (ROOT / ca["build"]["context"] / ca["build"]["dockerfile"]).is_file()
    assert ca["command"][0] in COMMANDS


def test_the_image_copies_files_that_exist() -> None:
    containerfile = (ROOT / "deploy/Containerfile").read_text()
    sources = re.findall(r"^COPY (?!--from)(\S+) ", containerfile, re.MULTILINE)
    assert sources
    assert all((ROOT / source).exists() for source in sources)


def test_pre_commit_calls_a_script_that_exists() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert (ROOT / repository["hooks"][0]["entry"]).is_file()


def test_each_dependency_has_a_lower_bound_and_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["dependencies"], *project["optional-dependencies"].values()
    wanted = [requirement for group in groups for requirement in group]
    assert [one for one in wanted if ">=" not in one] == []
    names = {re.split(r"[\[>]", requirement)[0] for requirement in wanted}
    assert names - _names((ROOT / LOCKS[0]).read_text()) == set()


def test_a_server_runs_on_versions_that_are_tested() -> None:
    tested, served = ((ROOT / lock).read_text() for lock in LOCKS)
    pins = {
        lock: set(re.findall(r"^\S+==\S+", text, re.MULTILINE))
        for lock, text in zip(LOCKS, (tested, served), strict=True)
    }
    assert pins[LOCKS[1]] < pins[LOCKS[0]]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)


def test_each_listed_tool_has_its_place_and_package() -> None:
    lines = [line.split() for line in (ROOT / "scripts/tools.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(len(line) == 4 and set(line[0].split(",")) <= {"base", "hsm", "test"} for line in lines)


def test_the_readme_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\((\S+?)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
