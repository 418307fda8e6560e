"""`acme-ca key`, with keys in files and in a token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca import keys
from acme_ca.cli import cli
from acme_ca.config import load
from tests.support.ca import key_file, make_ca_files
from tests.support.softhsm import CONFIGURATION, SoftHsm

Run = Callable[..., Result]
NAMES = ["service-1", "dev-1", "test-1", "prod-1", "admin", "audit"]


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    made = SoftHsm(tmp_path / "softhsm")
    monkeypatch.setenv(CONFIGURATION, str(made.configuration))
    return made


@pytest.fixture(params=["software", "pkcs11"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The configuration of a CA whose keys are in files, or in a token."""
    if request.param == "software":
        return make_ca_files(tmp_path / "ca")
    token = request.getfixturevalue("softhsm").token("acme ca;1")
    keys.let_go()
    return make_ca_files(tmp_path / "ca", *token.options)


@pytest.fixture
def run(path: Path) -> Run:
    def invoke(verb: str, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["key", verb, "--config", str(path), *arguments])

    return invoke


def test_all_keys_are_listed_and_checked(run: Run) -> None:
    document = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in document["keys"]] == NAMES
    for row in document["keys"]:
        assert row["kept_at"] in run("list").stdout
    checked = run("check")
    assert checked.exit_code == 0, checked.output
    document = json.loads(run("check", "--json").stdout)
    assert [row["name"] for row in document["keys"]] == NAMES
    assert {row["kind"] for row in document["keys"]} == {"ec-p256"}
    assert all(row["spki_sha256"] in checked.stdout for row in document["keys"])
    assert document["faults"] == []


def test_the_key_of_another_certificate_is_found_out(run: Run, path: Path) -> None:
    config = load(path)
    prod, test = (config.environment[name].issuer[0].certificate for name in ("prod", "test"))
    prod.write_bytes(test.read_bytes())
    result = run("check")
    assert result.exit_code == 1
    assert f"prod-1 (environment.prod.issuer[0]): {prod} is of another key" in result.stderr
    result = run("check", "prod-1", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["keys"], [fault["name"] for fault in document["faults"]]) == ([], ["prod-1"])
    assert run("check", "test-1").exit_code == 0


def test_a_key_is_made_where_it_is_configured_once(run: Run, path: Path) -> None:
    """As for an issuer that was added to the file."""
    text = path.read_text()
    path.write_text(
        text.replace('name = "prod-1"', 'name = "prod-2"')
        .replace("prod-1.key", "prod-2.key")
        .replace(";object=prod-1", ";object=prod-2")
    )
    made = run("generate", "prod-2", "--kind", "ec-p384")
    assert made.exit_code == 0, made.output
    assert "ec-p384" in made.stdout
    assert "is of another key" in run("check", "prod-2").stderr
    again = run("generate", "prod-2", "--json")
    assert again.exit_code == 1
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("name", "kind", "expected"), [("audit", "rsa-2048", "ec-p256"), ("prod-1", "ed25519", "ec-p256, ec-p384")]
)
def test_a_kind_that_does_not_do_is_refused(run: Run, name: str, kind: str, expected: str) -> None:
    result = run("generate", name, "--kind", kind)
    assert result.exit_code == 1
    assert f"{kind} is no kind of key for {name}; expected {expected}" in result.stderr


def test_what_is_not_configured_is_refused(run: Run) -> None:
    for verb in ("check", "generate"):
        result = run(verb, "prod-9")
        assert result.exit_code == 1
        assert "there is no key 'prod-9'; there are service-1, dev-1" in result.stderr


def test_a_missing_key_is_a_fault(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path)
    key_file(load(path).environment["prod"].issuer[0].key).unlink()
    result = CliRunner().invoke(cli, ["key", "check", "--config", str(path)])
    assert result.exit_code == 1
    assert "prod-1 (environment.prod.issuer[0]): private key" in result.stderr


def test_what_is_logged_is_no_part_of_the_answer(softhsm: SoftHsm, tmp_path: Path) -> None:
    token = softhsm.token("away")
    keys.let_go()
    path = make_ca_files(tmp_path / "ca", *token.options)
    token.take_out()
    result = CliRunner().invoke(cli, ["key", "check", "--config", str(path), "--json"])
    assert result.exit_code == 1
    assert [fault["name"] for fault in json.loads(result.stdout)["faults"]] == NAMES
    result = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
    assert result.exit_code == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--pkcs11-module", "/lib/p.so"), "--pkcs11-module and --pkcs11-token go together"),
        (("--pkcs11-pin", "env:PIN"), "--pkcs11-module and --pkcs11-token go together"),
        (("--pkcs11-pin", "1234"), "a secret is written as"),
    ],
)
def test_init_refuses_half_a_token(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(cli, ["init", "--dir", str(tmp_path), *options])
    assert result.exit_code == 2
    assert told in result.output
    assert "1234" not in result.output
    assert not (tmp_path / "acme-ca.toml").exists()
