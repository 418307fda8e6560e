"""`acme-ca account`: accounts and their pauses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca import config
from acme_ca.app import create_app
from acme_ca.authority import Authority
from acme_ca.cli import cli
from tests.admin.conftest import Api
from tests.admin.test_accounts import account, pause
from tests.support.ca import make_ca_files
from tests.support.ledger_lines import line, put, revoked

Run = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_ca_files(tmp_path)


@pytest.fixture
def api(path: Path) -> Iterator[Api]:
    """The CA whose accounts the commands see."""
    ca = Authority(config.load(path))
    yield Api(create_app(ca, ("admin",)), ca)
    ca.close()


@pytest.fixture
def run(path: Path) -> Run:
    """Run `acme-ca account`."""

    def invoke(verb: str, *arguments: str, code: int = 0, answer: str | None = None) -> Result:
        command = ["account", verb, "--config", str(path), "--environment", "test", *arguments]
        result = CliRunner().invoke(cli, command, input=answer)
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_accounts_are_listed_and_shown(api: Api, run: Run) -> None:
    assert "No account of environment test fits" in run("list").stdout
    first = account(api, eab_kid="kid", eab_label="team", note="[the] build:hosts:")
    second = account(api)
    assert [row["id"] for row in json.loads(run("list", "--json").stdout)] == [second, first]
    listed = run("list", "--eab-kid", "kid", "--since", "2020-01-01T00:00:00Z").stdout
    assert first in listed
    assert second not in listed
    assert "more than 1" in run("list", "--limit", "1").stderr
    assert "status" in run("list", "--status", "tired", code=1).stderr
    put(api.ca.database, line(account_id=first))
    pause(api, first)
    shown = run("show", first).stdout
    for told in ("[the] build:hosts:", "of them valid   1", "open orders     0", "dns:a.test.localhost"):
        assert told in shown
    assert json.loads(run("show", first, "--json").stdout)["eab_label"] == "team"
    assert "pause" not in run("show", second).stdout
    assert "no account" in run("show", "nothing", code=1).stderr


def test_an_account_ends_with_its_certificates_after_a_yes(api: Api, run: Run) -> None:
    account_id = account(api)
    put(api.ca.database, line(account_id=account_id), line(account_id=account_id))
    told = run("deactivate", account_id, "--revoke", "superseded", "--dry-run").stdout
    assert "2 valid certificates (superseded) would be revoked" in told
    run("deactivate", account_id, "--revoke", "superseded", answer="n\n", code=1)
    assert json.loads(run("show", account_id, "--json").stdout)["status"] == "valid"
    done = run("deactivate", account_id, "--revoke", "superseded", answer="y\n").stdout
    assert f"Account {account_id} is revoked." in done
    assert "about 2 certificates" in done
    assert len(revoked(api.ca.database)) == 2
    other = account(api)
    assert json.loads(run("deactivate", other, "--yes", "--json").stdout)["revocation"] is None


def test_an_account_has_a_note(api: Api, run: Run) -> None:
    account_id = account(api)
    assert "is set" in run("note", account_id, "the build hosts").stdout
    assert "the build hosts" in run("show", account_id).stdout
    assert "is removed" in run("note", account_id, "").stdout
    assert json.loads(run("show", account_id, "--json").stdout)["note"] is None


def test_a_pause_is_listed_and_ended(api: Api, run: Run) -> None:
    assert "Nothing is paused" in run("pauses").stdout
    account_id = account(api)
    pause_id = pause(api, account_id)
    assert pause_id in run("pauses").stdout
    assert "could order" in run("unpause", pause_id, "--dry-run").stdout
    assert f"Account {account_id} can order dns:a.test.localhost again." in run("unpause", pause_id).stdout
    assert json.loads(run("pauses", "--json").stdout) == []
    assert "no pause" in run("unpause", pause_id, code=1).stderr
