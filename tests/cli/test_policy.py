"""`acme-ca policy`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from tests.support.ca import make_ca_files

Run = Callable[..., Result]

RULES = """
[[environment.prod.provider]]
type = "oidc"
name = "gh"
issuer = "https://token.actions.githubusercontent.com"

[[environment.prod.workload]]
name = "deploy"
provider = "gh"
match = { repository_id = "456789", environment = ["prod", "stage"], ref_protected = "true" }
spiffe = { id = "spiffe://prod.localhost/ci/${repository_id}", add = "always" }
dns = ["${repository_id}.ci.prod.localhost"]
lifetime = 900

[[environment.prod.workload]]
name = "others"
provider = "gh"
match = { repository_owner_id = { regex = "[0-9]+" } }
dns = ["${job}.ci.prod.localhost"]
"""
CLAIMS = {"repository_id": "456789", "environment": "prod", "ref_protected": "true", "repository_owner_id": "1"}
REFUSED = (
    "rule others of environment prod refuses workload 'repo:acme/pay' of provider gh: job is missing; for a DNS name "
    "it has to be one label: a string of at most 63 lower-case letters, digits and inner hyphens"
)
CASE: dict[str, Any] = {"provider": "gh", "subject": "repo:acme/pay", "claims": CLAIMS}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = make_ca_files(tmp_path)
    text = path.read_text().replace("[environment.prod]\n", '[environment.prod]\ntrust_domain = "prod.localhost"\n')
    path.write_text(text + RULES)
    return path


@pytest.fixture
def run(config: Path) -> Run:
    """Run `acme-ca policy` on a CA with rules for workloads."""

    def invoke(verb: str, *arguments: str) -> Result:
        where = () if verb == "lint" else ("--environment", "prod")
        return CliRunner().invoke(cli, ["policy", verb, "--config", str(config), *where, *arguments])

    return invoke


def case(folder: Path, *cases: Any, name: str = "case.json") -> str:  # noqa: ANN401 - cases of any kind, wrong ones too
    path = folder / name
    path.write_text(json.dumps(cases[0] if len(cases) == 1 else cases))
    return str(path)


def line_of(config: Path, text: str) -> int:
    return config.read_text().partition(text)[0].count("\n") + 1


# --- lint ---


def test_good_rules_are_called_good_without_the_keys(run: Run, config: Path) -> None:
    for key in (config.parent / "keys").glob("*.key"):
        key.unlink()
    result = run("lint")
    assert (result.exit_code, result.stdout) == (0, f"{config}: 3 rules, 2 rules for workloads, 0 warnings.\n")
    assert json.loads(run("lint", "--json").stdout) == {"ok": True, "mistakes": [], "warnings": []}


@pytest.mark.parametrize(
    ("seen", "instead", "setting", "reason"),
    [
        ('name = "others"', 'name = "deploy"', "workload[1].name", "two workload rules named 'deploy'"),
        ('provider = "gh"', 'provider = "github"', "workload[0].provider", "there is no provider 'github'"),
        (
            "spiffe://prod.localhost/",
            "spiffe://dev.localhost/",
            "workload[0].spiffe.id",
            "outside the environment's trust",
        ),
        (".ci.prod.localhost", ".ci.dev.localhost", "workload[0].dns[0]", "outside the zones"),
        ("${repository_id}.ci", "${repository_id|lower}.ci", "workload[0].dns[0]", "has the filter 'lower'"),
        ("ref_protected =", "ref.protected =", "workload[0].match.ref", "written in quotes"),
        ("[0-9]+", "([0-9]+)*", "workload[1].match.repository_owner_id.regex", "repeats a group"),
        ("lifetime = 900", "lifetimes = 900", "workload[0].lifetimes", "did you mean 'lifetime'?"),
        ('trust_domain = "prod.localhost"', "", "workload[0].spiffe", "has no trust_domain"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    run: Run, config: Path, seen: str, instead: str, setting: str, reason: str
) -> None:
    config.write_text(config.read_text().replace(seen, instead, 1))
    result = run("lint", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    found = {mistake["setting"]: mistake for mistake in document["mistakes"]}
    mistake = found[f"environment.prod.{setting}"]
    assert reason in mistake["mistake"]
    assert mistake["line"] > line_of(config, "[[environment.prod.provider]]")
    assert f"{config}:{mistake['line']}: environment.prod.{setting}: " in run("lint").stderr


def test_a_rule_that_never_decides_is_warned_of(run: Run, config: Path) -> None:
    late = RULES.partition("[[environment.prod.workload]]")[2].partition("[[environment.prod.workload]]")[0]
    config.write_text(f"{config.read_text()}\n[[environment.prod.workload]]{late.replace('deploy', 'late')}")
    result = run("lint")
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith(f"warning: {config}:{line_of(config, late.replace('deploy', 'late'))}: ")
    assert warning.endswith("rule 'late' never decides: rule 'deploy' before it matches all its workloads")
    (document,) = json.loads(run("lint", "--json").stdout)["warnings"]
    assert document["setting"] == "environment.prod.workload[2]"


def test_a_rule_whose_ids_no_profile_carries_is_warned_of(run: Run, config: Path) -> None:
    config.write_text(config.read_text().replace("lifetime = 900", 'profiles = ["server-1h", "server-8h"]'))
    result = run("lint")
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.endswith(
        "rule 'deploy' grants SPIFFE IDs, and no profile that it allows carries one: server-1h, server-8h"
    )


# --- test ---


def test_cases_pass(run: Run, tmp_path: Path) -> None:
    good = CASE | {
        "name": "a deployment",
        "expect": {
            "rule": "deploy",
            "spiffe_id": "spiffe://prod.localhost/ci/456789",
            "dns": ["456789.ci.prod.localhost"],
        },
    }
    refused = CASE | {"claims": CLAIMS | {"repository_id": "1"}, "expect": {"refused": "job is missing"}}
    nobody = CASE | {"claims": {}, "expect": {"refused": True}}
    granted = CASE | {"expect": {"refused": False}}
    path = case(tmp_path, good, refused, nobody, granted)
    result = run("test", "--claims", path)
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            f"pass  {path}: a deployment",
            f"pass  {path}: case 2",
            f"pass  {path}: case 3",
            f"pass  {path}: case 4",
            "4 of 4 cases pass.",
        ],
    )
    document = json.loads(run("test", path, "--json").stdout)
    assert document["ok"] is True
    assert document["cases"][0]["grant"]["spiffe_id"] == "spiffe://prod.localhost/ci/456789"
    assert "job is missing" in document["cases"][1]["refused"]


@pytest.mark.parametrize(
    ("changed", "expect", "difference"),
    [
        ({}, {"rule": "others"}, "rule: expected 'others', found 'deploy'"),
        ({}, {"spiffe_id": None}, "spiffe_id: expected None, found 'spiffe://prod.localhost/ci/456789'"),
        ({}, {"dns": []}, "dns: expected [], found ['456789.ci.prod.localhost']"),
        ({}, {"refused": True}, "refused: expected a refusal, rule deploy grants"),
        ({"repository_id": "1"}, {"rule": "others"}, "refused: rule others of environment prod refuses"),
        ({"repository_id": "1"}, {"refused": "no rule"}, "refused: expected 'no rule' in \"rule others of"),
    ],
)
def test_a_case_fails(
    run: Run, tmp_path: Path, changed: dict[str, str], expect: dict[str, Any], difference: str
) -> None:
    good = CASE | {"expect": {"rule": "deploy"}}
    bad = CASE | {"claims": CLAIMS | changed, "expect": expect}
    first, second = case(tmp_path, good), case(tmp_path, bad, name="bad.json")
    result = run("test", "--claims", first, second)
    assert result.exit_code == 1
    passed, failed, detail, summary = result.stdout.splitlines()
    assert (passed, failed, summary) == (f"pass  {first}: case 1", f"FAIL  {second}: case 1", "1 of 2 cases pass.")
    assert detail.strip().startswith(difference)
    assert json.loads(run("test", second, "--json").stdout)["ok"] is False


def test_cases_may_be_toml(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    claims = "\n".join(f'{name} = "{value}"' for name, value in CLAIMS.items())
    path.write_text(
        f'[[case]]\nname = "one"\nprovider = "gh"\nsubject = "s"\n[case.claims]\n{claims}\nat = 2026-01-01T00:00:00Z\n'
        '[case.expect]\nrule = "deploy"\n'
    )
    result = run("test", str(path))
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"pass  {path}: one")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CASE, "case.json: case 1 expects nothing"),
        (CASE | {"expect": {}}, "case 1: expect: nothing is expected"),
        (CASE | {"expect": {"refused": True, "rule": "a"}}, "has no rule, spiffe_id or dns"),
        (CASE | {"expect": {"rules": "a"}}, "case 1: expect.rules: Extra inputs"),
        (CASE | {"provider": "k8s", "expect": {"rule": "a"}}, "case 1: there is no provider 'k8s'"),
        ({"subject": "s", "claims": {}, "expect": {"rule": "a"}}, "case 1 names no provider; expected one of: gh"),
        ({"provider": "gh"}, "case 1: claims: Field required"),
        (CASE | {"claims": {"kubernetes.io": {}}}, "the claim 'kubernetes.io' has a dot in its name"),
        ([], "has no cases"),
        ({"case": []}, "has no cases"),
        (1, "case 1: Input should be an object"),
    ],
)
def test_a_bad_case_is_refused(run: Run, tmp_path: Path, content: Any, reason: str) -> None:  # noqa: ANN401 - any JSON
    result = run("test", case(tmp_path, content))
    assert result.exit_code == 1
    assert reason in result.stderr


def test_a_bad_file_is_refused(run: Run, tmp_path: Path) -> None:
    for name, content, reason in (
        ("a.json", "{", "a.json is no JSON"),
        ("a.toml", "{", "a.toml is no TOML"),
        ("deep.json", "[" * 100_000, "deep.json is no JSON"),
        ("latin.json", '"\xe9"', "latin.json is no JSON"),
    ):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        result = run("test", str(tmp_path / name))
        assert (result.exit_code, reason in result.stderr) == (1, True)
    missing = run("test", str(tmp_path / "missing.json"))
    assert (missing.exit_code, "No such file" in missing.stderr) == (1, True)


def test_no_cases_at_all_is_wrong_usage(run: Run) -> None:
    result = run("test")
    assert (result.exit_code, "no cases: expected --claims FILE" in result.stderr) == (2, True)


def test_an_environment_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    result = run("test", "--environment", "nowhere", case(tmp_path, CASE))
    assert (result.exit_code, "there is no environment 'nowhere'" in result.stderr) == (1, True)


# --- explain ---


def test_each_condition_is_explained(run: Run, tmp_path: Path) -> None:
    path = case(tmp_path, CASE)
    result = run("explain", "--claims", path)
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "rule deploy: granted",
            "  yes repository_id is '456789'; expected one_of ['456789']",
            "  yes environment is 'prod'; expected one_of ['prod', 'stage']",
            "  yes ref_protected is 'true'; expected one_of ['true']",
            "rule others: refused",
            "  yes repository_owner_id is '1'; expected regex '[0-9]+'",
            f"  {REFUSED}",
            "Granted by rule deploy, the first that is not unmatched:",
            "  spiffe_id: spiffe://prod.localhost/ci/456789",
            "  add: always",
            "  dns: 456789.ci.prod.localhost",
            "  lifetime: 900",
            "  binding_ttl: 86400",
            "  liveness: False",
        ],
    )
    document = json.loads(run("explain", "--claims", path, "--json").stdout)
    assert [rule["result"] for rule in document["rules"]] == ["granted", "refused"]
    assert document["rules"][0]["checks"][0]["holds"] is True
    assert (document["grant"], document["refused"]) == (document["rules"][0]["grant"], None)


def test_a_refusal_is_explained(run: Run, tmp_path: Path) -> None:
    path = case(tmp_path, {"subject": "repo:acme/pay", "claims": {"repository_id": "1"}})
    result = run("explain", "--provider", "gh", "--claims", path)
    assert result.exit_code == 0
    assert "  no  repository_id is '1'; expected one_of ['456789']" in result.stdout
    assert "Refused: no rule of environment prod is for workload 'repo:acme/pay'" in result.stdout
    document = json.loads(run("explain", "--provider", "gh", "--claims", path, "--json").stdout)
    assert document["grant"] is None
    assert "no rule" in document["refused"]


def test_one_case_is_explained_at_a_time(run: Run, tmp_path: Path) -> None:
    result = run("explain", "--claims", case(tmp_path, CASE, CASE))
    assert (result.exit_code, "has 2 cases; expected one" in result.stderr) == (1, True)
    result = run("explain", "--provider", "gl", "--claims", case(tmp_path, CASE))
    assert (result.exit_code, "there is no provider 'gl'" in result.stderr) == (1, True)
