"""`acme-ca client-config`: what it prints is what the client reads, and says what the CA's configuration says.

tests/e2e/test_client_config.py lets clients use it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from acme_ca.cli import COMMANDS, cli
from acme_ca.cli.client_config import CLIENTS, EAB_PLACEHOLDERS
from acme_ca.config import Config, load
from acme_ca.doctor import CODES
from acme_ca.pki.profile import BUILTIN
from tests.support.ca import make_ca_files
from tests.support.tools import ROOT, require_tool, venv_tool

URL = "https://ca.corp.example:8443"
DIRECTORY = f"{URL}/acme/prod/directory"
NAMES = ("app.prod.corp.example", "www.prod.corp.example")
KID, KEY = "0123456789", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OWN = """
[profile.server-90d]
description = "TLS server, 90 days"
lifetime = 7776000
extended_key_usages = ["serverAuth"]
revocation = "crl"

[profile.odd]
description = "TLS server, for a time that no client counts in"
lifetime = 5401
extended_key_usages = ["serverAuth"]
revocation = "none"
"""
TERMS = "https://corp.example/terms?a=1&b='2'"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with an environment for everybody, one that requires external account binding, and one for appliances."""
    options = [word for name in ("prod", "bound", "infra") for word in ("--environment", name)]
    path = make_ca_files(tmp_path_factory.mktemp("ca"), "--external-url", URL, "--domain", "corp.example", *options)
    head, prod, bound, infra = re.split(r"(?=^\[environment\.\w+\]$)", path.read_text(), flags=re.MULTILINE)
    prod = prod.replace('"server-8h"]', '"server-8h", "server-7d", "odd"]')
    bound = bound.replace("external_account_required = false", "external_account_required = true")
    infra = re.sub("^profiles = .*$", 'profiles = ["server-90d"]', infra, flags=re.MULTILINE)
    infra = infra.replace(
        'default_profile = "server-1h"', f'default_profile = "server-90d"\nterms_of_service = "{TERMS}"'
    )
    path.write_text(head + prod + bound + infra + OWN)
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return load(path)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "mac-key"
    file.write_text(f"{KEY}\n")
    return file


def run(path: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["client-config", "--config", str(path), *map(str, arguments)])


def answer(path: Path, client: str, *options: str | Path, environment: str = "prod") -> dict[str, str]:
    """The files by name, for NAMES."""
    named = [word for name in NAMES for word in ("--name", name.replace("prod", environment))]
    result = run(path, client, "--environment", environment, *named, *options, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["client"], document["environment"]) == (client, environment)
    return {file["name"]: file["text"] for file in document["files"]}


def bound_by(key_file: Path) -> tuple[str | Path, ...]:
    return ("--eab-kid", KID, "--eab-key-file", key_file)


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


def unit(text: str) -> ConfigParser:
    parser = ConfigParser(strict=True)
    parser.read_string(text)
    return parser


def test_cert_manager(path: Path, config: Config, key_file: Path) -> None:
    found = answer(path, "cert-manager", *bound_by(key_file))
    issuer = yaml.safe_load(found["issuer.yaml"])
    acme = issuer["spec"]["acme"]
    assert acme["server"] == DIRECTORY
    assert base64.b64decode(acme["caBundle"], validate=True) == config.service.issuer.root.read_bytes()
    assert acme["profile"] == "server-8h", "the default lives for an hour, which cert-manager can but should not"
    binding = acme["externalAccountBinding"]
    assert binding["keyID"] == KID
    secret = found["eab-secret.sh"].split()
    assert binding["keySecretRef"]["name"] in secret
    assert f"--from-literal={binding['keySecretRef']['key']}={KEY}" in secret
    certificate = yaml.safe_load(found["certificate.yaml"])["spec"]
    assert certificate["dnsNames"] == list(NAMES)
    assert certificate["issuerRef"] == {"name": issuer["metadata"]["name"], "kind": issuer["kind"]}
    assert yaml.safe_load(found["values.yaml"])["extraArgs"] == ["--certificate-request-minimum-backoff-duration=1m"]
    without = answer(path, "cert-manager")
    assert "eab-secret.sh" not in without
    assert "externalAccountBinding" not in yaml.safe_load(without["issuer.yaml"])["spec"]["acme"]


def test_traefik(path: Path, key_file: Path) -> None:
    (text,) = answer(path, "traefik", *bound_by(key_file), "--profile", "odd", "--root", "/root.pem").values()
    document = yaml.safe_load(text)
    ((name, resolver),) = document["certificatesResolvers"].items()
    tls = document["entryPoints"]["websecure"]["http"]["tls"]
    assert tls == {"certResolver": name, "domains": [{"main": NAMES[0], "sans": list(NAMES[1:])}]}
    acme = resolver["acme"]
    assert (acme["caServer"], acme["caCertificates"], acme["profile"]) == (DIRECTORY, ["/root.pem"], "odd")
    assert acme["eab"] == {"kid": KID, "hmacEncoded": KEY}
    assert acme["certificatesDuration"] == 1, "an hour and a half is one whole hour"
    assert acme["httpChallenge"]["entryPoint"] in document["entryPoints"]
    (text,) = answer(path, "traefik").values()
    acme = yaml.safe_load(text)["certificatesResolvers"][name]["acme"]
    assert acme.keys().isdisjoint({"eab", "profile"}), "the environment's default needs no naming"


@pytest.mark.parametrize(("profile", "interval"), [("server-1h", 60), ("server-8h", 480), ("server-7d", 600)])
def test_caddy(path: Path, config: Config, key_file: Path, tmp_path: Path, profile: str, interval: int) -> None:
    root = config.service.issuer.root
    (text,) = answer(path, "caddy", *bound_by(key_file), "--profile", profile, "--root", root).values()
    file = tmp_path / "Caddyfile"
    file.write_text(text)
    adapted = json.loads(caddy("adapt", file))["apps"]
    automation = adapted["tls"]["automation"]
    assert automation["renew_interval"] == interval * 10**9
    (issuer,) = automation["policies"][0]["issuers"]
    assert issuer == {
        "module": "acme",
        "ca": DIRECTORY,
        "trusted_roots_pem_files": [str(root)],
        "external_account": {"key_id": KID, "mac_key": KEY},
        "profile": profile,
    }
    (route,) = adapted["http"]["servers"]["srv0"]["routes"]
    assert route["match"] == [{"host": list(NAMES)}]
    caddy("validate", file)


def caddy(command: str, file: Path) -> str:
    done = subprocess.run(
        [venv_tool("caddy"), command, "--adapter", "caddyfile", "--config", file],
        env={"HOME": str(file.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr
    return done.stdout


def test_mod_md(path: Path, config: Config, key_file: Path, tmp_path: Path) -> None:
    apache, modules = require_tool("apache2"), require_tool("mod_md").parent
    root = config.service.issuer.root
    found = answer(path, "mod_md", *bound_by(key_file), "--profile", "server-8h", "--root", root)
    text = found["acme-ca.conf"]
    lines = text.splitlines()
    for line in (
        f"MDCertificateAuthority {DIRECTORY}",
        f"MDCACertificateFile {root}",
        f"MDExternalAccountBinding {KID} {KEY}",
        "MDProfile server-8h",
        "MDCheckInterval 2400s",
        f"MDomain {' '.join(NAMES)}",
    ):
        assert line in lines
    assert unit(found["httpd-reload.timer"])["Timer"]["OnUnitActiveSec"] == "2400s"
    loaded = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "md")
    head = [f"LoadModule {name}_module {modules}/mod_{name}.so" for name in loaded]
    head += [
        f"ServerRoot {tmp_path}",
        "ServerName localhost",
        "Listen 127.0.0.1:1",
        f"ErrorLog {tmp_path}/log",
        f"MDStoreDir {tmp_path}/md",
    ]
    file = tmp_path / "httpd.conf"
    file.write_text("\n".join((*head, text)))
    done = subprocess.run([apache, "-t", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nginx(path: Path, key_file: Path) -> None:
    (text,) = answer(path, "nginx-acme", *bound_by(key_file), "--profile", "server-8h").values()
    blocks = re.findall(r"^(\w[\w -]*) \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in blocks] == ["acme_issuer acme-ca-prod", "server", "server"]
    issuer, server, plain = ([line.strip() for line in body.splitlines()] for _, body in blocks)
    for line in (
        f"uri {DIRECTORY};",
        "ssl_trusted_certificate /etc/ssl/acme-ca-root.pem;",
        f"external_account_key {KID} data:{KEY};",
        "profile server-8h require;",
    ):
        assert line in issuer
    names = f"server_name {' '.join(NAMES)};"
    assert names in server
    assert names in plain
    assert {"acme_certificate acme-ca-prod;", "ssl_certificate $acme_certificate;"} <= set(server)


def test_terraform(path: Path, key_file: Path) -> None:
    (text,) = answer(path, "terraform", *bound_by(key_file), "--profile", "server-90d", environment="infra").values()
    for name, value in {
        "server_url": f'"{URL}/acme/infra/directory"',
        "key_id": f'"{KID}"',
        "hmac_base64": f'"{KEY}"',
        "common_name": '"app.infra.corp.example"',
        "subject_alternative_names": '["www.infra.corp.example"]',
        "min_days_remaining": "30",
        "profile": '"server-90d"',
    }.items():
        assert re.search(rf"^ *{name} += {re.escape(value)}$", text, re.MULTILINE), name
    formats(text)
    (text,) = answer(path, "terraform", environment="infra").values()
    assert "external_account_binding" not in text
    formats(text)


def formats(text: str) -> None:
    """Let Terraform parse it, and say that it would write it no other way."""
    terraform = require_tool("terraform")
    done = subprocess.run(
        [terraform, "fmt", "-check", "-diff", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_proxmox(path: Path, key_file: Path) -> None:
    (text,) = answer(path, "proxmox", *bound_by(key_file), environment="infra").values()
    assert f"--eab-kid {KID} --eab-hmac-key {KEY} \\\n" in text
    shown = subprocess.run(
        [
            "bash",
            "-c",
            'update-ca-certificates() { :; }; pvesh() { printf "%s\\n" "$@"; }; pvenode() { pvesh "$@"; };' + text,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[shown.index("--tos_url") + 1] == TERMS
    assert shown[shown.index("--directory") + 1] == f"{URL}/acme/infra/directory"
    assert shown[shown.index("--acme") + 1] == "account=acme-ca,domains=app.infra.corp.example;www.infra.corp.example"


def test_acme_sh(path: Path) -> None:
    (text,) = answer(path, "acme.sh").values()
    assert "--profile" not in text
    assert "--cert-profile server-7d" in text, "the shortest that it can do"
    assert "--days 4 " in text
    assert "--eab" not in text


@pytest.mark.parametrize(("profile", "seconds"), [("server-1h", 300), ("server-8h", 2400), ("server-7d", 43200)])
def test_timers_come_often_enough(path: Path, profile: str, seconds: int) -> None:
    for client in ("certbot", "lego", "mod_md"):
        found = answer(path, client, "--profile", profile)
        (timer,) = [text for name, text in found.items() if name.endswith(".timer")]
        assert unit(timer)["Timer"]["OnUnitActiveSec"] == f"{seconds}s"
        assert seconds * 10 <= BUILTIN[profile].lifetime


@pytest.mark.parametrize("client", ["certbot", "lego", "mod_md"])
def test_systemd_reads_the_units(path: Path, client: str, tmp_path: Path) -> None:
    analyze = require_tool("systemd-analyze")
    units = {name: text for name, text in answer(path, client).items() if name.endswith((".service", ".timer"))}
    for name, text in units.items():
        program = unit(text)["Service"]["ExecStart"].split()[0] if "Service" in unit(text) else "true"
        tmp_path.joinpath(name).write_text(text.replace(f"ExecStart={program}", "ExecStart=true"))
    command: list[str | Path] = [analyze, "verify", "--man=no", "--generators=no", *(tmp_path / name for name in units)]
    done = subprocess.run(
        command, env=dict(os.environ, SYSTEMD_UNIT_PATH=f"{tmp_path}:"), capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "acme-ca" in line or "httpd-reload" in line]
    assert said == []


def test_lego_5_has_the_options(path: Path, key_file: Path) -> None:
    """Its program cannot be had, but its source is there where the library was compiled."""
    go = require_tool("go")
    listed = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "github.com/go-acme/lego/v5"],
        cwd=ROOT / "tests" / "e2e" / "go",
        env=dict(os.environ, GOFLAGS="-mod=mod", GOPROXY="off"),
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder := listed.stdout.strip()):
        pytest.skip("the source of lego 5 has not been fetched")
    names = Path(folder, "cmd", "internal", "flags", "names.go").read_text()
    text = answer(path, "lego", *bound_by(key_file), "--profile", "server-8h")["lego.sh"]
    command = text[text.index("lego run") :]
    used = re.findall(r"(?<= --)[a-z.-]+", command)
    assert {"eab", "eab.kid", "eab.hmac", "profile", "server", "http"} <= set(used)
    assert [option for option in used if f'= "{option}"' not in names] == []


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


def test_the_doctor_names_commands_that_exist() -> None:
    assert "`acme-ca client-config`" in CODES["LIF001"].fix
    assert f"| {CODES['LIF001'].fix} |" in (ROOT / "docs" / "doctor.md").read_text()
    for code in CODES.values():
        assert set(re.findall(r"`acme-ca ([a-z-]+)", code.fix)) <= set(COMMANDS)
