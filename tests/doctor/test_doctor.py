"""The doctor's findings: each appears when something is wrong, and is gone when it is put right."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_ca.challenges.network import Network
from acme_ca.cli import cli
from acme_ca.config import Config, load
from acme_ca.doctor import CHECKS, CODES, Check, Finding, Host, examine, keeping, network, serving
from acme_ca.keys import AnyKey
from acme_ca.pki.profile import BUILTIN
from acme_ca.secret import Secret
from acme_ca.sinks.webhook import Webhook
from acme_ca.workload.jwks import Url
from acme_ca.workload.oidc import Oidc
from tests.support import dns, https_api, issue, web
from tests.support.ca import make_ca_files, with_environment
from tests.support.dns import DnsServer
from tests.support.jws import b64
from tests.support.pop import tls_server
from tests.support.server import Server, free_ports
from tests.support.server import serving as serve
from tests.support.web import WebServer, reply

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A CA that nobody serves."""
    return load(make_ca_files(tmp_path, "--environment", "prod", "--ip-network", "127.0.0.0/8"))


@pytest.fixture(scope="module")
def website() -> Iterator[WebServer]:
    """The host whose names are ordered."""
    with web.serve(WebServer()) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, website: WebServer) -> Iterator[Server]:
    """A CA that is served."""
    with serve(tmp_path_factory.mktemp("server"), "--http-port", str(website.port)) as running:
        yield running


def kept(server: Server) -> dict[Path, bytes]:
    """What is to stay as it is: all but run-time files."""
    folders = (server.folder, server.folder / "keys", server.folder / "certificates")
    files = [path for folder in folders for path in folder.iterdir() if path.suffix in {".toml", ".pem", ".key", ".db"}]
    return {path: path.read_bytes() for path in files}


def key_file(key: AnyKey) -> Path:
    assert key.file is not None
    return key.file


def host(config: Config, **changes: Any) -> Host:  # noqa: ANN401 - fields of any kind
    given = {"environments": ("prod",), "now": datetime.now(UTC), "timeout": 2.0}
    return Host(config, **{**given, **changes})


def codes(found: Iterator[Finding]) -> set[str]:
    return {finding.code for finding in found}


def run(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", "--config", str(path), *options])


def test_every_code_is_documented_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(code, kind.severity, kind.meaning, kind.fix) for code, kind in CODES.items()]


def test_a_ca_that_is_served_has_no_errors(server: Server) -> None:
    before = kept(server)
    result = run(server.config)
    assert result.exit_code == 0, result.output
    assert "TLS" not in result.stdout
    assert f"[1/{len(CHECKS)}] looking at resolvers" in result.stderr
    found = json.loads(run(server.config, "--json", "--environment", "test").stdout)
    assert found["ok"]
    assert {finding["code"] for finding in found["findings"]} >= {"DBS004", "LIF001", "ISU001"}
    assert all(finding["fix"] for finding in found["findings"])
    assert not any("prod" in finding["place"] for finding in found["findings"])
    assert kept(server) == before


def test_what_is_wrong_is_told_and_the_exit_code_is_1(tmp_path: Path) -> None:
    port = str(free_ports(1)[0])
    path = make_ca_files(tmp_path, "--external-url", f"https://localhost:{port}")
    result = run(path)
    assert result.exit_code == 1
    assert "TLS002 error: Nothing answers at `external_url`." in result.stdout
    path.write_text(path.read_text().replace("threads = 8", "thread = 8"))
    result = run(path, "--json")
    assert (result.exit_code, [found["code"] for found in json.loads(result.stdout)["findings"]]) == (1, ["CFG001"])
    assert run(make_ca_files(tmp_path / "b"), "--environment", "other").exit_code == 1


def test_checks_are_bounded_and_do_not_end_the_others(config: Config) -> None:
    def slow(_: Host) -> Iterator[Finding]:
        yield Finding("DBS004", "", "", "")
        time.sleep(30)

    def broken(_: Host) -> Iterator[Finding]:
        yield Finding("DBS004", "", "", "")
        raise KeyError("a mistake of ours")

    assert [found.code for found in examine(Check("slow", slow), host(config), 0.5)] == ["DBS004", "CHK001"]
    assert [found.code for found in examine(Check("broken", broken), host(config), 30)] == ["DBS004", "CHK002"]


def with_network(config: Config, **changes: Any) -> Config:  # noqa: ANN401 - settings of any kind
    return with_environment(config, "prod", validation=Network(**changes))


def test_resolvers_have_to_answer(config: Config) -> None:
    assert codes(network.resolvers(host(with_network(config)))) == {"DNS001"}
    with dns.serve(DnsServer()) as running:
        good = with_network(config, resolvers=(f"127.0.0.1:{running.port}",))
        assert codes(network.resolvers(host(good))) == set()
    assert codes(network.resolvers(host(good, timeout=0.5))) == {"DNS002"}


def test_targets_need_routes(config: Config) -> None:
    good = with_network(config, allow=("127.0.0.0/8",))
    assert codes(network.targets(host(good))) == set()
    assert codes(network.targets(host(with_network(config, allow=("127.0.0.0/8",), http_port=8080)))) == {"NET001"}
    assert codes(network.targets(host(with_network(config, allow=("255.255.255.255/32",))))) == {"NET002"}


def test_the_listener_is_seen_as_clients_see_it(server: Server, tmp_path: Path) -> None:
    config = load(server.config)
    assert codes(serving.listener(host(config))) == set()
    nowhere = config.model_copy(update={"external_url": "https://ca.nowhere.invalid:8443"})
    assert codes(serving.listener(host(nowhere))) == {"TLS001"}
    other = load(make_ca_files(tmp_path)).service.issuer.root  # clients that trust another root
    issuer = config.service.issuer.model_copy(update={"root": other})
    service = config.service.model_copy(update={"issuer": issuer})
    assert codes(serving.listener(host(config.model_copy(update={"service": service})))) == {"TLS003"}


def test_the_root_belongs_into_no_chain(server: Server, tmp_path: Path) -> None:
    pem = tmp_path / "listener.pem"
    pem.write_bytes(server.certificate.read_bytes() + server.root.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with web.serve(WebServer(), context) as proxy:
        config = load(server.config).model_copy(update={"external_url": f"https://localhost:{proxy.port}"})
        (found,) = serving.listener(host(config))
    assert (found.code, found.expected) == ("TLS004", "no root")


def test_listeners_for_operators_are_to_be_private(config: Config) -> None:
    assert codes(serving.exposure(host(config))) == set()
    admin = config.listener.admin
    assert admin is not None
    listener = config.listener.model_copy(update={"admin": admin.model_copy(update={"bind": "0.0.0.0:8444"})})
    public = config.model_copy(update={"listener": listener, "external_url": "https://ca.corp.example"})
    assert codes(serving.exposure(host(public))) == {"LSN001", "LSN002"}


def crl(config: Config, ends: datetime, key: ec.EllipticCurvePrivateKey) -> bytes:
    certificate = x509.load_pem_x509_certificate(config.environment["prod"].issuer[0].certificate.read_bytes())
    builder = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject)
    builder = builder.last_update(ends - timedelta(days=1)).next_update(ends)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_crls_are_fetched_and_checked(config: Config) -> None:
    issuer = config.environment["prod"].issuer[0]
    key: Any = issuer.key.open()  # it signs as any private key does
    now = datetime.now(UTC)
    good, late = crl(config, now + timedelta(days=1), key), crl(config, now - timedelta(days=1), key)
    foreign = crl(config, now + timedelta(days=1), ec.generate_private_key(ec.SECP256R1()))
    answers = {
        reply(200, good): set(),
        reply(200, late): {"CRL001"},
        reply(200, foreign): {"CRL002"},
        reply(200, b"no CRL"): {"CRL002"},
        reply(500, b""): {"CRL002"},
        reply(404, b""): {"CRL003"},
    }
    with web.serve(WebServer()) as status:
        listener = config.listener.model_copy(
            update={"status": config.listener.status.model_copy(update={"url": f"http://127.0.0.1:{status.port}"})}
        )
        config = config.model_copy(update={"listener": listener})
        for octets, expected in answers.items():
            status.raw(f"/crl/{issuer.name}.crl", octets)
            assert codes(serving.crls(host(config))) == expected
    assert codes(serving.crls(host(config))) == {"CRL003"}


def test_keys_have_to_fit_and_issuers_to_live(config: Config) -> None:
    assert codes(keeping.issuers(host(config))) == set()
    issuer = config.environment["prod"].issuer[0]
    ends = x509.load_pem_x509_certificate(issuer.certificate.read_bytes()).not_valid_after_utc
    assert codes(keeping.issuers(host(config, now=ends - timedelta(days=20)))) == {"ISS002"}
    assert codes(keeping.issuers(host(config, now=ends))) == {"ISS001", "ISS002"}
    key_file(issuer.key).write_bytes(key_file(config.service.issuer.key).read_bytes())
    assert codes(keeping.issuers(host(config))) == {"KEY001"}


def test_keys_of_the_audit_trail_and_of_operators_have_to_fit(config: Config) -> None:
    assert config.audit.key is not None
    assert config.listener.admin is not None
    public = config.audit_public_key
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    kept = public.read_bytes()
    public.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (found,) = keeping.issuers(host(config))
    assert (found.code, found.place) == ("KEY001", "audit.key")
    public.write_bytes(kept)
    key_file(config.listener.admin.issuer.key).write_bytes(key_file(config.audit.key).read_bytes())
    (found,) = keeping.issuers(host(config))
    assert (found.code, found.place) == ("KEY001", "listener.admin.issuer")


def test_secrets_of_sinks_and_the_database_are_nobody_elses(config: Config, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    sink = Webhook(name="siem", url="https://siem.example", token=Secret("file", str(token)))
    config = config.model_copy(update={"audit": config.audit.model_copy(update={"sink": (sink,)})})
    path = Path(config.database.url.partition("///")[2])
    path.chmod(0o644)
    assert config.audit.key is not None
    key_file(config.audit.key).chmod(0o644)
    found = {finding.place for finding in keeping.modes(host(config)) if finding.code == "KEY002"}
    assert found == {str(token), str(path), str(key_file(config.audit.key))}


def test_a_database_that_is_not_there_is_not_made(config: Config) -> None:
    path = Path(config.database.url.partition("///")[2])
    for file in path.parent.glob("*.db*"):
        file.unlink()
    before = set(path.parent.iterdir())
    assert codes(keeping.issued(host(config))) == set()
    assert codes(keeping.database(host(config))) == {"DBS001"}
    assert set(path.parent.iterdir()) == before


def test_policy_stays_within_the_constraints_of_issuers(config: Config) -> None:
    assert codes(keeping.issuers(host(with_environment(config, "prod", zones=("prod.localhost",))))) == set()
    beyond = with_environment(config, "prod", zones=("prod.localhost", "other.example"))
    (found,) = keeping.issuers(host(beyond))
    assert (found.code, found.place) == ("POL001", "environment.prod.zones: other.example")


def test_keys_and_secrets_are_nobody_elses(config: Config) -> None:
    assert codes(keeping.modes(host(config))) == set()
    key = key_file(config.environment["prod"].issuer[0].key)
    key.chmod(0o604)
    assert [(found.code, found.place) for found in keeping.modes(host(config))] == [("KEY002", str(key))]
    key.chmod(0o600)
    key.parent.chmod(0o777)
    assert [(found.code, found.place) for found in keeping.modes(host(config))] == [("KEY003", str(key.parent))]


def test_the_database_has_to_be_there_and_current(config: Config, postgres_url: str) -> None:
    def at(url: str) -> set[str]:
        database = config.database.model_copy(update={"url": url})
        return codes(keeping.database(host(config.model_copy(update={"database": database}))))

    assert at(config.database.url) == {"DBS004"}
    assert at("sqlite:////nowhere/acme-ca.db") == {"DBS001"}
    assert at(postgres_url) == {"DBS002", "DBS004"}
    assert at("postgresql://nobody@127.0.0.1:1/nothing") == {"DBS001"}
    assert not keeping.NETWORKED & {keeping._file_system(Path("/proc/self/mounts")), ""}
    assert keeping._file_system(Path("/proc/self/mounts")) == "proc"


def test_the_last_issuance_is_told(server: Server, website: WebServer) -> None:
    config = load(server.config)
    assert codes(keeping.issued(host(config))) == {"ISU001"}
    issue.issue(server.client("prod").register(), website, ["last.prod.localhost"])
    assert codes(keeping.issued(host(config))) == set()
    (found,) = keeping.issued(host(config, now=datetime.now(UTC) + timedelta(days=2)))
    assert re.fullmatch(r"the last one at .* UTC", found.seen)


def with_provider(config: Config, port: int, ca_file: Path) -> Config:
    url = f"https://127.0.0.1:{port}"
    keys = Url(source="url", url=f"{url}/keys", ca_file=ca_file, timeout=2.0)
    provider = Oidc(type="oidc", name="ci", issuer=url, binding="tofu", jwks=keys, instance=("jti",))
    environment = config.environment["prod"].model_copy(update={"provider": (provider,)})
    return config.model_copy(update={"environment": {"prod": environment}})


def test_providers_have_to_be_reached(config: Config, tmp_path: Path) -> None:
    assert codes(network.providers(host(config))) == set()
    key = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": b64(key.x.to_bytes(32, "big")), "y": b64(key.y.to_bytes(32, "big"))}
    with https_api.serve(tmp_path, lambda _: (200, {"keys": [{**jwk, "kid": "1"}]})) as api:
        there, ca_file = with_provider(config, api.port, api.ca_file), api.ca_file
        assert codes(network.providers(host(there))) == {"PRV002"}
        assert codes(network.clocks(host(there))) == set()
    gone = with_provider(config, free_ports(1)[0], ca_file)
    assert codes(network.providers(host(gone))) == {"PRV001"}
    assert codes(network.clocks(host(gone))) == {"CLK002"}


def test_clocks_have_to_agree(config: Config, tmp_path: Path) -> None:
    context, ca_file = tls_server(tmp_path)
    with web.serve(WebServer(), context) as other:
        late = format_datetime(datetime.now(UTC) - timedelta(minutes=2), usegmt=True)
        other.raw("/keys", reply(200, b"{}", Date=late))
        assert codes(network.clocks(host(with_provider(config, other.port, ca_file)))) == {"CLK001"}


def test_lifetimes_are_compared_with_what_clients_can_do(config: Config) -> None:
    assert codes(keeping.lifetimes(host(config))) == {"LIF001"}
    brief = {"brief": BUILTIN["server-1h"].model_copy(update={"lifetime": 600})}
    changed = with_environment(config, "prod", profiles=("brief",), default_profile="brief", authorization_lifetime=60)
    found = codes(keeping.lifetimes(host(changed.model_copy(update={"profile": brief}))))
    assert found == {"LIF001", "LIF002", "LIF003"}
