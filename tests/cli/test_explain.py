"""`acme-ca explain`: orders, certificates and refusals, told from the audit trail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acme_ca import config
from acme_ca.cli import cli
from acme_ca.services import audit, audit_seal
from tests.support import web
from tests.support.acme_client import AcmeClient, certificates, make_csr
from tests.support.ca import RunningCa, make_ca_files, start_ca, with_environment
from tests.support.server import eventually
from tests.support.web import WebServer

Run = Callable[..., Result]
NAME = "app.test.localhost"


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose name is ordered."""
    with web.serve(WebServer()) as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The configuration file."""
    return make_ca_files(tmp_path)


@pytest.fixture
def ca(path: Path, website: WebServer) -> Iterator[RunningCa]:
    """The CA of the file, whose validations reach the website."""
    settings = config.load(path)
    network = settings.environment["test"].validation.model_copy(update={"http_port": website.port})
    changed = with_environment(settings, "test", validation=network)
    running = start_ca(changed, changed.database.url, changed.state)
    yield running
    running.close()


@pytest.fixture
def explain(ca: RunningCa, path: Path) -> Run:
    """Seal what happened, and run the command."""

    def run(*arguments: str) -> Result:
        while audit_seal.seal(ca.authority):
            pass
        return CliRunner().invoke(cli, ["explain", "--config", str(path), *arguments])

    return run


def challenged(ca: RunningCa, website: WebServer, body: str | None = None) -> tuple[AcmeClient, str]:
    """An order whose challenge was answered with the right body, or with another one."""
    client = ca.client().register()
    url, order = client.order([NAME])
    challenge = client.challenge(order["authorizations"][0])
    website.token(challenge["token"], body or client.key_authorization(challenge["token"]))
    client.ok(challenge["url"], {})
    eventually(lambda: client.get(url)["status"] in {"ready", "invalid"}, "the validation")
    return client, url


def test_an_issued_certificate_is_told_from_its_serial_its_order_and_its_name(
    ca: RunningCa, website: WebServer, explain: Run
) -> None:
    client, url = challenged(ca, website)
    client.finalize(client.get(url), make_csr([NAME]))
    (certificate, *_) = certificates(client.post(client.get(url)["certificate"]).text)
    for what in (f"{certificate.serial_number:x}", url.rpartition("/")[2], NAME):
        result = explain(what)
        assert result.exit_code == 0, result.output
        told = [line.split()[2] for line in result.stdout.splitlines() if line.startswith("20")]
        assert told == ["order.created", "authorization.valid", "certificate.issued"], result.stdout
        assert "127.0.0.1" in result.stdout
        assert result.stdout.endswith("next: Nothing: the certificate is issued.\n")


def test_a_challenge_that_failed_is_told_with_what_was_seen(ca: RunningCa, website: WebServer, explain: Run) -> None:
    _, url = challenged(ca, website, "something else")
    result = explain(url.rpartition("/")[2])
    assert "authorization.invalid" in result.stdout
    assert "something else" in result.stdout
    assert "next: Mend what the error says" in result.stdout


def test_a_refusal_is_told_with_its_rule_and_what_to_ask_next(ca: RunningCa, explain: Run) -> None:
    client = ca.client().register()
    client.refused(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": "app.elsewhere.example"}]})
    document = json.loads(explain("app.elsewhere.example", "--json").stdout)
    assert [event["event"] for event in document["events"]] == ["order.refused"]
    assert "no rule of environment test allows" in document["events"][0]["details"]["error"]["detail"]
    assert "acme-ca policy explain app.elsewhere.example --environment test" in document["next"]


@pytest.mark.parametrize("what", ["nothing.example", "ff", "0" * 26])
def test_what_nobody_knows_is_refused_with_what_is_expected(explain: Run, what: str) -> None:
    result = explain(what)
    assert result.exit_code == 1
    assert "knows nothing" in result.stderr


@pytest.mark.parametrize("name", ["fd00::1", "db", "cafe", "10.0.0.1", "dead.beef"])
def test_a_name_is_not_taken_for_a_serial(ca: RunningCa, explain: Run, name: str) -> None:
    with ca.authority.database.write() as connection:
        audit.record(connection, "test", "order.refused", "a" * 26, names=[f"dns:{name}"], error={"detail": "no"})
    assert f"names: dns:{name}" in explain(name).output


def test_a_serial_is_read_as_tools_print_it(ca: RunningCa, explain: Run) -> None:
    serial = "00" + "ab" * 16
    with ca.authority.database.write() as connection:
        audit.record(connection, "test", "certificate.revoked", "c", serial=serial, names=[])
    for form in (serial, serial.upper(), serial[2:], ":".join(["AB"] * 16)):
        assert "certificate.revoked c" in explain(form).output, form


def test_what_a_client_made_up_does_not_reach_the_terminal_as_it_is(ca: RunningCa, path: Path, explain: Run) -> None:
    client = ca.client().register()
    profile = "\x1b[2J\x9b" + "x" * 5000
    client.refused(client.url("newOrder"), {"identifiers": [{"type": "dns", "value": NAME}], "profile": profile})
    told = explain(NAME).output
    searched = CliRunner().invoke(cli, ["audit", "search", "--config", str(path), "--event", "order.refused"]).output
    for output in (told, searched):
        assert "order.refused" in output
        assert "\\u001b[2J" in output
        assert output.replace("\n", "").isprintable()
        assert output.count("x" * 900) == 1, "and only so much of it"
