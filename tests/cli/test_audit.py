"""`acme-ca audit`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from acme_ca.authority import Authority
from acme_ca.cli import cli
from acme_ca.config import load
from acme_ca.services import audit, audit_seal
from acme_ca.sinks.formats import FORMATS
from tests.support.ca import make_ca_files
from tests.support.tools import require_tool
from tests.support.trail import add, tampering

Run = Callable[..., Result]
EVENTS = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_ca_files(tmp_path)


@pytest.fixture
def ca(path: Path) -> Iterator[Authority]:
    """A CA whose trail has some events and a checkpoint."""
    made = Authority(load(path))
    add(made.database, EVENTS)
    audit_seal.seal(made)
    yield made
    made.close()


@pytest.fixture
def run(path: Path, ca: Authority) -> Run:
    assert ca.audit_key is not None

    def invoke(verb: str, *arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, ["audit", verb, "--config", str(path), *map(str, arguments)])

    return invoke


def test_an_untouched_trail_is_good(run: Run) -> None:
    result = run("verify")
    assert result.exit_code == 0, result.output
    assert f"{EVENTS} events up to place {EVENTS}" in result.output
    assert "Nothing is wrong." in result.output
    document = json.loads(run("verify", "--json").stdout)
    assert (document["good"], document["events"], document["checkpoints"]) == (True, EVENTS, 1)


def test_tampering_ends_with_exit_code_1_and_its_place(run: Run, ca: Authority) -> None:
    with tampering(ca.database) as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'eve' WHERE subject = 'order-7'"))
    result = run("verify")
    assert result.exit_code == 1
    assert "7: changed: event 7" in result.output
    result = run("verify", "--json")
    assert result.exit_code == 1
    assert [(finding["seq"], finding["kind"]) for finding in json.loads(result.stdout)["findings"]] == [(7, "changed")]


def test_exported_checkpoint_finds_a_trail_that_was_cut_off(run: Run, ca: Authority, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint.json"
    kept.write_text(run("checkpoint").stdout)
    assert run("verify", "--checkpoint", kept).exit_code == 0
    with tampering(ca.database) as connection:
        for table in ("audit_events", "audit_seals", "audit_checkpoints"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(
            text("UPDATE audit_chain_ends SET seq = 0, last_id = 0, hash = :zeros"), {"zeros": bytes(32)}
        )
    assert run("verify").exit_code == 0
    result = run("verify", "--checkpoint", kept)
    assert result.exit_code == 1
    assert f"{EVENTS}: truncated" in result.output
    kept.write_text("{}")
    assert "it is no checkpoint" in run("verify", "--checkpoint", kept).output


def test_openssl_verifies_a_checkpoint(run: Run, path: Path, tmp_path: Path) -> None:
    """As docs/audit.md shows."""
    document = json.loads(run("checkpoint").stdout)
    (tmp_path / "text").write_text(document["text"])
    (tmp_path / "signature").write_bytes(bytes.fromhex(document["signature"]))
    command: list[str | Path] = [
        require_tool("openssl"),
        "dgst",
        "-sha256",
        "-verify",
        path.parent / "certificates" / "audit.pub",
    ]
    command += ["-signature", tmp_path / "signature", tmp_path / "text"]
    assert b"Verified OK" in subprocess.run(command, check=True, capture_output=True).stdout
    (tmp_path / "text").write_text(document["text"].replace("seq 30", "seq 31"))
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_key_of_another_ca_verifies_nothing(run: Run, tmp_path: Path, path: Path) -> None:
    other = make_ca_files(tmp_path / "other").parent / "certificates" / "audit.pub"
    result = run("verify", "--key", other)
    assert result.exit_code == 1
    assert "signature" in result.output
    assert run("verify", "--key", other, "--key", path.parent / "certificates" / "audit.pub").exit_code == 0
    assert "not a public key" in run("verify", "--key", path).output
    (path.parent / "certificates" / "audit.pub").unlink()
    assert run("verify").exit_code == 0, "the private key tells the public one"


@pytest.mark.parametrize("name", list(FORMATS))
def test_events_are_exported_in_each_format(run: Run, name: str) -> None:
    lines = run("export", "--format", name, "--from", "3", "--to", "5").stdout.splitlines()
    assert len(lines) == 3
    if name == "native":
        assert [json.loads(line)["seq"] for line in lines] == [3, 4, 5]
        assert len(run("export").stdout.splitlines()) == EVENTS


def test_the_tail_is_shown(run: Run) -> None:
    lines = run("tail", "--lines", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["29", "30"]
    assert lines[1].endswith("test order.created order-30 by aaaaaaaaaaaaaaaaaaaaaaaaaa number=30")
    assert [json.loads(line)["seq"] for line in run("tail", "-n", "1", "--json").stdout.splitlines()] == [30]


def test_events_are_searched(run: Run, ca: Authority) -> None:
    with ca.database.write() as connection:
        audit.record(
            connection, "prod", "certificate.issued", "c1", serial=f"{171:034x}", names=["dns:www.prod.localhost"]
        )
    assert "unsealed" in run("search", "--subject", "c1").output
    audit_seal.seal(ca)
    for condition in (("--serial", "AB"), ("--name", "www.prod.localhost"), ("--event", "certificate")):
        assert run("search", *condition).stdout.split()[:1] == ["31"], condition
    page = json.loads(run("search", "--limit", "2", "--event", "order.created", "--json").stdout)
    assert [item["subject"] for item in page["items"]] == ["order-30", "order-29"]
    assert "order-28" in run("search", "--after", page["next"], "--limit", "1").output
    assert run("search", "--actor", "nobody").output == "No event meets all conditions.\n"
    refused = run("search", "--since", "yesterday")
    assert refused.exit_code == 1
    assert "since: expected a time with its zone, such as" in refused.output


def test_a_chain_without_an_end_is_refused(run: Run, ca: Authority) -> None:
    with ca.database.write() as connection:
        connection.execute(text("DELETE FROM audit_chain_ends"))
    result = run("verify")
    assert result.exit_code == 1
    assert "was deleted" in result.output
