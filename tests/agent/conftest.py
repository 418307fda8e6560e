"""A real CA over HTTPS whose environments believe a cluster, a platform and machines; and their tokens."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509

from acme_ca.agent import jws
from acme_ca.agent.client import Server as AcmeServer
from acme_ca.agent.credentials import Credential, Purpose, TokenFile
from acme_ca.agent.issuance import Wish
from acme_ca.agent.outlets import Files, Outlet
from acme_ca.agent.proofs import Prover
from acme_ca.agent.run import Agent, Settings
from acme_ca.agent.transport import Transport
from tests.support import issuers
from tests.support.issuers import TokenIssuer
from tests.support.pop import Authority, write_pem
from tests.support.server import Server, prepare, serving

SPIFFE_ID = "spiffe://test.localhost/ns/pay/sa/api"
NAME = "api.pay.test.localhost"
PROFILE = "workload-1h"
JOB_ID = "spiffe://test.localhost/ci/456789"
JOB = "job.test.localhost"
MACHINE = "host.test.localhost"
BOOTSTRAP = Authority.root("bootstrap root", 77)

_PROVIDER = """
[[environment.{environment}.provider]]
name = "{name}"
type = "{type}"
"""
_JWKS = """algorithms = ["{algorithm}"]
issuer = "{url}"
jwks = {{ source = "discovery", ca_file = "{ca_file}", timeout = 20 }}
"""
_RULES = """
[[environment.test.workload]]
name = "services"
provider = "cluster"
match = { "kubernetes.namespace" = "pay" }
spiffe = { id = "spiffe://test.localhost/ns/pay/sa/${kubernetes.serviceaccount}", add = "always" }
dns = ["${kubernetes.serviceaccount}.pay.test.localhost"]

[[environment.test.workload]]
name = "jobs"
provider = "ci"
match = { repository_id = "456789" }
spiffe = { id = "spiffe://test.localhost/ci/${repository_id}" }
dns = ["job.test.localhost"]

[[environment.test.workload]]
name = "machines"
provider = "machines"
match = {}
dns = ["host.test.localhost"]

[[environment.dev.workload]]
name = "services"
provider = "cluster"
match = {}
spiffe = { id = "spiffe://dev.localhost/sa/${kubernetes.serviceaccount}", add = "always" }
dns = ["${kubernetes.serviceaccount}.dev.localhost"]

[profile.workload-1m]
description = "A workload's identity, one minute"
lifetime = 60
backdate = 5
extended_key_usages = ["serverAuth", "clientAuth"]
revocation = "none"
may_carry_uri = true
"""


@dataclass
class Home:
    """A server, who vouches for its workloads, and a folder for one test's files."""

    server: Server
    cluster: TokenIssuer
    platform: TokenIssuer
    folder: Path
    number: int = field(default=0)

    def directory(self, environment: str = "test") -> str:
        """The URL of a directory."""
        return f"{self.server.url}/acme/{environment}/directory"

    def acme(self, environment: str = "test") -> AcmeServer:
        """A server as the helper sees it."""
        return AcmeServer(Transport(self.server.root), self.directory(environment))

    def token(self, environment: str = "test", pod: str | None = None, **claims: object) -> str:
        """A token of a pod of its own."""
        name = pod or self.folder.name.replace("_", "-").lower()  # a name that Kubernetes takes
        kubernetes = {
            "namespace": "pay",
            "serviceaccount": {"name": "api", "uid": f"{name}-account"},
            "pod": {"name": name, "uid": f"{name}-pod"},
        }
        audience = f"{self.server.url}/acme/{environment}/workload"
        made = issuers.kubernetes(audience, jti=f"{name}-{self.number}", **{"kubernetes.io": kubernetes}, **claims)
        self.number += 1
        return self.cluster.token(made)

    def token_file(self, environment: str = "test") -> Path:
        """A file with a fresh token."""
        file = self.folder / "token"
        file.write_text(self.token(environment) + "\n")
        return file

    @property
    def out(self) -> Path:
        """Where certificates go."""
        return self.folder / "out"

    def settings(
        self,
        *outlets: Outlet,
        environment: str = "test",
        credential: Credential | None = None,
        wish: Wish | None = None,
        after: tuple[Outlet, ...] = (),
    ) -> Settings:
        """Settings of the agent: a pod's, unless others are given."""
        return Settings(
            directory_url=self.directory(environment),
            ca_file=self.server.root,
            wish=wish or Wish((NAME,), SPIFFE_ID, PROFILE),
            prover=Prover(credential or TokenFile(self.token_file(environment))),
            account_key=self.out / "account.key",
            out=self.out,
            publish=[Files(self.out), *outlets],
            after=after,
            status_file=self.folder / "status.json",
        )

    def agent(self, *outlets: Outlet, environment: str = "test", credential: Credential | None = None) -> Agent:
        """An agent with such settings."""
        return Agent(self.settings(*outlets, environment=environment, credential=credential))

    def status(self) -> dict[str, object]:
        """What the status file says."""
        found = json.loads((self.folder / "status.json").read_text())
        assert isinstance(found, dict)
        return found


def leaf(out: Path) -> x509.Certificate:
    """The certificate that was published."""
    return x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())


def issuer(home: Home) -> x509.Certificate:
    """The trust anchor of the environment: its own issuer, for the root is that of others too."""
    return x509.load_pem_x509_certificate((home.server.folder / "certificates" / "test-1.pem").read_bytes())


class Stale(Credential):
    """A token file that the platform replaces late: at first its token has expired."""

    bound = False

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def evidence(self, purpose: Purpose) -> str:
        assert purpose.audience
        return self.tokens.pop(0)


def configure(server: Server, cluster: TokenIssuer, platform: TokenIssuer) -> None:
    """Let the environments test and dev believe the issuers; dev wants an external account binding."""
    write_pem(server.folder / "bootstrap.pem", BOOTSTRAP.certificate)
    text = server.config.read_text()
    for name in ("test", "dev"):
        text = text.replace(f"[environment.{name}]\n", f'[environment.{name}]\ntrust_domain = "{name}.localhost"\n')
    head, dev, rest = text.partition("[environment.dev]")
    rest = rest.replace("external_account_required = false", "external_account_required = true", 1)
    text = (head + dev + rest).replace('"workload-1h", ', '"workload-1h", "workload-1m", ')
    for environment in ("test", "dev"):
        text += _PROVIDER.format(environment=environment, name="cluster", type="kubernetes")
        text += _JWKS.format(url=cluster.url, ca_file=cluster.api.ca_file, algorithm="RS256")
    text += _PROVIDER.format(environment="test", name="ci", type="oidc")
    text += _JWKS.format(url=platform.url, ca_file=platform.api.ca_file, algorithm="ES256")
    text += _PROVIDER.format(environment="test", name="machines", type="x5c") + 'ca_file = "bootstrap.pem"\n'
    server.config.write_text(text + _RULES)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, TokenIssuer, TokenIssuer]]:
    """A server that the tests of one file share."""
    folder = tmp_path_factory.mktemp("ca")
    with issuers.serve(folder / "cluster") as cluster, issuers.serve(folder / "platform", "ec-p256") as platform:
        prepared = prepare(folder / "server")
        configure(prepared, cluster, platform)
        with serving(prepared.folder, prepared=prepared) as server:
            yield server, cluster, platform


@pytest.fixture
def home(ca: tuple[Server, TokenIssuer, TokenIssuer], tmp_path: Path) -> Home:
    """The server, and files for one test."""
    return Home(*ca, tmp_path)


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """The certificate and key files of a machine."""
    holder = BOOTSTRAP.leaf(x509.DNSName(MACHINE))
    key = tmp_path / "machine.key"
    assert not isinstance(holder.key, str)
    key.write_bytes(jws.to_pem(holder.key))
    return write_pem(tmp_path / "machine.pem", *holder.chain), key


@dataclass
class Metadata:
    """A metadata server, which gives a token for any audience."""

    issuer: TokenIssuer
    asked: list[str] = field(default_factory=list)
    answer: bytes | None = None
    host: str = ""

    def respond(self, path: str, flavor: str | None) -> tuple[int, bytes]:
        """The status and the body."""
        self.asked.append(path)
        if flavor != "Google":
            return 403, b"Missing Metadata-Flavor:Google header."
        audience = parse_qs(urlsplit(path).query)["audience"][0]
        return 200, self.answer or self.issuer.token(
            issuers.github_actions(audience, jti=secrets.token_hex(8))
        ).encode()


@contextmanager
def metadata_server(issuer: TokenIssuer) -> Iterator[Metadata]:
    """Run a metadata server over plain HTTP."""
    metadata = Metadata(issuer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = metadata.respond(self.path, self.headers.get("Metadata-Flavor"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        metadata.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield metadata
        finally:
            server.shutdown()
            thread.join()
