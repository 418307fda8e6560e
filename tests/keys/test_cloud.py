"""What key services have in common: URLs, extras, and answers that are none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter, ValidationError

from acme_ca.cli import cli
from acme_ca.keys import KeyAway, KeyUnavailableError, cloud
from acme_ca.keys.cloud import PerProcess, Service, ServiceUrl, WireModel
from tests.support import https_api, key_service, transit
from tests.support.ca import make_ca_files
from tests.support.https_api import Fault, HttpsApi
from tests.support.transit import TOKEN


class Answer(WireModel):
    number: int


@pytest.fixture
def api(tmp_path: Path) -> Iterator[HttpsApi]:
    """A service that answers what it was asked last."""
    with https_api.serve(tmp_path, lambda request: (200, request.json() if request.body else {"number": 1})) as running:
        yield running


def service(api: HttpsApi, timeout: float = 20) -> Service:
    return Service("the key", api.url, dict, {}, api.ca_file, timeout=timeout)


def test_answers_are_read(api: HttpsApi) -> None:
    assert service(api).get("/a", Answer).number == 1
    assert service(api).post("/a", {"number": 2, "other": 3}, Answer).number == 2
    assert api.requests[-1].fields["content-type"] == "application/json"


@pytest.mark.parametrize("fault", ["500", "redirect", "garbage", "array", "deep", "huge", "empty", "cut", "gzip"])
def test_what_is_no_answer_is_away(api: HttpsApi, fault: Fault) -> None:
    api.fault = fault
    with pytest.raises(KeyAway, match="the key: "):
        service(api).get("/a", Answer)
    assert len(api.requests) == 1


@pytest.mark.parametrize("fault", ["silent", "drip", "continue"])
def test_a_service_that_is_slow_is_away(api: HttpsApi, fault: Fault) -> None:
    api.fault = fault
    with pytest.raises(KeyAway, match=r"took too long|deadline"):
        service(api, timeout=0.3).get("/a", Answer)


def test_a_service_that_cannot_be_reached_is_away(tmp_path: Path) -> None:
    with https_api.serve(tmp_path, lambda _: (200, {})) as gone:
        pass
    with pytest.raises(KeyAway, match="Connection refused"):
        service(gone).get("/a", Answer)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "no"}', json.dumps({"errors": ["x" * 1000]}).encode()])
def test_refusals_without_a_form_are_told_shortly(tmp_path: Path, body: bytes) -> None:
    with (
        https_api.serve(tmp_path, lambda _: (418, body)) as api,
        pytest.raises(
            KeyUnavailableError, match=r"the key: it answered GET /a with status 418.*; see the doc"
        ) as raised,
    ):
        service(api).get("/a", Answer)
    assert len(str(raised.value)) < 500


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(KeyUnavailableError, match=r"the key needs no_such_module, .* `pip install 'acme-ca\[aws\]'`"):
        cloud.imported("no_such_module", "aws", "the key")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://vault.example", "https://vault.example"),
        ("https://vault.example:8200/", "https://vault.example:8200"),
        ("http://127.0.0.1:8100", "http://127.0.0.1:8100"),
        ("http://[::1]:8100", "http://[::1]:8100"),
        ("http://localhost:8100", "http://localhost:8100"),
    ],
)
def test_urls_of_services(url: str, expected: str) -> None:
    assert TypeAdapter[str](ServiceUrl).validate_python(url) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://vault.example", "http would show"),
        ("http://10.0.0.1", "http would show"),
        ("vault.example", "expected a URL like https://host"),
        ("ftp://vault.example", "expected a URL like https://host"),
        ("https://", "expected a URL like https://host"),
        ("https://vault.example/v1", "without a path"),
        ("https://vault.example?a=b", "without a path"),
        ("https://user@vault.example", "without a path"),
        ("https://vault.example:port", "expected a URL like https://host"),
    ],
)
def test_urls_that_are_none(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter[str](ServiceUrl).validate_python(url)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_makes_its_own() -> None:
    made = PerProcess(os.getpid)
    assert made() == made() == os.getpid()
    child = os.fork()
    if child == 0:
        os._exit(0 if made() == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert made() == os.getpid()


def test_init_makes_a_key_and_its_issuer_there(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path / "ca", "--environment", "prod")
    with transit.serve(tmp_path / "vault") as engine:
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "token").chmod(0o600)
        settings = f'type = "transit", address = "{engine.api.url}", name = "prod", ca_file = "{engine.api.ca_file}"'
        text = path.read_text()
        (line,) = [line for line in text.splitlines() if "keys/prod-1.key" in line]
        path.write_text(text.replace(line, f'key = {{ {settings}, token = "file:{tmp_path / "token"}" }}'))
        path.with_name("certificates").joinpath("prod-1.pem").unlink()

        engine.instead = (503, {"errors": ["Vault is sealed"]})
        refused = CliRunner().invoke(cli, ["init", "--dir", str(path.parent)])
        assert (refused.exit_code, "Vault is sealed" in refused.stderr) == (1, True)

        engine.instead = None
        make_ca_files(path.parent)
        assert [body["type"] for body in engine.created] == ["ecdsa-p256"]
        checked = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
        assert checked.exit_code == 0, checked.output
        engine.rotate("prod", key_service.new_key("ec-p256"))
        checked = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
        assert (checked.exit_code, "the key of issuer prod-1" in checked.stderr) == (1, True)
