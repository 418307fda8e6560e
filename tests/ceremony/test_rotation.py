"""`acme-ca issuer rotate`, `list` and `import`: the next issuer, by a root whose key is here or elsewhere."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from acme_ca import config
from acme_ca.cli import cli
from acme_ca.db import Database
from acme_ca.services import generations
from tests.support import clocks
from tests.support.ca import make_ca_files
from tests.support.corporate import Corporate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The configuration of a CA whose root's key is here."""
    return make_ca_files(tmp_path / "ca", "--environment", "prod")


def run(path: Path, verb: str, *options: object) -> Result:
    return CliRunner().invoke(cli, ["issuer", verb, "--config", str(path), *map(str, options)])


def done(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def listed(path: Path) -> dict[str, str]:
    rows = done(run(path, "list", "--json"))["issuers"]
    assert all(row["issuer"] in run(path, "list").stdout for row in rows)
    return {row["issuer"]: row["stage"] for row in rows}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def keys(path: Path) -> set[str]:
    return {file.name for file in (path.parent / "keys").iterdir()}


def configured(path: Path, settings: str) -> None:
    path.write_text(path.read_text() + f"\n[environment.prod.rotation]\n{settings}\n")


def test_a_plan_tells_the_dates_and_changes_nothing(path: Path) -> None:
    before = keys(path)
    plan = done(run(path, "rotate", "prod", "--plan", "--json"))
    assert (plan["issuer"], plan["instead_of"], plan["kind"]) == ("prod-2", "prod-1", "ec-p256")
    assert moment(plan["signs_from"]) - moment(plan["published_at"]) == timedelta(days=7)
    assert moment(plan["old_last_leaf_at"]) - moment(plan["signs_from"]) == timedelta(hours=8)
    assert moment(plan["old_retires_at"]) > moment(plan["old_last_leaf_at"])
    assert moment(plan["ends_at"]) - moment(plan["signs_until"]) >= timedelta(hours=8)
    assert moment(plan["next_due_at"]) < moment(plan["signs_until"]) - timedelta(days=60)
    assert plan["refusals"] == []
    text = run(path, "rotate", "prod", "--plan").stdout
    assert all(plan[name] in text for name in ("published_at", "signs_from", "old_retires_at", "deadline", "root"))
    assert (keys(path), listed(path)) == (before, {"prod-1": "active"})


def test_the_next_issuer_is_published_at_once_if_the_roots_key_is_here(path: Path) -> None:
    made = done(run(path, "rotate", "prod", "--json"))
    assert (made["staged"], made["csr"]) == (True, None)
    assert listed(path) == {"prod-1": "active", "prod-2": "staged"}
    assert made["created"] == [str(path.parent / "keys" / "prod-2.key")]
    again = run(path, "rotate", "prod")
    assert again.exit_code == 1
    assert "prod-2 is staged already, and signs from" in again.stderr


def trusted(path: Path, tmp_path: Path) -> Corporate:
    """A root elsewhere, which the CA trusts."""
    made = Corporate.make(tmp_path / "corp")
    (path.parent / "certificates").mkdir(exist_ok=True)
    shutil.copy(made.certificate_file, path.parent / "certificates" / "root.pem")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("root_crl")))
    return made


def test_a_root_elsewhere_signs_the_next_issuer(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path / "ca", "--environment", "prod", "--offline-root")
    corporate = trusted(path, tmp_path)
    first, service, second = tmp_path / "first.csr", tmp_path / "service.csr", tmp_path / "second.csr"
    for issuer, kind, request in (("prod/prod-1", "rsa-2048", first), ("service/service-1", "ec-p256", service)):
        done(run(path, "csr", issuer, "--create", kind, "--out", request, "--json"))
        done(run(path, "import", corporate.sign(request, tmp_path / f"{request.stem}.pem", "-days", "100"), "--json"))
    plan = done(run(path, "rotate", "prod", "--plan", "--json"))
    assert (plan["root_key"], plan["ends_at"], plan["kind"]) == (None, None, "rsa-2048")
    made = done(run(path, "rotate", "prod", "--out", second, "--json"))
    assert (made["staged"], made["file"]) == (False, str(second))
    assert listed(path) == {"prod-1": "active", "prod-2": "preparing"}
    again = run(path, "rotate", "prod")
    assert x509.load_pem_x509_csr(again.stdout.encode()).public_key() == of(second), "the same key asks again"
    assert "acme-ca issuer import" in again.stderr
    short = run(path, "import", corporate.sign(second, tmp_path / "short.pem", "-days", "90"))
    assert short.exit_code == 1
    assert "it ends before prod-1, which it is to follow" in short.stderr
    certificate = corporate.sign(second, tmp_path / "second.pem", "-days", "900")
    assert done(run(path, "import", certificate, "--dry-run", "--json"))["signs_from"] is None
    assert listed(path) == {"prod-1": "active", "prod-2": "preparing"}
    taken = done(run(path, "import", certificate, "--json"))
    assert (taken["issuer"], taken["files"]) == ("prod/prod-2", [])
    assert moment(taken["signs_from"])
    assert listed(path) == {"prod-1": "active", "prod-2": "staged"}
    assert "no configured issuer has the key" in run(path, "import", certificate).stderr


def of(request: Path) -> Any:  # noqa: ANN401 - a public key of some kind
    return x509.load_pem_x509_csr(request.read_bytes()).public_key()


def test_a_key_that_nobody_prepared_is_not_taken(path: Path) -> None:
    shutil.copy(path.parent / "keys" / "prod-1.key", path.parent / "keys" / "prod-2.key")
    result = run(path, "rotate", "prod")
    assert result.exit_code == 1
    assert "prod-2.key is there already, and no rotation made it" in result.stderr
    (path.parent / "keys" / "prod-2.key").unlink()
    assert done(run(path, "rotate", "prod", "--json"))["staged"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("lifetime = 5184000", "rotation.lifetime is too short for the rest of [environment.prod.rotation]"),
        ("before = 630000000\nlifetime = 632000000", "the root ends at 20"),
        ("before = 3600\npublish_ahead = 3600\nlifetime = 90000000", "would not live longer than prod-1"),
    ],
)
def test_a_next_issuer_that_is_of_no_use_is_refused(path: Path, settings: str, reason: str) -> None:
    configured(path, settings)
    plan = done(run(path, "rotate", "prod", "--plan", "--json"))
    assert reason in " ".join(plan["refusals"])
    assert "Refused: " in run(path, "rotate", "prod", "--plan").stdout
    result = run(path, "rotate", "prod")
    assert result.exit_code == 1
    assert reason in result.stderr
    assert "prod-2.key" not in keys(path)
    assert listed(path) == {"prod-1": "active"}


def test_the_wrong_root_signs_nothing(path: Path, tmp_path: Path) -> None:
    other = make_ca_files(tmp_path / "other").parent / "keys"
    configured(path, f'root_key = {{ path = "{other / "root.key"}", passphrase = "file:{other / "passphrase"}" }}\n')
    result = run(path, "rotate", "prod")
    assert result.exit_code == 1
    assert "is of another root than" in result.stderr
    assert listed(path) == {"prod-1": "active", "prod-2": "preparing"}
    path.write_text(path.read_text().partition("\n[environment.prod.rotation]")[0])
    assert done(run(path, "rotate", "prod", "--json"))["staged"], "what was begun is gone on with"


def test_what_somebody_is_at_is_left_to_them_until_they_died(path: Path) -> None:
    found = config.load(path)
    database = Database(found.database.url)
    (line,) = generations.lines(database, found, "prod")
    generations.begin(database, line, generations.next_of(found, line), "other:1")
    with clocks.moving():
        result = run(path, "rotate", "prod")
        assert result.exit_code == 1
        assert "other:1 prepares prod-2; if it died, repeat this after 20" in result.stderr
        assert listed(path) == {"prod-1": "active", "prod-2": "preparing"}
        clocks.wait(generations.LEASE)
        assert done(run(path, "rotate", "prod", "--json"))["staged"]
    database.close()


def test_several_issuers_have_to_be_named(path: Path) -> None:
    text = path.read_text()
    table = text[text.index("[[environment.prod.issuer]]") :].partition("\n\n")[0]
    path.write_text(text.replace(table, table + "\n\n" + table.replace("prod-1", "prod-2")))
    assert CliRunner().invoke(cli, ["init", "--dir", str(path.parent)]).exit_code == 0
    result = run(path, "rotate", "prod")
    assert result.exit_code == 1
    assert "There are prod-1, prod-2" in result.stderr
    assert "there is no issuer 'prod-9'" in run(path, "rotate", "prod", "prod-9").stderr
    assert done(run(path, "rotate", "prod", "prod-1", "--json"))["issuer"] == "prod-3", "each name is one issuer's"
    assert listed(path) == {"prod-1": "active", "prod-3": "staged", "prod-2": "active"}


def test_what_cannot_be_is_refused(path: Path) -> None:
    assert "there is no environment 'none'" in run(path, "rotate", "none").stderr
    assert "there is no environment 'none'" in run(path, "list", "none").stderr
    assert "exists already; it is never overwritten" in run(path, "rotate", "prod", "--out", path).stderr
    assert listed(path) == {"prod-1": "active"}
