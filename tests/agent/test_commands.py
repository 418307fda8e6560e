"""`acme-workload` as people and scripts call it: processes of its own, and wrong usage in this one."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from spiffe import WorkloadApiClient

from acme_ca.agent import eab as forms
from acme_ca.agent.client import Account
from acme_ca.agent.commands import cli
from acme_ca.agent.errors import AgentError
from acme_ca.agent.jws import AccountKey, new_key
from acme_ca.agent.messages import Exchanged, Order
from acme_ca.agent.proofs import external_binding
from tests.agent.conftest import MACHINE, NAME, PROFILE, SPIFFE_ID, Home
from tests.support.server import PATIENCE, eventually

pytestmark = pytest.mark.timeout(400)  # a server is four Python processes that start at once, beside other tests

PAIR = Exchanged(kid="wk_1", hmac_key="c2VjcmV0", hmac_alg="HS256", directory="https://ca.example/directory")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "acme_ca.agent", *map(str, arguments)]


def call(*arguments: object, code: int = 0) -> str:
    """Run the command in a process of its own; return what it printed, on standard error if it failed."""
    ended = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == code, ended.stderr + ended.stdout
    return ended.stderr if code else ended.stdout


def common(home: Home, environment: str = "test") -> tuple[object, ...]:
    token = ("--token-file", home.token_file(environment))
    return ("--server", home.directory(environment), "--ca-file", home.server.root, *token)


def wanted(home: Home) -> tuple[object, ...]:
    return ("--dns", NAME, "--spiffe-id", SPIFFE_ID, "--profile", PROFILE, "--out", home.out)


def order(home: Home, pair: Exchanged, key: AccountKey | None = None) -> str:
    """Make an account with a key for external account binding; return the status of its order."""
    account = Account(home.acme(), key or AccountKey(new_key()))
    account.register(external_binding(account.key, pair, account.server.directory.new_account))
    names = {"identifiers": [{"type": "dns", "value": NAME}], "profile": PROFILE}
    return account.create(account.server.directory.new_order, names, Order, "newOrder")[1].status


class TestEab:
    def test_prints_variables_for_a_shell(self, home: Home) -> None:
        text = call("eab", *common(home))
        script = f'{text}\nprintf "%s %s %s" "$ACME_EAB_KID" "$ACME_EAB_HMAC_KEY" "$ACME_DIRECTORY"'
        values = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split(" ")
        assert values[2] == home.directory()
        assert order(home, Exchanged(kid=values[0], hmac_key=values[1])) == "ready"

    def test_prints_json(self, home: Home) -> None:
        found = json.loads(call("eab", *common(home), "--output", "json"))
        assert found["identity"]["spiffe_id"] == SPIFFE_ID
        assert order(home, Exchanged.model_validate(found)) == "ready"

    def test_prints_a_secret_for_cert_manager(self, home: Home) -> None:
        text = call(
            "eab", *common(home), "--output", "k8s-secret", "--secret-name", "acme-eab-prod", "--namespace", "pay"
        )
        manifest = yaml.safe_load(text)
        assert manifest["kind"] == "Secret"
        assert manifest["metadata"] == {"name": "acme-eab-prod", "namespace": "pay"}
        data = {name: base64.b64decode(value).decode() for name, value in manifest["data"].items()}
        assert order(home, Exchanged(kid=data["kid"], hmac_key=data["secret"])) == "ready"

    def test_is_good_for_the_named_account_key_alone(self, home: Home) -> None:
        key = AccountKey(new_key())
        found = json.loads(call("eab", *common(home), "--output", "json", "--account-jkt", key.jwk.thumbprint))
        pair = Exchanged.model_validate(found)
        with pytest.raises(AgentError, match="unauthorized"):
            order(home, pair)
        assert order(home, pair, key) == "ready"

    def test_binds_an_account_without_a_key(self, home: Home, machine: tuple[Path, Path]) -> None:
        account = Account(home.acme(), AccountKey(new_key()))
        files = ("--x5c-cert", machine[0], "--x5c-key", machine[1], "--provider", "machines")
        server = ("--server", home.directory(), "--ca-file", home.server.root)
        jkt = ("--account-jkt", account.key.jwk.thumbprint, "--no-key", "--output", "json")
        assert "kid" not in json.loads(call("eab", *server, *files, *jkt))
        account.register()
        names = {"identifiers": [{"type": "dns", "value": MACHINE}]}
        assert account.create(account.server.directory.new_order, names, Order, "newOrder")[1].status == "ready"

    def test_tells_why_it_was_refused(self, home: Home) -> None:
        arguments = common(home)
        Path(str(arguments[-1])).write_text(home.token("dev"))
        error = call("eab", *arguments, code=1)
        assert "audience_mismatch" in error
        assert "incorrectResponse" in error

    def test_tells_what_to_do_about_a_certificate_it_does_not_believe(self, home: Home) -> None:
        token = ("--token-file", home.token_file())
        assert "--ca-file" in call("eab", "--server", home.directory(), *token, code=1)

    def test_tells_that_the_server_is_no_acme_server(self, home: Home) -> None:
        arguments = ("--ca-file", home.server.root, "--token-file", home.token_file())
        assert "404" in call("eab", "--server", f"{home.server.url}/nothing", *arguments, code=1)
        assert "no https URL" in call("eab", "--server", "http://localhost/directory", *arguments, code=1)

    def test_waits_for_a_provider_that_is_away(self, home: Home) -> None:
        home.cluster.rotate("rsa-2048")  # a new key has to be fetched
        arguments = common(home)
        home.cluster.api.fault = "500"
        try:
            assert "provider_unavailable" in call("eab", *arguments, code=1)
        finally:
            home.cluster.api.fault = None


class TestRun:
    def test_once_obtains_a_certificate(self, home: Home) -> None:
        shouted = [NAME.upper() if part == NAME else part for part in wanted(home)]
        call("run", *common(home), *shouted, "--once", "--status-file", home.folder / "status.json")
        certificate = x509.load_pem_x509_certificate((home.out / "cert.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [NAME]
        assert home.status()["last_error"] is None

    def test_once_fails_with_the_reason(self, home: Home) -> None:
        error = call("run", *common(home), "--dns", "www.pay.test.localhost", "--out", home.out, "--once", code=1)
        assert "identifier_not_allowed" in error
        assert not (home.out / "current").exists()

    def test_goes_on_serves_the_socket_and_ends_by_sigterm(self, home: Home) -> None:
        socket = home.folder / "w.sock"
        extra = ("--spiffe-socket", f"unix://{socket}", "--envoy", home.folder / "envoy")
        with running(*common(home), *wanted(home), *extra, "--hook", f"touch {home.folder}/hooked") as process:
            eventually((home.folder / "hooked").exists, "the hook")
            with closing(WorkloadApiClient(f"unix://{socket}", default_timeout=PATIENCE)) as client:
                assert str(client.fetch_x509_svid().spiffe_id) == SPIFFE_ID
            assert (home.folder / "envoy" / "tls_certificate.json").exists()
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        events = [json.loads(line)["event"] for line in output.splitlines()]
        assert events[-2:] == ["certificate.issued", "run.stopped"]
        assert not socket.exists()

    def test_renews_before_the_certificate_ends(self, home: Home) -> None:
        """The profile gives a minute, so that renewal is due within the half of it."""
        token = home.folder / "token"
        arguments = (*common(home), "--dns", NAME, "--profile", "workload-1m", "--out", home.out)
        with running(*arguments) as process:
            eventually((home.out / "cert.pem").exists, "the first certificate")
            first = (home.out / "cert.pem").read_bytes()
            token.write_text(home.token())
            eventually(lambda: (home.out / "cert.pem").read_bytes() != first, "the second certificate")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        certificate = x509.load_pem_x509_certificate(first)
        second = x509.load_pem_x509_certificate((home.out / "cert.pem").read_bytes())
        assert second.not_valid_before_utc < certificate.not_valid_after_utc

    def test_keeps_trying_while_the_ca_is_away(self, home: Home) -> None:
        arguments = ("--server", "https://127.0.0.1:1/directory", "--token-file", home.token_file(), *wanted(home))
        with running(*arguments, "--status-file", home.folder / "status.json") as process:
            eventually((home.folder / "status.json").exists, "the status file")
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        failed = json.loads(output.splitlines()[0])
        assert failed["event"] == "renewal.failed"
        assert failed["certificate_seconds_left"] == 0
        assert "gave no answer" in str(home.status()["last_error"])

    def test_a_missing_package_is_named(self, home: Home) -> None:
        blocked = home.folder / "grpc.py"
        blocked.write_text("raise ModuleNotFoundError(\"No module named 'grpc'\", name='grpc')")
        environment = {**os.environ, "PYTHONPATH": f"{home.folder}{os.pathsep}{os.getcwd()}"}  # noqa: PTH109 - one string
        arguments = command("run", *common(home), *wanted(home), "--spiffe-socket", f"unix://{home.folder}/s", "--once")
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
        assert ended.returncode == 1
        assert "acme-ca[spiffe-socket]" in ended.stderr


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `acme-workload run` until the block ends."""
    process = subprocess.Popen(command("run", *arguments), stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def usage(arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="acme-workload")


EAB = ("eab", "--server", "https://ca.example/directory")
RUN = ("run", "--server", "https://ca.example/directory", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("eab", "--token-file", "t"), "--server"),
        (EAB, "none is given"),
        ((*EAB, "--gcp", "--github"), "2 are given"),
        ((*EAB, "--token-command", "true", "--token-file", "t"), "2 are given"),
        ((*EAB, "--x5c-cert", "c"), "belong together"),
        ((*EAB, "--gcp", "--account-jkt", "short"), "no thumbprint"),
        ((*EAB, "--gcp", "--no-key"), "--account-jkt has to say which"),
        ((*EAB, "--gcp", "--no-key", "--account-jkt", "x" * 43, "--output", "k8s-secret"), "leave out --no-key"),
        ((*RUN, "--gcp"), "nothing is asked for"),
        ((*RUN, "--gcp", "--dns", "not a name"), "not a name"),
        ((*RUN, "--gcp", "--spiffe-id", "https://x"), "spiffe://"),
        (("run", "--server", "https://ca.example/directory", "--gcp", "--dns", "a.example"), "--out"),
    ],
)
def test_wrong_usage_is_explained(arguments: Sequence[str], reason: str) -> None:
    result = usage(arguments)
    assert result.exit_code == 2
    assert reason in result.output


@pytest.mark.parametrize("name", ["eab", "run"])
def test_help_tells_how_aws_gives_a_token(name: str) -> None:
    result = usage((name, "--help"))
    assert result.exit_code == 0
    assert "aws sts get-web-identity-token" in result.output
    assert "Exit codes" in result.output


@pytest.mark.parametrize("name", ["Upper", "a b", "-x", "", "a\n", "a" * 300])
def test_a_name_that_kubernetes_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(AgentError, match="no name for Kubernetes"):
        forms.kubernetes_secret(PAIR, name, None)


def test_a_secret_needs_a_key() -> None:
    with pytest.raises(AgentError, match="gave no key"):
        forms.kubernetes_secret(Exchanged(), "a", None)


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_shell_reads_what_the_server_said_and_runs_nothing(kid: str, key: str) -> None:
    text = forms.shell(PAIR.model_copy(update={"kid": kid, "hmac_key": key}), "https://ca.example/'$(false)`")
    assert subprocess.run(["sh", "-euc", text], capture_output=True, check=True).stdout == b""
    values: dict[str, Any] = dict(part.split("=", 1) for part in text.splitlines())
    assert set(values) <= {"ACME_DIRECTORY", "ACME_EAB_KID", "ACME_EAB_HMAC_KEY", "ACME_EAB_HMAC_ALG"}
