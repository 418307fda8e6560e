"""The native client against the real CA: proofs of each kind, and what it refuses to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from acme_ca.agent import bundles, material
from acme_ca.agent.client import Account
from acme_ca.agent.credentials import CertifiedKey, Credential, GcpMetadata, Purpose, TokenCommand, TokenFile
from acme_ca.agent.envoy import CERTIFICATE_FILE, VALIDATION_FILE
from acme_ca.agent.errors import AgentError, RefusedError
from acme_ca.agent.issuance import Wish, names_of
from acme_ca.agent.jws import AccountKey, new_key
from acme_ca.agent.messages import Challenge, Order
from acme_ca.agent.outlets import Envoy, Hook
from acme_ca.agent.proofs import Prover
from acme_ca.agent.run import Agent
from acme_ca.agent.transport import Transport
from acme_ca.clock import now
from tests.agent.conftest import (
    JOB,
    JOB_ID,
    MACHINE,
    NAME,
    PROFILE,
    SPIFFE_ID,
    Home,
    Stale,
    issuer,
    leaf,
    metadata_server,
)

pytestmark = pytest.mark.timeout(400)  # a server is four Python processes that start at once, beside other tests


class Asked(Credential):
    """A credential that remembers what it was asked for, and gives no usable proof."""

    def __init__(self) -> None:
        self.purposes: list[Purpose] = []

    def evidence(self, purpose: Purpose) -> str:
        self.purposes.append(purpose)
        return "a.b.c"


def test_a_pod_gets_its_identity(home: Home) -> None:
    home.agent().once()

    certificate = leaf(home.out)
    assert names_of(certificate) == ([SPIFFE_ID], [NAME])
    found = material.load(home.out)
    assert found is not None
    assert found.issued.key.public_key() == certificate.public_key()
    assert found.bundle == (issuer(home),)
    assert (home.out / "fullchain.pem").read_bytes().startswith((home.out / "cert.pem").read_bytes())
    assert (home.out / "chain.pem").read_bytes() in (home.out / "fullchain.pem").read_bytes()
    modes = {file.name: file.stat().st_mode & 0o777 for file in (home.out / "current").iterdir()}
    assert modes == dict.fromkeys(("cert.pem", "chain.pem", "fullchain.pem", "bundle.pem"), 0o644) | {"key.pem": 0o600}
    assert (home.out / "account.key").stat().st_mode & 0o777 == 0o600
    status = home.status()
    assert status["last_error"] is None
    assert status["not_after"] is not None


def test_each_certificate_has_a_new_key_and_the_account_stays(home: Home) -> None:
    agent = home.agent()
    first = agent.once()
    account = (home.out / "account.key").read_bytes()
    home.token_file()

    second = agent.once()

    assert first.issued.key.private_numbers() != second.issued.key.private_numbers()
    assert (home.out / "account.key").read_bytes() == account


def test_a_platform_gives_a_bound_token(home: Home) -> None:
    with metadata_server(home.platform) as metadata:
        settings = home.settings(credential=GcpMetadata(metadata.host), wish=Wish((JOB,), JOB_ID, PROFILE))
        found = Agent(settings).once()
    assert names_of(found.issued.leaf) == ([JOB_ID], [JOB])
    assert "audience=https%3A%2F%2Flocalhost" in metadata.asked[0]


def test_a_command_gets_the_bound_audience(home: Home, tmp_path: Path) -> None:
    with metadata_server(home.platform) as metadata:
        script = tmp_path / "token.sh"
        script.write_text(
            "exec python3 -c 'import os,urllib.request as r;"
            f'q=r.Request("http://{metadata.host}/?audience="+os.environ["ACME_WORKLOAD_AUDIENCE"],'
            'headers={"Metadata-Flavor":"Google"});print(r.urlopen(q).read().decode())\''
        )
        settings = home.settings(credential=TokenCommand(f"sh {script}"), wish=Wish((JOB,)))
        assert names_of(Agent(settings).once().issued.leaf)[1] == [JOB]


def test_a_certified_key_signs_the_proof(home: Home, machine: tuple[Path, Path]) -> None:
    settings = home.settings(credential=CertifiedKey(*machine), wish=Wish((MACHINE,)))
    assert names_of(Agent(settings).once().issued.leaf) == ([], [MACHINE])


def test_an_account_that_needs_a_binding_gets_one_by_the_same_proof(home: Home) -> None:
    wish = Wish(("api.dev.localhost",), "spiffe://dev.localhost/sa/api", PROFILE)
    found = Agent(home.settings(environment="dev", wish=wish)).once()
    assert names_of(found.issued.leaf) == ([wish.spiffe_id], ["api.dev.localhost"])


def test_a_token_that_expired_is_read_again(home: Home) -> None:
    credential = Stale(home.token(iat=0, nbf=0, exp=600), home.token())
    found = Agent(home.settings(credential=credential)).once()
    assert found.spiffe_id == SPIFFE_ID
    assert credential.tokens == []


def test_a_refusal_tells_type_detail_and_code(home: Home) -> None:
    home.settings()
    agent = Agent(home.settings(wish=Wish(("other.pay.test.localhost",))))
    with pytest.raises(RefusedError, match="identifier_not_allowed") as refused:
        agent.once()
    assert refused.value.type == "rejectedIdentifier"
    assert "other.pay.test.localhost" in str(refused.value)
    assert "identifier_not_allowed" in str(home.status()["last_error"])


def test_a_name_that_no_workload_may_prove_is_explained(home: Home) -> None:
    agent = Agent(home.settings(wish=Wish((), "spiffe://test.localhost/ns/pay/sa/other")))
    with pytest.raises(RefusedError, match="identifier_not_allowed"):
        agent.once()


def test_an_environment_without_providers_is_explained(home: Home) -> None:
    with pytest.raises(AgentError, match="knows no provider of workload identity"):
        _ = home.acme("prod").workloads


@pytest.mark.parametrize("audience", [None, "https://other.example/acme/test/workload"])
def test_a_challenge_for_another_audience_asks_for_no_credential(home: Home, audience: str | None) -> None:
    asked = Asked()
    account = Account(home.acme(), AccountKey(new_key()))
    challenge = Challenge(type="workload-identity-00", url=home.server.url, token="t", audience=audience)
    with pytest.raises(AgentError, match="no credential was asked for"):
        Prover(asked).prove(account, challenge)
    assert asked.purposes == []


def test_a_challenge_of_another_origin_asks_for_no_credential(home: Home) -> None:
    asked = Asked()
    server = home.acme()
    challenge = Challenge(
        type="workload-identity-00", url="https://other.example/", token="t", audience=server.workloads.audience
    )
    with pytest.raises(AgentError, match="not of the origin"):
        Prover(asked).prove(Account(server, AccountKey(new_key())), challenge)
    assert asked.purposes == []


@pytest.mark.parametrize("member", ["audience", "exchange", "nonce"])
def test_a_directory_that_names_another_origin_asks_for_no_credential(home: Home, member: str) -> None:
    server = home.acme()
    changed = server.workloads.model_copy(update={member: "https://other.example/acme/test/workload"})
    meta = server.directory.meta.model_copy(update={"workload_identity": changed})
    server.directory = server.directory.model_copy(update={"meta": meta})
    with pytest.raises(AgentError, match="not of the origin"):
        Prover(Asked()).exchange(server)


def test_another_version_of_the_challenge_asks_for_no_credential(home: Home) -> None:
    server = home.acme()
    changed = server.workloads.model_copy(update={"version": "01"})
    meta = server.directory.meta.model_copy(update={"workload_identity": changed})
    server.directory = server.directory.model_copy(update={"meta": meta})
    with pytest.raises(AgentError, match="speaks version '01'"):
        Prover(Asked()).exchange(server)


def test_an_exchange_by_a_bound_token_gets_a_nonce_first(home: Home) -> None:
    key = AccountKey(new_key())
    with metadata_server(home.platform) as metadata:
        prover = Prover(GcpMetadata(metadata.host))
        assert prover.exchange(home.acme()).identity.spiffe_id == JOB_ID
        assert prover.exchange(home.acme(), key.jwk.thumbprint, key=False).kid is None


def test_an_exchange_that_is_put_off_starts_again_from_its_nonce(home: Home) -> None:
    """The platform signs by a key that the CA has not seen, and its keys cannot be had at first."""
    home.platform.rotate("ec-p256")
    asked: list[Purpose] = []

    class Recovering(GcpMetadata):
        def evidence(self, purpose: Purpose) -> str:
            asked.append(purpose)
            home.platform.api.fault = "500" if len(asked) == 1 else None
            return super().evidence(purpose)

    with metadata_server(home.platform) as metadata:
        assert Prover(Recovering(metadata.host)).exchange(home.acme()).kid is not None
    assert len({purpose.key_authorization for purpose in asked}) == len(asked) > 1


def test_a_missing_root_file_is_named_where_there_is_no_bundle(home: Home) -> None:
    server = home.acme("prod")
    server.transport = Transport()
    with pytest.raises(AgentError, match="--ca-file"):
        bundles.fetch(server)
    server.transport = Transport(home.folder / "none.pem")
    with pytest.raises(AgentError, match="cannot be read"):
        bundles.fetch(server)
    (home.folder / "none.pem").write_text("nothing")
    with pytest.raises(AgentError, match="no certificates"):
        bundles.fetch(server)


def test_a_spent_nonce_is_replaced(home: Home) -> None:
    account = Account(home.acme(), AccountKey(new_key()))
    account.register()
    account._nonces = ["bm90LWEtbm9uY2U"]
    order = account.create(
        account.server.directory.new_order, {"identifiers": Wish((NAME,)).identifiers}, Order, "newOrder"
    )
    assert order[0].startswith(home.server.url)


def test_an_account_that_was_ended_gets_a_new_key(home: Home) -> None:
    agent = home.agent()
    agent.once()
    key = material.account_key(home.out / "account.key")
    account = Account(home.acme(), key)
    account.register()
    assert account.url is not None
    account.post(account.url, {"status": "deactivated"}, "the account")
    # The pod of the account that ended cannot prove itself to another one, another pod can.
    token = home.token(pod="another")
    agent.settings = replace(agent.settings, prover=Prover(Stale(token)))

    agent.once()

    assert material.account_key(home.out / "account.key").jwk.thumbprint != key.jwk.thumbprint


def test_trust_anchors_are_the_ca_file_where_there_is_no_bundle(home: Home) -> None:
    assert bundles.fetch(home.acme("prod")).certificates == (
        x509.load_pem_x509_certificate(home.server.root.read_bytes()),
    )


def test_the_hook_knows_the_files(home: Home) -> None:
    told = home.folder / "told"
    hook = Hook(f'printf "%s %s" "$ACME_WORKLOAD_SPIFFE_ID" "$ACME_WORKLOAD_KEY" > {told}', home.out)
    Agent(home.settings(after=(hook,))).once()
    assert told.read_text() == f"{SPIFFE_ID} {home.out}/key.pem"
    assert home.status()["last_error"] is None


@pytest.mark.parametrize(
    ("command", "reason"), [("exit 3", "ended with 3"), ("sleep 1000 & wait", "did not end within 1 seconds")]
)
def test_a_hook_that_fails_is_told_of_and_the_files_are_there(home: Home, command: str, reason: str) -> None:
    agent = Agent(home.settings(after=(Hook(command, home.out, seconds=1),)))
    with pytest.raises(AgentError, match=f"the certificate is published, but .*{reason}"):
        agent.once()
    assert (home.out / "cert.pem").exists()
    assert reason in str(home.status()["last_error"])


def test_a_hook_that_fails_runs_again_and_keeps_no_renewal_from_its_time(home: Home) -> None:
    runs = home.folder / "runs"
    agent = Agent(home.settings(after=(Hook(f"echo >> {runs}; test -e {home.folder}/ready", home.out),)))
    agent.turn()
    first = agent.material
    assert agent.plan is not None
    assert agent.last_error == "the hook ended with 1"
    agent.plan = replace(agent.plan, renew_at=now())
    agent.turn()
    assert agent.material != first
    (home.folder / "ready").touch()
    agent.turn()
    assert agent.last_error is None
    told = runs.read_text()
    agent.turn()
    assert runs.read_text() == told


def test_the_hook_runs_after_a_restart_too(home: Home) -> None:
    home.agent().once()
    agent = Agent(home.settings(after=(Hook(f"touch {home.folder}/told", home.out),)))
    agent.adopt()
    agent.turn()
    assert (home.folder / "told").exists()


def test_envoy_gets_its_resources(home: Home) -> None:
    folder = home.folder / "envoy"
    found = home.agent(Envoy(folder)).once()
    (certificate,) = read(folder / CERTIFICATE_FILE)["resources"]
    (trusted,) = read(folder / VALIDATION_FILE)["resources"]
    assert certificate["@type"].endswith("tls.v3.Secret")
    pair = certificate["tls_certificate"]
    assert pair["private_key"]["inline_string"].encode() == found.key_pem
    assert pair["certificate_chain"]["inline_string"].encode() == (home.out / "fullchain.pem").read_bytes()
    anchors = trusted["validation_context"]["trusted_ca"]["inline_string"]
    assert anchors.encode() == (home.out / "bundle.pem").read_bytes()
    assert (folder / CERTIFICATE_FILE).stat().st_mode & 0o777 == 0o600


def read(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text())
    assert isinstance(found, dict)
    return found


def test_a_token_file_is_read_at_each_use(home: Home) -> None:
    agent = home.agent(credential=TokenFile(home.folder / "late"))
    with pytest.raises(AgentError, match="cannot be read"):
        agent.once()
    (home.folder / "late").write_text(home.token())
    agent.once()
