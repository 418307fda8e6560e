"""What `acme-ca client-config` prints, read by the programs that it is for or by parsers of its format."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from acme_ca.config import Config
from acme_ca.pki.profile import BUILTIN
from tests.support.client_config import DIRECTORY, KEY, KID, NAMES, TERMS, URL, answer, bound_by, unit
from tests.support.tools import ROOT, require_tool, venv_tool


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
