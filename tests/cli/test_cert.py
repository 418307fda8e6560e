"""`acme-ca cert`, and what the calls behind it refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_ca import clock, config
from acme_ca.admin.selections import Selectors
from acme_ca.app import create_app
from acme_ca.authority import Authority
from acme_ca.cli import cli
from acme_ca.services import revocations
from acme_ca.vocabulary import SELECTORS
from tests.admin.conftest import Api
from tests.support import ledger
from tests.support.ca import make_ca_files
from tests.support.ledger_lines import line, put, revoked

Run = Callable[..., Result]
HOME = "/environments/test"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_ca_files(tmp_path)


@pytest.fixture
def ca(path: Path) -> Iterator[Authority]:
    """The CA whose ledger the commands see."""
    found = Authority(config.load(path))
    yield found
    found.close()


@pytest.fixture
def run(path: Path) -> Run:
    """Run `acme-ca cert`."""

    def invoke(verb: str, *arguments: str, answer: str | None = None) -> Result:
        where = () if verb in {"block", "unblock", "blocked"} else ("--environment", "test")
        return CliRunner().invoke(cli, ["cert", verb, "--config", str(path), *where, *arguments], input=answer)

    return invoke


def document(result: Result) -> Any:  # noqa: ANN401 - whatever JSON carries
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result, *words: str, code: int = 1) -> None:
    assert result.exit_code == code, result.output
    text = re.sub(r"\s+", " ", result.output)
    assert all(word in text for word in words), result.output


def test_each_selector_of_the_api_is_an_option() -> None:
    assert list(SELECTORS) == list(Selectors.model_fields)


def test_search_finds_by_selectors(ca: Authority, run: Run) -> None:
    put(ca.database, *(line((f"dns:n{n}.x.test.localhost",), profile="p", account_id=f"a{n}") for n in range(3)))
    issued = ledger.issue(ca)
    assert len(document(run("search", "--json"))) == 4
    (found,) = document(run("search", "--profile", "p", "--account-id", "a1", "--json"))
    assert found["names"] == ["dns:n1.x.test.localhost"]
    assert len(document(run("search", "--below", "x.test.localhost", "--standing", "valid", "--json"))) == 3
    some = run("search", "--limit", "2")
    assert "more than 2" in some.stderr
    assert issued.serial in some.stdout
    assert len(some.stdout.splitlines()) == 3
    assert run("search", "--rule", "none").stdout == "No certificate of environment test fits.\n"


@pytest.mark.parametrize(("option", "value"), [("--serial", "xyz"), ("--below", "a..b"), ("--since", "yesterday")])
def test_a_wrong_selector_is_named(run: Run, option: str, value: str) -> None:
    refused(run("search", option, value), option.strip("-"))
    refused(run("revoke", option, value), option.strip("-"))


def test_a_certificate_is_shown(ca: Authority, run: Run) -> None:
    issued = ledger.issue(ca)
    shown = run("show", issued.serial).stdout
    assert issued.serial in shown
    assert "Standing" in shown
    assert document(run("show", issued.serial, "--json"))["certificate"]["serial"] == issued.serial
    first, *chain = x509.load_pem_x509_certificates(run("show", issued.serial, "--pem").stdout.encode())
    assert first.serial_number == int(issued.serial, 16)
    first.verify_directly_issued_by(chain[0])
    ledger.revoke(ca, issued, 1)
    after = run("show", issued.serial).stdout
    assert "keyCompromise" in after
    assert "is blocked" in after


def test_what_cannot_be_shown_is_refused(run: Run) -> None:
    refused(run("show", "ab"), "no certificate")
    refused(run("show", "ab", "--pem", "--json"), "contradict", code=2)


def test_one_serial_is_revoked_after_a_yes(ca: Authority, run: Run) -> None:
    issued = ledger.issue(ca)
    put(ca.database, line())
    refused(run("revoke", issued.serial, answer="n\n"), "1 valid certificate", "Aborted")
    assert "would be revoked" in run("revoke", issued.serial, "--dry-run").stdout
    assert revoked(ca.database) == set()
    done = run("revoke", issued.serial, "--reason", "superseded", answer="y\n")
    assert "1 of 1 revoked" in done.stdout, done.output
    assert revoked(ca.database) == {issued.id}
    refused(run("revoke", issued.serial, "--yes"), "no valid certificate")
    assert "superseded" in run("show", issued.serial).stdout


def test_many_are_revoked_and_listed(ca: Authority, run: Run) -> None:
    assert "Nothing was revoked" in run("revocations").stdout
    wanted = [line((f"dns:n{n}.x.test.localhost",)) for n in range(3)]
    put(ca.database, *wanted, line())
    chosen = ("--below", "x.test.localhost", "--yes")
    refused(run("revoke", *chosen, "--expect", "2"), "3 valid certificates fit, not 2")
    done = document(run("revoke", *chosen, "--expect", "3", "--reason", "keyCompromise", "--json"))
    assert (done["status"], done["revoked"], done["reason"]) == ("finished", 3, 1)
    assert revoked(ca.database) == {one.id for one in wanted}
    assert [row["id"] for row in document(run("revocations", "--json"))] == [done["id"]]
    assert "keyCompromise" in run("revocations").stdout
    assert "3 of 3" in run("revocations", done["id"]).stdout
    refused(run("revocations", "nothing"), "nothing")


def test_a_large_revocation_is_watched_until_the_worker_is_done(ca: Authority, run: Run) -> None:
    put(ca.database, *(line() for _ in range(620)))
    worker = Timer(4, revocations.resume, [ca])
    worker.start()
    done = document(run("revoke", "--all", "--yes", "--json"))
    worker.join()
    assert (done["revoked"], done["skipped"]) == (620, 0)


def test_a_revocation_that_nobody_goes_on_with_is_left(ca: Authority, run: Run) -> None:
    put(ca.database, *(line() for _ in range(501)))
    done = run("revoke", "--all", "--yes")
    assert "running: 500 of 501 revoked" in done.stdout
    assert "worker" in done.stdout


@pytest.mark.parametrize("verb", ["revoke", "replace"])
def test_an_act_needs_to_be_told_on_what(run: Run, verb: str) -> None:
    refused(run(verb), "--all", code=2)
    refused(run(verb, "--all", "--profile", "p"), "--all", code=2)
    refused(run(verb, "--all"), "no valid certificate")


def test_a_serial_is_given_once(run: Run) -> None:
    refused(run("revoke", "ab", "--serial", "ab"), "give one", code=2)


def test_a_fleet_is_replaced_and_the_replacement_cancelled(ca: Authority, run: Run) -> None:
    assert "no replacements" in run("replacements").stdout
    put(ca.database, line(), line())
    url = ("--explanation-url", "https://example.com/why")
    assert "2 valid certificates" in run("replace", "--all", "--dry-run").stdout
    refused(run("replace", "--all", answer="n\n"), "Aborted")
    refused(run("replace", "--all", "--explanation-url", "no"), "explanation_url")
    done = document(run("replace", "--all", "--yes", "--minutes", "5", *url, "--json"))
    assert (done["spread"], done["remaining"], done["explanation_url"]) == (300, 2, url[1])
    assert done["id"] in run("replacements").stdout
    assert document(run("replacements", "--json"))[0]["id"] == done["id"]
    assert "2 remain" in run("replacements", done["id"]).stdout
    assert "cancelled" in run("cancel-replacement", done["id"]).stdout
    refused(run("cancel-replacement", done["id"]), "cancelled already")


def test_a_replacement_is_watched_to_its_end(ca: Authority, run: Run) -> None:
    put(ca.database, line(not_after=clock.now() + timedelta(seconds=5)))
    assert "0 remain" in run("replace", "--all", "--yes", "--wait").stdout


def test_a_key_is_blocked_and_let_go(run: Run, tmp_path: Path) -> None:
    assert run("blocked").stdout == "No key is blocked.\n"
    file = tmp_path / "key.pem"
    file.write_bytes(ledger.KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    key = document(run("block", str(file), "--reason", "leaked", "--json"))["key_sha256"]
    assert "leaked" in run("blocked").stdout
    assert document(run("blocked", "--json"))[0]["key_sha256"] == key
    assert "may be used again" in run("unblock", str(file), "--reason", "a mistake").stdout
    refused(run("unblock", key, "--reason", "again"), "not blocked")
    assert key in run("block", key, "--reason", "leaked").stdout
    assert document(run("unblock", key, "--reason", "a mistake", "--json"))["key_sha256"] == key


def test_what_is_no_key_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("-----BEGIN nothing")
    refused(run("block", str(file), "--reason", "leaked"), "expected a public key")
    file.write_bytes(b"\xff")
    refused(run("block", str(file), "--reason", "leaked"), "cannot be read")
    refused(run("block", "xyz", "--reason", "leaked"), "key")
    refused(run("block", "xyz", "--reason", " "), "some text", code=2)


@pytest.mark.parametrize("noun", ["revocations", "replacements"])
def test_the_api_counts_without_acting_and_names_what_is_wrong(ca: Authority, noun: str) -> None:
    put(ca.database, line(), line())
    api = Api(create_app(ca, ("admin",)), ca)
    counted = api("POST", f"{HOME}/{noun}?dry_run=true", {"selection": {}})
    assert (counted.status, counted.json["total"], counted.json["status"]) == (200, 2, "dry-run")
    assert api("GET", f"{HOME}/{noun}").json["items"] == []
    assert "serial" in api("POST", f"{HOME}/{noun}", {"selection": {"serial": "xyz"}}).refused(400)
    assert "colour" in api("POST", f"{HOME}/{noun}", {"selection": {"colour": "red"}}).refused(400)
    assert "expect" in api("POST", f"{HOME}/{noun}", {"selection": {}}).refused(409)
    assert "colour" in api("GET", f"{HOME}/certificates?colour=red").refused(400)


def test_inventory_counts_what_is_valid_by_what_it_is_made_of(ca: Authority, run: Run) -> None:
    put(
        ca.database,
        *(line(key_type="ml-dsa-65", signature="rsa-pss-sha256", profile="p") for _ in range(3)),
        line(key_type="ec-p256", signature="ecdsa-sha256", issuer_id="test-2"),
        line(key_type="ec-p256", signature="ecdsa-sha256", environment="dev"),
        line(key_type="ec-p256", signature="ecdsa-sha256", not_after=clock.now() - timedelta(minutes=1)),
    )
    told = document(run("inventory", "--json"))
    assert (told["environment"], told["total"]) == ("test", 4)
    assert told["by_key_type"] == {"ec-p256": 1, "ml-dsa-65": 3}
    assert told["by_signature"] == {"ecdsa-sha256": 1, "rsa-pss-sha256": 3}
    kinds = [
        (one["issuer_id"], one["profile"], one["key_type"], one["signature"], one["count"]) for one in told["items"]
    ]
    assert kinds == [
        ("test-1", "p", "ml-dsa-65", "rsa-pss-sha256", 3),
        ("test-2", "server-1h", "ec-p256", "ecdsa-sha256", 1),
    ]
    assert all(told["as_of"] < one["earliest_not_after"] <= one["latest_not_after"] for one in told["items"])
    text = run("inventory", "--profile", "p").stdout
    assert "ml-dsa-65" in text
    assert "ec-p256" not in text
    assert "Signatures: rsa-pss-sha256 3" in text
    assert "has no live certificate that fits" in run("inventory", "--profile", "none").stdout
