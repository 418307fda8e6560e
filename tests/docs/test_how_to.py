"""docs/how-to: what the pages show are whole files, which parse, load, and fit what the code offers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import TypeAdapter

from acme_ca.agent.commands import cli as agent
from acme_ca.agent.envoy import CERTIFICATE_FILE, CERTIFICATE_SECRET, VALIDATION_FILE, VALIDATION_SECRET
from acme_ca.authority import workload_policy
from acme_ca.cli import cli
from acme_ca.config import load
from acme_ca.identifiers import Identifier
from acme_ca.keys import AnyKey
from acme_ca.workload.base import Workload
from tests.support.ca import make_ca_files

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = sorted(FOLDER.glob("*.md"))
FILES = sorted((FOLDER / "files").iterdir())
BLOCK = re.compile(
    r"^\[(?P<name>[\w.-]+)\]\(files/(?P=name)\):\n\n```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
TRUST_DOMAIN = 'trust_domain = "prod.corp.example"'
NEEDED_FILE = re.compile(r'file = "([^"]+)"')
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
URL = "https://ca.corp.example:8443"
OF_ISSUERS = (
    *("meshes", "hsm", "hsm-issuer", "compromise", "compromise-issuer", "post-quantum", "post-quantum-beside"),
    *("root-roll", "root-roll-issuer", "root-roll-issuer-end"),
    "signer",
)  # pages and settings that are not about workloads


def of_kind(suffix: str) -> list[Path]:
    return [file for file in FILES if file.suffix == suffix]


def named(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files, ids=lambda file: file.name)


def configured(folder: Path, snippet: str) -> Path:
    """A complete configuration with the snippet in it, as its page says."""
    path = make_ca_files(folder, "--external-url", URL, "--domain", "corp.example")
    text = path.read_text()
    assert text.count("[environment.prod]\n") == 1
    text = text.replace("[environment.prod]\n", f"[environment.prod]\n{TRUST_DOMAIN}\n")
    path.write_text(f"{text}\n{snippet}")
    for name in NEEDED_FILE.findall(snippet):
        folder.joinpath(name).parent.mkdir(exist_ok=True)
        folder.joinpath(name).touch()
    return path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_the_file_that_it_names(page: Path) -> None:
    text = page.read_text()
    blocks = [(found["name"], found["text"]) for found in BLOCK.finditer(text)]
    assert blocks
    assert len(blocks) * 2 == len(re.findall(r"^```", text, re.MULTILINE)), "a block names no file"
    for name, block in blocks:
        assert block == (FOLDER / "files" / name).read_text(), name
    if any(name.endswith(".toml") for name, _ in blocks) and page.stem not in OF_ISSUERS:
        assert f"`{TRUST_DOMAIN}`" in text.replace("\n", " ")


def test_every_file_is_shown_once() -> None:
    shown = [found["name"] for page in PAGES for found in BLOCK.finditer(page.read_text())]
    assert sorted(shown) == [file.name for file in FILES]


@named(of_kind(".yaml"))
def test_yaml_parses(file: Path) -> None:
    assert all(isinstance(document, dict) for document in yaml.safe_load_all(file.read_text()))


@named(of_kind(".json"))
def test_json_parses(file: Path) -> None:
    assert isinstance(json.loads(file.read_text()), dict)


@named(of_kind(".sh"))
def test_shell_parses(file: Path) -> None:
    assert subprocess.run(["bash", "-n", str(file)], check=False, capture_output=True).stderr == b""


@named([file for file in of_kind(".toml") if file.stem not in OF_ISSUERS])
def test_settings_load_and_no_rule_is_in_vain(file: Path, tmp_path: Path) -> None:
    path = configured(tmp_path, file.read_text())
    config = load(path)
    assert config.environment["prod"].provider
    result = CliRunner().invoke(cli, ["policy", "lint", "--config", str(path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["warnings"]) == (0, [])


def test_the_settings_of_the_readme_load(tmp_path: Path) -> None:
    (snippet,) = re.findall(
        r"^```toml\n(.*?)^```$", (FOLDER.parents[1] / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert load(configured(tmp_path, snippet)).environment["prod"].workload


@dataclass(frozen=True)
class Example:
    """A workload of a page: the settings that it is believed by, and the file in which it asks for its names."""

    settings: str
    client: str
    provider: str
    subject: str
    claims: Mapping[str, object]


def pod(account: str) -> dict[str, object]:
    return {"kubernetes": {"namespace": "pay", "serviceaccount": account}}


JOB = {"repository_id": "456789", "repository_owner_id": "123456", "environment": "prod", "ref_protected": "true"}
TASK = {"nomad_namespace": "pay", "nomad_job_id": "api", "nomad_task": "server"}
SVID = "spiffe://corp.example/pay/api"
HOST = json.loads((FOLDER / "files" / "vm-admit.json").read_text())
ACCOUNT = "system:serviceaccount:pay:"
EXAMPLES = (
    Example("kubernetes.toml", "kubernetes-deployment.yaml", "cluster", f"{ACCOUNT}api", pod("api")),
    Example("kubernetes.toml", "envoy.sh", "cluster", f"{ACCOUNT}api", pod("api")),
    Example(
        "kubernetes.toml",
        "cert-manager-issuer.yaml",
        "cluster",
        f"{ACCOUNT}cert-manager-acme",
        pod("cert-manager-acme"),
    ),
    Example("vm-certbot.toml", "vm-admit.sh", "hosts", "x5c:CN=db-7,O=Corp Hosts", HOST),
    Example("github-actions.toml", "github-actions.yaml", "github", "repo:corp/pay:environment:prod", JOB),
    Example("nomad.toml", "nomad.hcl", "nomad", "global:pay:api:web:server:acme", TASK),
    Example("spire-guest.toml", "spire-guest.sh", "spire", SVID, {"spiffe_id": SVID}),
    Example("spire-guest.toml", "spire-guest-x509.sh", "spire", SVID, {"spiffe_id": SVID}),
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.client)
def test_the_rules_grant_what_the_workloads_of_the_pages_ask_for(example: Example, tmp_path: Path) -> None:
    settings = load(configured(tmp_path, (FOLDER / "files" / example.settings).read_text())).environment["prod"]
    policy = workload_policy("prod", settings)
    assert policy is not None
    subject, expires = example.subject, datetime(2100, 1, 1, tzinfo=UTC)
    grant = policy.grant(Workload(example.provider, "its issuer", subject, example.claims, "required", expires))
    text = (FOLDER / "files" / example.client).read_text()
    uris, names = (
        re.findall(r"spiffe://prod[\w./-]+", text),
        re.findall(r"(?<![/.\w])\w+\.pay\.prod\.corp\.example", text),
    )
    asked = {*(Identifier("uri", uri) for uri in uris), *(Identifier("dns", name) for name in names)}
    assert asked or example.client == "vm-admit.sh"
    assert [str(identifier) for identifier in asked if not grant.covers(identifier)] == []
    assert grant.profiles == ("workload-1h",)


def commands(file: Path) -> list[str]:
    """The parts of a file that start acme-workload: lines of a script, else what comes before another program."""
    text = file.read_text()
    parts = text.replace("\\\n", " ").splitlines() if file.suffix == ".sh" else re.split(r"\bcurl\b", text)
    return [part for part in parts if "acme-workload" in part]


@named([file for file in FILES if commands(file)])
def test_acme_workload_has_the_commands_and_options(file: Path) -> None:
    for command in commands(file):
        used = [name for name in agent.commands if re.search(rf"acme-workload\W+(?:args\W+)?{name}\b", command)]
        assert len(used) == 1, command
        known = {option for parameter in agent.commands[used[0]].params for option in parameter.opts}
        known |= {option for parameter in agent.commands[used[0]].params for option in parameter.secondary_opts}
        assert set(OPTION.findall(command)) <= known


def test_envoy_reads_what_acme_workload_writes() -> None:
    (listener,) = yaml.safe_load((FOLDER / "files" / "envoy.yaml").read_text())["static_resources"]["listeners"]
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]
    secrets = [
        *context["tls_certificate_sds_secret_configs"],
        context["combined_validation_context"]["validation_context_sds_secret_config"],
    ]
    sources = [secret["sds_config"]["path_config_source"] for secret in secrets]
    assert [secret["name"] for secret in secrets] == [CERTIFICATE_SECRET, VALIDATION_SECRET]
    assert [Path(source["path"]).name for source in sources] == [CERTIFICATE_FILE, VALIDATION_FILE]
    assert all(Path(source["path"]).parent == Path(source["watched_directory"]["path"]) for source in sources)


def test_the_keys_of_clouds_are_configured_as_shown() -> None:
    lines = re.findall(r"`(key = \{.*?\})`", (FOLDER / "cloud-keys.md").read_text().replace("\n", " "))
    keys = [TypeAdapter[AnyKey](AnyKey).validate_python(tomllib.loads(line)["key"]) for line in lines]
    assert [key.type for key in keys] == ["aws-kms", "azure-key-vault", "google-kms", "transit"]


def test_acme_ca_has_the_options() -> None:
    text = (FOLDER / "files" / "vm-admit.sh").read_text()
    assert text.startswith("acme-ca workload admit ")
    help_text = CliRunner().invoke(cli, ["workload", "admit", "--help"]).output
    assert set(OPTION.findall(text)) <= set(OPTION.findall(help_text))


@pytest.mark.parametrize("name", ["clients.sh", "clients-bound.sh"])
def test_the_commands_for_clients_run(name: str, tmp_path: Path) -> None:
    path = make_ca_files(tmp_path, "--external-url", URL, "--domain", "corp.example")
    environ = os.environ | {
        "ACME_CA_CONFIG": str(path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["bash", "-eu", str(FOLDER / "files" / name)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if name == "clients-bound.sh":
        (file,) = json.loads((tmp_path / "traefik.json").read_text())["files"]
        (resolver,) = yaml.safe_load(file["text"])["certificatesResolvers"].values()
        assert resolver["acme"]["eab"]["hmacEncoded"] == (tmp_path / "edge.key").read_text().strip()
