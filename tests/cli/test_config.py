"""`acme-ca config check` and `acme-ca config schema`, and the page that documents every setting."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acme_ca.cli import cli
from acme_ca.config import json_schema

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["config", *arguments])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    assert CliRunner().invoke(cli, ["init", "--dir", str(tmp_path), "--environment", "prod"]).exit_code == 0
    return tmp_path / "acme-ca.toml"


def test_a_good_file_is_called_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("check", "--config", str(path))
    assert (result.exit_code, result.stdout.partition(". ")[0]) == (0, f"{path}: good")
    monkeypatch.setenv("ACME_CA_CONFIG", str(path))
    assert json.loads(run("check", "--json").stdout) == {"ok": True, "mistakes": []}


def test_mistakes_are_listed_on_standard_error(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("threads = 8", "thread = 8").replace("prod-1.pem", "prod-2.pem"))
    (path.parent / "keys" / "prod-1.key").unlink()
    line = {word: text[: text.index(word)].count("\n") + 1 for word in ("threads = 8", "prod-1.pem", "prod-1.key")}
    result = run("check", "--config", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    first, second, third = result.stderr.splitlines()
    place = f"{path}:{line['threads = 8']}: listener.acme.thread: "
    assert first == f"{place}there is no such setting; did you mean 'threads'?"
    assert second.startswith(f"{path}:{line['prod-1.pem']}: environment.prod.issuer[0].certificate: there is no file")
    assert third.startswith(f"{path}:{line['prod-1.key']}: environment.prod.issuer[0].key: there is no file")


def test_mistakes_are_listed_for_scripts(path: Path) -> None:
    path.write_text(path.read_text().replace("workers = 2", "workers = 0"))
    result = run("check", "--config", str(path), "--json")
    assert result.exit_code == 1
    (mistake,) = json.loads(result.stdout)["mistakes"]
    assert (mistake["file"], mistake["setting"]) == (str(path), "listener.acme.workers")
    assert path.read_text().splitlines()[mistake["line"] - 1] == "workers = 0"


def edited(path: Path, seen: str, instead: str) -> Result:
    assert seen in path.read_text()
    path.write_text(path.read_text().replace(seen, instead))
    return run("check", "--config", str(path))


@pytest.mark.parametrize(
    ("seen", "instead", "expected"),
    [
        (
            "certificates/prod-1.pem",
            "certificates/service-1.pem",
            "environment.prod.issuer[0]: the key of issuer prod-1",
        ),
        ("certificates/prod-1.pem", "acme-ca.toml", "environment.prod.issuer[0]: "),
        ('root = "certificates/root.pem"', 'root = "certificates/prod-1.pem"', "service.issuer: the chain of issuer"),
        ("file:keys/passphrase", "env:NO_SUCH_VARIABLE", "service.issuer: the passphrase of private key"),
        (
            'zones = ["prod.localhost"',
            'zones = ["prod.localhost", "a.example"',
            "environment.prod.zones[1]: dns:a.example",
        ),
        ('"https://localhost:8443"', '"https://ca.example:8443"', "external_url: dns:ca.example is outside"),
        ('"https://localhost:8443"', '"https://10.0.0.1:8443"', "external_url: ip:10.0.0.1 is outside"),
        ("wildcards = true", 'ip = ["10.0.0.0/8"]', "environment.prod.policy[0].ip[0]: ip:10.0.0.0 is outside"),
    ],
)
def test_issuers_that_do_not_fit_are_mistakes(path: Path, seen: str, instead: str, expected: str) -> None:
    result = edited(path, seen, instead)
    assert result.exit_code == 1
    found = [line.removeprefix(f"{path}:").partition(": ")[2] for line in result.stderr.splitlines()]
    assert any(line.startswith(expected) for line in found), result.stderr


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    result = run("check", "--config", str(tmp_path / "acme-ca.toml"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_the_schema_is_printed() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps(json_schema()))


def settings(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield every setting as the page writes it: tables of any name are NAME, lists are []."""
    if "$ref" in node:
        yield from settings(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], path)
    for alternative in (*node.get("anyOf", []), *node.get("oneOf", [])):
        yield from settings(schema, alternative, path)
    if isinstance(node.get("items"), dict):
        yield from settings(schema, node["items"], f"{path}[]")
    for inner in (node.get("additionalProperties"), *node.get("patternProperties", {}).values()):
        if isinstance(inner, dict):
            yield from settings(schema, inner, f"{path}.NAME")
    for name, inner in node.get("properties", {}).items():
        yield f"{path}.{name}".lstrip(".")
        yield from settings(schema, inner, f"{path}.{name}".lstrip("."))


ISSUERS = ("service.issuer", "environment.NAME.sub_ca", "environment.NAME.sub_ca.former")
SAME = {"listener.admin.oidc.jwks", "listener.admin.issuer.key", "audit.key", "environment.NAME.rotation.root_key"}


def documented() -> set[str]:
    """Return the settings of the page's tables: the first column, below the heading that names the table."""
    found, table = set(), ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            table = heading[1] if (heading := re.search(r"`\[+([\w.]+)\]+`", line)) else ""
        elif row := re.match(r"\| `([\w.]+)` \|", line):
            found.add(f"{table}.{row[1]}".lstrip("."))
    return found


def test_every_setting_is_documented_and_no_other() -> None:
    schema = json_schema()
    names = {name.replace("[]", "") for name in settings(schema, schema)}
    names = {name for name in names if not re.search(r"\.limits\.\w+\.", name)}  # `count` and `seconds`: told once
    leaves = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
    # The CA's own issuer has the settings of every issuer, and where keys are and come from is the same: told once.
    own = "environment.NAME.issuer."
    known = {name.replace(own, f"{table}.") for name in leaves if name.startswith(own) for table in ISSUERS}
    told = {name for name in leaves - known if not name.startswith(tuple(f"{table}." for table in SAME))}
    assert documented() == told | SAME
