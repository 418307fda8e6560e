"""`acme-ca client-config`: every client, environment and profile; notes; and each refusal.

test_files.py reads the files, tests/e2e/test_client_config.py lets clients use them.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from acme_ca.cli import COMMANDS
from acme_ca.cli.client_config import CLIENTS, EAB_PLACEHOLDERS
from acme_ca.config import Config, load
from acme_ca.doctor import CODES
from tests.support.ca import make_ca_files
from tests.support.client_config import KEY, KID, URL, answer, bound_by, run, unit
from tests.support.tools import ROOT


def fails(result: Result, *expected: str, code: int = 1) -> None:
    assert (result.exit_code, result.stdout) == (code, "")
    told = " ".join(result.stderr.split())
    for text in expected:
        assert text in told


@pytest.mark.parametrize("is_bound", [False, True], ids=["open", "bound"])
@pytest.mark.parametrize("client", CLIENTS)
def test_every_environment_and_profile_renders(client: str, is_bound: bool, path: Path, key_file: Path) -> None:  # noqa: FBT001 - pytest passes it by name
    config, rendered = load(path), 0
    for name, environment in config.environment.items():
        for profile in (None, *environment.profiles):
            options = ["--environment", name, *(("--profile", profile) if profile else ())]
            result = run(path, client, *options, *(bound_by(key_file) if is_bound else ()))
            if result.exit_code:
                fails(result, client)
                continue
            rendered += 1
            text = result.stdout.replace("$acme_certificate_key", "").replace("$acme_certificate", "")
            assert "$" not in text
            assert "None" not in text
            assert f"{URL}/acme/{name}/directory" in text
            assert (KEY in text, KID in text) == (is_bound, is_bound)
            wanted = environment.external_account_required and not is_bound
            assert all((word in text) == wanted for word in EAB_PLACEHOLDERS)
            assert ("requires external account binding" in result.stderr) == wanted
            if profile and CLIENTS[client].asks:
                assert profile in text
    assert rendered


@pytest.mark.parametrize("client", CLIENTS)
def test_files_are_what_their_names_say(client: str, path: Path, key_file: Path) -> None:
    environment = "infra" if CLIENTS[client].needs > 7 * 86400 else "prod"
    for name, text in answer(path, client, *bound_by(key_file), environment=environment).items():
        assert text.endswith("\n")
        if name.endswith((".yaml", ".yml")):
            assert isinstance(yaml.safe_load(text), dict)
        elif name.endswith(".sh"):
            assert subprocess.run(["bash", "-n"], input=text.encode(), check=False, capture_output=True).stderr == b""
        elif name.endswith((".service", ".timer")):
            assert "Unit" in unit(text)
        elif name.endswith(".conf"):
            assert text.count("{") == text.count("}")
        else:
            assert name in {"Caddyfile", "acme-ca.tf"}


def test_text_has_every_file_under_its_name_and_notes_apart(path: Path, config: Config) -> None:
    result = run(path, "certbot", "--environment", "prod")
    document = json.loads(run(path, "certbot", "--environment", "prod", "--json").stdout)
    assert result.stdout == "".join(f"# ----- {file['name']}\n{file['text']}\n" for file in document["files"])
    assert result.stderr == "".join(f"Note: {note}\n" for note in document["notes"])
    assert document["files"][0]["name"] == "certbot.sh"
    notes = " ".join(document["notes"])
    assert "server-1h live for 1 hour" in notes
    assert f"{config.service.issuer.root} here, to /etc/ssl/acme-ca-root.pem there" in notes
    assert "app.prod.corp.example stands for your own names" in notes
    assert re.search(r"SHA-256 is ([0-9A-F]{2}:){31}[0-9A-F]{2}", notes)


def test_how_names_are_proved_is_noted_when_it_cannot_be(path: Path, tmp_path: Path) -> None:
    assert (
        "A wildcard needs dns-01" in run(path, "lego", "--environment", "prod", "--name", "*.prod.corp.example").stderr
    )
    assert (
        "-d '*.prod.corp.example'" in run(path, "lego", "--environment", "prod", "--name", "*.prod.corp.example").stdout
    )
    other = tmp_path / "acme-ca.toml"
    text = path.read_text().replace('"http-01", ', "").replace('"certificates/', f'"{path.parent}/certificates/')
    other.write_text(text)
    assert "prod does not offer. It offers dns-01, tls-alpn-01" in run(other, "lego", "--environment", "prod").stderr


def test_clients_are_listed(path: Path) -> None:
    result = run(path)
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == list(CLIENTS)
    assert run(path, "--list").stdout == run(path, "caddy", "--list").stdout == result.stdout
    listed: list[dict[str, Any]] = json.loads(run(path, "--json").stdout)
    assert {row["client"]: row["shortest_lifetime"] for row in listed} == {
        name: client.needs for name, client in CLIENTS.items()
    }


def test_what_is_unknown_is_refused_with_what_there_is(path: Path) -> None:
    fails(run(path, "cady", "--environment", "prod"), "no client 'cady'", "did you mean 'caddy'?")
    fails(run(path, "x", "--environment", "prod"), *CLIENTS)
    fails(run(path, "caddy", "--environment", "prd"), "no environment 'prd'", "did you mean 'prod'?")
    fails(run(path, "caddy", "--environment", "x"), "prod, bound, infra")
    fails(
        run(path, "caddy", "--environment", "prod", "--profile", "server-1d"), "no profile 'server-1d'", "did you mean"
    )
    fails(run(path.with_name("none.toml"), "caddy", "--environment", "prod"), "cannot be read")


def test_too_short_lifetimes_are_refused_with_the_one_that_is_needed(path: Path) -> None:
    fails(
        run(path, "acme.sh", "--environment", "bound"),
        "7 days at least",
        "Add 'server-7d' to environment.bound.profiles",
    )
    short = run(path, "acme.sh", "--environment", "prod", "--profile", "server-1h")
    fails(short, "7 days at least", "server-1h (1 hour)", "server-7d (7 days)")
    fails(run(path, "terraform", "--environment", "prod"), "90 days at least", "Add 'server-90d'")
    fails(
        run(path, "proxmox", "--environment", "prod"),
        "90 days at least",
        "cannot ask for another than the default, server-1h",
    )
    fails(
        run(path, "proxmox", "--environment", "prod", "--profile", "server-7d"), "cannot ask for a profile", "server-1h"
    )


def test_names_keys_and_paths_that_do_not_fit_are_refused(path: Path, key_file: Path, tmp_path: Path) -> None:
    here = ("caddy", "--environment", "prod")
    fails(run(path, *here, "--name", "app.corp.example"), "outside the zones of environment prod: prod.corp.example")
    fails(run(path, *here, "--name", "notprod.corp.example"), "outside the zones")
    fails(run(path, *here, "--name", "a b.prod.corp.example"), "a b.prod.corp.example")
    fails(run(path, *here, "--root", "root.pem"), "expected an absolute path")
    fails(run(path, *here, "--root", "/a b;c.pem"), "expected an absolute path")
    fails(run(path, *here, "--eab-kid", KID, "--eab-key-file", tmp_path / "none"), "No such file")
    fails(run(path, *here, "--eab-kid", "a b", "--eab-key-file", key_file), "--eab-kid 'a b'")
    key_file.write_text("not one key")
    fails(run(path, *here, *bound_by(key_file)), "expected a MAC key in base64url")
    key_file.write_bytes(b"\xff")
    fails(run(path, *here, *bound_by(key_file)), "is not text")


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path, "--environment", "prod")
    (tmp_path / "certificates" / "root.pem").write_text("nothing")
    fails(run(path, "caddy", "--environment", "prod"), "the root", "cannot be read")


def test_wrong_usage_ends_with_2(path: Path, key_file: Path) -> None:
    fails(run(path, "caddy"), "Missing option '--environment'", code=2)
    fails(run(path, "caddy", "--environment", "prod", "--eab-kid", KID), "go together", code=2)
    fails(run(path, "caddy", "--environment", "prod", "--eab-key-file", key_file), "go together", code=2)


def test_an_installed_wheel_has_the_snippets() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["acme_ca"]
    package = ROOT / "acme_ca"
    shipped = {file for pattern in patterns for file in package.glob(pattern)}
    snippets = {file for file in package.joinpath("cli", "snippets").rglob("*") if file.is_file()}
    assert snippets <= shipped
    assert {file.parent.name for file in snippets} == set(CLIENTS)


def test_the_doctor_names_commands_that_exist() -> None:
    assert "`acme-ca client-config`" in CODES["LIF001"].fix
    assert f"| {CODES['LIF001'].fix} |" in (ROOT / "docs" / "doctor.md").read_text()
    for code in CODES.values():
        assert set(re.findall(r"`acme-ca ([a-z-]+)", code.fix)) <= set(COMMANDS)
