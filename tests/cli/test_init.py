"""`acme-ca init`: what it makes is checked with openssl; what is there is never touched."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey

from acme_ca import public_keys
from acme_ca.cli import cli, starter
from acme_ca.config import load
from acme_ca.db import Database

Init = Callable[..., Result]


@pytest.fixture
def init(tmp_path: Path) -> Init:
    return lambda *options: CliRunner().invoke(cli, ["init", "--dir", str(tmp_path / "ca"), *options])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ca"


def made(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def openssl(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".db" not in path.name
    }


def leaf_is_good(folder: Path, issuer: str, names: str) -> bool:
    """Sign a leaf with openssl, by the key in its file, and tell whether openssl accepts it under the root."""
    key, leaf, issuer_file = folder / "leaf.key", folder / "leaf.pem", folder / f"certificates/{issuer}.pem"
    request = openssl(
        *(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            key,
            "-out",
            leaf,
        ),
        *("-subj", "/", "-addext", f"subjectAltName=critical,{names}", "-days", "1", "-CA", issuer_file),
        *("-CAkey", folder / f"keys/{issuer}.key", "-passin", f"file:{folder / 'keys/passphrase'}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
    )
    assert request.returncode == 0, request.stderr
    verify = ("verify", "-x509_strict", "-CAfile", folder / "certificates/root.pem", "-untrusted", issuer_file, leaf)
    done = openssl(*verify)
    assert done.returncode == 0 or "permitted subtree violation" in done.stderr or "excluded" in done.stderr, (
        done.stderr
    )
    return done.returncode == 0


def test_a_new_ca_is_made_whole(init: Init, folder: Path) -> None:
    document = made(init("--json"))
    names = ("service-1", "dev-1", "test-1", "prod-1", "admin")
    expected = ["acme-ca.toml", "keys/passphrase", "keys/root.key", "certificates/root.pem", "acme-ca.db"]
    expected += ["certificates/root-1.crl"]
    expected += ["keys/audit.key", "certificates/audit.pub"]
    expected += [f"keys/{name}.key" for name in names] + [f"certificates/{name}.pem" for name in names]
    assert sorted(document["created"]) == sorted(str(folder / name) for name in expected)
    assert document["kept"] == []
    assert document["directories"] == {
        name: f"https://localhost:8443/acme/{name}/directory" for name in ("dev", "test", "prod")
    }
    config = load(folder / "acme-ca.toml")
    assert [environment.zones for environment in config.environment.values()] == [
        ("dev.localhost",),
        ("test.localhost",),
        ("prod.localhost",),
    ]
    database = Database(config.database.url)
    database.require_current()
    database.close()


def test_openssl_accepts_each_chain_and_the_fingerprint(init: Init, folder: Path) -> None:
    document = made(init("--json"))
    root = folder / "certificates" / "root.pem"
    shown = openssl("x509", "-in", root, "-noout", "-fingerprint", "-sha256").stdout
    assert shown.strip().rpartition("=")[2] == document["root"]["sha256"]
    for name in ("root", "service-1", "dev-1", "test-1", "prod-1"):
        path = folder / "certificates" / f"{name}.pem"
        assert openssl("verify", "-x509_strict", "-CAfile", root, path).stdout.endswith(": OK\n")


@pytest.mark.parametrize(
    ("issuer", "good", "bad"),
    [
        ("prod-1", "DNS:a.prod.localhost,DNS:prod.localhost,DNS:*.prod.localhost", "DNS:a.dev.localhost"),
        ("prod-1", "DNS:prod.localhost", "DNS:prod.localhost,IP:127.0.0.1"),
        ("service-1", "DNS:localhost,IP:127.0.0.1,IP:::1", "DNS:example.com"),
        ("service-1", "DNS:localhost", "IP:127.0.0.2"),
    ],
)
def test_intermediates_are_constrained(init: Init, folder: Path, issuer: str, good: str, bad: str) -> None:
    assert init("--environment", "prod").exit_code == 0
    assert leaf_is_good(folder, issuer, good)
    assert not leaf_is_good(folder, issuer, bad)


def test_networks_are_permitted_where_asked(init: Init, folder: Path) -> None:
    assert init("--environment", "prod", "--ip-network", "127.0.0.0/8", "--ip-network", "fd00::/8").exit_code == 0
    (rule,) = load(folder / "acme-ca.toml").environment["prod"].policy
    assert [str(network) for network in rule.ip] == ["127.0.0.0/8", "fd00::/8"]
    assert leaf_is_good(folder, "prod-1", "IP:127.1.2.3,IP:fd00::1,DNS:prod.localhost")
    assert not leaf_is_good(folder, "prod-1", "IP:10.0.0.1")


@pytest.mark.parametrize(
    ("url", "good", "bad"),
    [
        ("https://10.1.2.3:8443", "IP:10.1.2.3", "DNS:ca.example"),
        ("https://[fd00::1]", "IP:fd00::1", "IP:fd00::2"),
        ("https://CA.corp.example", "DNS:ca.corp.example", "IP:127.0.0.1"),
    ],
)
def test_the_service_is_constrained_to_its_own_host(init: Init, folder: Path, url: str, good: str, bad: str) -> None:
    assert init("--environment", "prod", "--external-url", url).exit_code == 0
    assert leaf_is_good(folder, "service-1", good)
    assert not leaf_is_good(folder, "service-1", bad)


def test_keys_are_of_the_promised_kinds_and_lifetimes_nest(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    root, issuer = (
        x509.load_pem_x509_certificate((folder / "certificates" / f"{name}.pem").read_bytes())
        for name in ("root", "prod-1")
    )
    for certificate, curve in ((root, SECP384R1), (issuer, SECP256R1)):
        key = certificate.public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        assert isinstance(key.curve, curve)
    assert issuer.not_valid_after_utc < root.not_valid_after_utc


def test_keys_are_encrypted_and_closed_to_others(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    for name in ("root", "service-1", "prod-1"):
        path = folder / "keys" / f"{name}.key"
        assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
        assert openssl("pkey", "-in", path, "-passin", "pass:wrong", "-noout").returncode != 0
    for path in (*(folder / "keys").iterdir(), folder / "acme-ca.db"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    for path in (folder / "keys", folder / "state"):
        assert path.stat().st_mode & 0o777 == 0o700, path


def test_the_second_run_changes_nothing(init: Init, folder: Path) -> None:
    first = made(init("--json"))
    before = contents(folder)
    second = made(init("--json", "--domain", "corp.example", "--http-port", "8080"))
    assert contents(folder) == before
    assert second["created"] == []
    assert set(second["kept"]) == set(first["created"]) - {
        str(folder / "keys" / "passphrase"),  # was not needed, nor was the root's key
        str(folder / "keys" / "root.key"),
    }
    assert second["root"] == first["root"]
    assert any("--domain, --http-port had no effect" in warning for warning in second["warnings"])


def test_a_database_that_is_open_to_others_is_closed(init: Init, folder: Path) -> None:
    assert init().exit_code == 0
    (folder / "acme-ca.db").chmod(0o664)
    assert init().exit_code == 0
    assert (folder / "acme-ca.db").stat().st_mode & 0o777 == 0o640


def test_an_environment_added_to_the_file_is_made(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    before = contents(folder)
    path = folder / "acme-ca.toml"
    _, _, prod = path.read_text().partition("[environment.prod]")
    path.write_text(path.read_text() + "\n[environment.stage]" + prod.replace("prod", "stage"))
    document = made(init("--json"))
    assert document["created"] == [str(folder / "keys/stage-1.key"), str(folder / "certificates/stage-1.pem")]
    assert leaf_is_good(folder, "stage-1", "DNS:stage.localhost")
    after = contents(folder)
    assert {name: after[name] for name in before if name != "acme-ca.toml"} == {
        name: content for name, content in before.items() if name != "acme-ca.toml"
    }


def test_a_certificate_that_was_not_made_yet_gets_the_key_that_is_there(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    (folder / "certificates" / "prod-1.pem").unlink()
    before = contents(folder)
    document = made(init("--json"))
    assert document["created"] == [str(folder / "certificates/prod-1.pem")]
    assert str(folder / "keys" / "prod-1.key") in document["kept"]
    assert all(contents(folder)[name] == content for name, content in before.items())


def test_the_key_of_a_root_can_be_away_until_it_is_needed(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    (folder / "keys" / "root.key").rename(folder.parent / "safe")
    made(init("--json"))
    (folder / "certificates" / "prod-1.pem").unlink()
    result = init()
    assert result.exit_code == 1
    assert "root.key is needed to sign what is missing" in result.stderr


def test_a_list_of_the_root_that_was_not_made_yet_is_made(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    (folder / "certificates" / "root-1.crl").unlink()
    document = made(init("--json"))
    assert document["created"] == [str(folder / "certificates/root-1.crl")]
    shown = openssl(
        "crl", "-in", folder / "certificates/root-1.crl", "-noout", "-CAfile", folder / "certificates/root.pem"
    )
    assert "verify OK" in shown.stderr


def test_with_an_offline_root_nothing_that_it_signs_is_made(init: Init, folder: Path) -> None:
    document = made(init("--json", "--environment", "prod", "--offline-root"))
    names = ["acme-ca.toml", "keys/passphrase", "keys/admin.key", "certificates/admin.pem", "keys/audit.key"]
    names += ["certificates/audit.pub", "acme-ca.db"]
    assert sorted(document["created"]) == sorted(str(folder / name) for name in names)
    assert document["root"]["sha256"] is None
    assert list(document["waiting"]) == ["service/service-1", "prod/prod-1"]
    again = init("--offline-root")
    assert "acme-ca issuer csr prod/prod-1 --config" in again.stdout
    assert "Warning" not in again.stdout


def test_an_intermediate_below_another_root_is_left_to_that_root(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    path = folder / "acme-ca.toml"
    head, _, prod = path.read_text().partition("[environment.prod]")
    prod = prod.replace("root.pem", "corp.pem").replace("root-1.crl", "root-corp.crl")
    path.write_text(f"{head}[environment.prod]{prod}")
    (folder / "certificates/prod-1.pem").unlink()
    document = made(init("--json"))
    assert (document["created"], list(document["waiting"])) == ([], ["prod/prod-1"])


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (["keys/prod-1.key"], "its key"),
        (["certificates/root.pem", "keys/root.key"], "neither its root"),
        (["keys/passphrase", "certificates/prod-1.pem"], "the passphrase of private key"),
    ],
)
def test_what_was_lost_is_not_replaced(init: Init, folder: Path, missing: list[str], reason: str) -> None:
    made(init("--json", "--environment", "prod"))
    for name in missing:
        (folder / name).unlink()
    before = contents(folder)
    result = init()
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    "options",
    [
        ("--external-url", "http://localhost"),
        ("--external-url", "https://localhost/acme"),
        ("--environment", "Prod"),
        ("--environment", "-"),
        ("--environment", "prod", "--environment", "prod"),
        ("--ip-network", "10.0.0.1/8"),
        ("--http-port", "http"),
    ],
)
def test_wrong_usage_makes_nothing(init: Init, folder: Path, options: tuple[str, ...]) -> None:
    assert init(*options).exit_code == 2
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--domain", "corp_example"), "environment.dev.zones[0]: "),
        (("--http-port", "70000"), "environment.dev.validation.http_port: "),
        (("--acme-bind", "8443"), "listener.acme.bind: "),
        (("--domain", "corp.example", "--resolver", "dns"), "environment.dev.validation.resolvers[0]: "),
    ],
)
def test_options_that_cannot_be_configured_make_nothing(
    init: Init, folder: Path, options: tuple[str, ...], reason: str
) -> None:
    result = init(*options)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not folder.exists()


def test_a_domain_of_its_own_is_configured(init: Init, folder: Path) -> None:
    options = ("--external-url", "https://CA.corp.example:8443/", "--domain", "corp.example", "--environment", "prod")
    made(init(*options, "--resolver", "10.0.0.53", "--status-bind", "127.0.0.1:8088", "--json"))
    config = load(folder / "acme-ca.toml")
    assert config.external_url == "https://ca.corp.example:8443"
    assert (config.listener.acme.bind, config.listener.status.bind) == ("0.0.0.0:8443", "127.0.0.1:8088")
    assert config.listener.status.url == "http://ca.corp.example:8088"
    environment = config.environment["prod"]
    assert environment.zones == ("prod.corp.example",)
    assert [str(resolver.address) for resolver in environment.validation.resolvers] == ["10.0.0.53"]
    assert environment.validation.allow == ()


def test_people_are_told_what_to_do_next(init: Init, folder: Path) -> None:
    output = init().stdout
    for text in (
        f"acme-ca serve --config {folder}/acme-ca.toml",
        "https://localhost:8443/acme/prod/directory",
        "update-ca-certificates",
        "Warning: The passphrase of all keys was made up",
        "Warning: The root's key",
    ):
        assert text in output
    again = init().stdout
    assert "Created" not in again
    assert "Warning" not in again


def test_name_servers_of_the_system_are_read(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 1.1.1.1\nsearch corp\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver\n"
    )
    assert starter.system_resolvers(path) == ("10.0.0.53", "::1")
    assert starter.system_resolvers(tmp_path / "nowhere") == ()


def test_kinds_of_keys_are_chosen_and_the_listener_keeps_what_tls_reads(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod", "--root-key", "rsa-3072", "--issuer-key", "ml-dsa-44"))
    config = load(folder / "acme-ca.toml")
    (prod,) = config.environment["prod"].issuer
    kinds = {
        path.stem: public_keys.check(x509.load_pem_x509_certificate(path.read_bytes()).public_key())
        for path in (prod.root, prod.certificate, config.service.issuer.certificate)
    }
    assert kinds == {"root": "rsa-3072", "prod-1": "ml-dsa-44", "service-1": "ec-p256"}


def test_a_root_of_another_name_is_made_when_its_kind_is_given(init: Init, folder: Path) -> None:
    made(init("--json", "--environment", "prod"))
    path = folder / "acme-ca.toml"
    service, environment, prod = path.read_text().partition("[environment.prod]")
    prod = prod.replace("root.pem", "root-2.pem").replace("root-1.crl", "root-2-1.crl").replace("prod-1", "prod-2")
    path.write_text(service + environment + prod)
    assert list(made(init("--json"))["waiting"]) == ["prod/prod-2"]
    document = made(init("--json", "--root-key", "ml-dsa-87", "--issuer-key", "ml-dsa-65"))
    wanted = ("keys/root-2.key", "certificates/root-2.pem", "keys/prod-2.key", "certificates/prod-2.pem")
    assert document["created"] == [str(folder / name) for name in (*wanted, "certificates/root-2-1.crl")]
    assert document["waiting"] == {}
    shown = openssl("x509", "-in", folder / "certificates" / "root-2.pem", "-noout", "-fingerprint", "-sha256").stdout
    assert document["other_roots"] == {str(folder / "certificates" / "root-2.pem"): shown.strip().partition("=")[2]}
    (folder / "keys" / "root-2.key").unlink()
    assert made(init("--json"))["created"] == []


def test_a_token_is_not_asked_for_what_it_cannot_make(init: Init, folder: Path) -> None:
    result = init("--issuer-key", "ml-dsa-65", "--pkcs11-module", "/nowhere.so", "--pkcs11-token", "none")
    assert result.exit_code == 2
    assert "a token makes no key of kind ml-dsa-65" in result.stderr
    assert not folder.exists()


def test_requests_for_an_offline_root_have_the_kind_that_was_asked_for(init: Init) -> None:
    waiting = made(init("--json", "--environment", "prod", "--offline-root", "--issuer-key", "ml-dsa-65"))["waiting"]
    assert "--create ml-dsa-65 " in waiting["prod/prod-1"]
    assert "--create ec-p256 " in waiting["service/service-1"]
