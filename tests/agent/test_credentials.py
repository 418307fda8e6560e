"""Where proofs come from, and what is no proof."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from acme_ca.agent import jws
from acme_ca.agent.credentials import (
    MAX_TOKEN,
    CertifiedKey,
    GcpMetadata,
    GitHubActions,
    Purpose,
    TokenCommand,
    TokenFile,
    _token,
)
from acme_ca.agent.errors import AgentError, CredentialError
from acme_ca.workload import pop
from acme_ca.workload.base import Expected
from tests.agent.conftest import metadata_server
from tests.support import https_api, issuers
from tests.support.https_api import Request
from tests.support.jws import Kind, make_key
from tests.support.pop import Authority, write_pem
from tests.support.server import eventually

PURPOSE = Purpose("https://ca.example/acme/prod/workload", "https://ca.example/c/1", "token.thumbprint")
ROOT = Authority.root("bootstrap root", 31)


def test_the_bound_audience_is_that_of_the_document() -> None:
    token, thumbprint = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    purpose = Purpose("https://acme.example.com/acme/prod/workload", "", f"{token}.{thumbprint}")
    assert purpose.bound_audience.endswith("/workload/ZTRx1Ckl1-tM05o5zaizTTA0yUy5AGereMgSNWC6Ll8")


class TestTokenFile:
    def test_is_read_at_each_use(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        credential = TokenFile(file)
        for token in ("a.b.c", "d.e.f"):
            file.write_text(f"{token}\n")
            assert credential.evidence(PURPOSE) == token
        assert not credential.bound

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "is empty"),
            (" \n", "is empty"),
            ("not-a-token", "three parts"),
            ("a.b.c d", "three parts"),
            ("a.b.\N{LATIN SMALL LETTER E WITH ACUTE}", "three parts"),
            ("-----BEGIN PRIVATE KEY-----", "three parts"),
            ("a.b." + "c" * MAX_TOKEN, "longer than"),
        ],
    )
    def test_that_holds_no_token_is_refused(self, tmp_path: Path, content: str, reason: str) -> None:
        (tmp_path / "token").write_text(content)
        with pytest.raises(CredentialError, match=reason) as refused:
            TokenFile(tmp_path / "token").evidence(PURPOSE)
        assert "PRIVATE" not in str(refused.value)  # whatever the file holds may be a secret

    def test_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CredentialError, match="No such file"):
            TokenFile(tmp_path / "token").evidence(PURPOSE)

    @given(st.binary(max_size=200))
    def test_takes_any_content_or_refuses_it(self, content: bytes) -> None:
        with contextlib.suppress(CredentialError):
            assert _token(content, "it").count(".") == 2


class TestTokenCommand:
    def test_gets_the_audiences_and_the_key_authorization(self) -> None:
        command = 'echo "a.b.$(printf %s "$ACME_WORKLOAD_AUDIENCE" | tail -c 43)"'
        assert TokenCommand(command).evidence(PURPOSE) == f"a.b.{PURPOSE.bound_audience[-43:]}"
        echo = 'test "$ACME_WORKLOAD_STATIC_AUDIENCE" = https://ca.example/acme/prod/workload && '
        assert (
            TokenCommand(echo + 'echo "a.$ACME_WORKLOAD_KEY_AUTHORIZATION"').evidence(PURPOSE)
            == f"a.{'token'}.thumbprint"
        )

    def test_that_fails_is_refused(self) -> None:
        with pytest.raises(CredentialError, match="ended with 7"):
            TokenCommand("exit 7").evidence(PURPOSE)

    def test_that_prints_nothing_is_refused(self) -> None:
        with pytest.raises(CredentialError, match="is empty"):
            TokenCommand("true").evidence(PURPOSE)

    def test_that_hangs_is_ended_with_what_it_started(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        with pytest.raises(CredentialError, match="did not end within 1 seconds"):
            TokenCommand(f"sleep 1000 & echo $! > {pid}; wait", seconds=1).evidence(PURPOSE)
        status = Path(f"/proc/{pid.read_text().strip()}/stat")
        eventually(lambda: not status.exists() or " Z " in status.read_text(), "the end of what was started")


class TestMetadataServer:
    def test_gives_a_token_for_the_bound_audience(self, tmp_path: Path) -> None:
        with issuers.serve(tmp_path / "issuer") as issuer, metadata_server(issuer) as metadata:
            assert GcpMetadata(metadata.host).evidence(PURPOSE).count(".") == 2
            (asked,) = metadata.asked
            assert asked.startswith("/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A")
            assert asked.endswith("format=full")

    def test_that_is_away_is_explained(self) -> None:
        with pytest.raises(CredentialError, match="metadata server gave no token"):
            GcpMetadata("127.0.0.1:1").evidence(PURPOSE)

    def test_that_gives_something_else_is_refused(self, tmp_path: Path) -> None:
        with issuers.serve(tmp_path / "issuer") as issuer, metadata_server(issuer) as metadata:
            metadata.answer = b"<html>"
            with pytest.raises(CredentialError, match="three parts"):
                GcpMetadata(metadata.host).evidence(PURPOSE)


class TestGitHubActions:
    @pytest.fixture(autouse=True)
    def environment(self) -> None:
        """Whatever runs the tests gives them no token."""
        for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
            os.environ.pop(name, None)

    def test_gives_a_token_for_the_bound_audience(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def answer(request: Request) -> tuple[int, object]:
            assert request.fields["authorization"] == "bearer secret"
            return 200, {"count": 1, "value": "a.b.c"}

        with https_api.serve(tmp_path, answer) as api:
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{api.url}/token?api-version=2.0")
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
            assert GitHubActions(api.ca_file).evidence(PURPOSE) == "a.b.c"
            assert api.paths[0].startswith("/token?api-version=2.0&audience=https%3A%2F%2Fca.example")

    @pytest.mark.parametrize(("status", "body"), [(500, {}), (200, {"value": 7}), (200, {"value": "x"})])
    def test_that_gives_no_token_is_explained(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: object
    ) -> None:
        with https_api.serve(tmp_path, lambda _: (status, body)) as api:
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{api.url}/token")
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
            with pytest.raises(CredentialError) as refused:
                GitHubActions(api.ca_file).evidence(PURPOSE)
            assert "secret" not in str(refused.value)

    def test_over_plain_http_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1/token")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
        with pytest.raises(CredentialError, match="no https URL"):
            GitHubActions().evidence(PURPOSE)

    def test_outside_of_a_job_is_explained(self) -> None:
        with pytest.raises(CredentialError, match="id-token: write"):
            GitHubActions().evidence(PURPOSE)


class TestCertifiedKey:
    @pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048"])
    def test_makes_a_proof_that_the_server_verifies(self, tmp_path: Path, kind: Kind) -> None:
        key = make_key(kind)
        chain = write_pem(tmp_path / "chain.pem", *ROOT.leaf(key=key).chain)
        (tmp_path / "key.pem").write_bytes(jws.to_pem(key))
        evidence = CertifiedKey(chain, tmp_path / "key.pem").evidence(PURPOSE)
        pop.verify(pop.parse(evidence), Expected(PURPOSE.audience, PURPOSE.url, PURPOSE.key_authorization))

    def test_that_does_not_fit_its_certificate_is_refused(self, tmp_path: Path) -> None:
        chain = write_pem(tmp_path / "chain.pem", *ROOT.leaf().chain)
        (tmp_path / "key.pem").write_bytes(jws.to_pem(jws.new_key()))
        with pytest.raises(CredentialError, match="is not the key of"):
            CertifiedKey(chain, tmp_path / "key.pem").evidence(PURPOSE)

    def test_without_files_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_bytes(jws.to_pem(jws.new_key()))
        with pytest.raises(CredentialError, match="cannot be read"):
            CertifiedKey(tmp_path / "chain.pem", tmp_path / "key.pem").evidence(PURPOSE)
        (tmp_path / "chain.pem").write_text("nothing")
        with pytest.raises(CredentialError, match="no certificates"):
            CertifiedKey(tmp_path / "chain.pem", tmp_path / "key.pem").evidence(PURPOSE)

    def test_with_a_passphrase_or_of_another_kind_is_refused(self) -> None:
        closed = jws.new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        other = ec.generate_private_key(ec.SECP256K1())
        with pytest.raises(AgentError, match="without a passphrase"):
            jws.from_pem(closed, "it")
        with pytest.raises(AgentError, match="secp256k1"):
            jws.from_pem(jws.to_pem(other), "it")
