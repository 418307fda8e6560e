"""Reading the configuration: defaults, and every mistake with its exact place."""

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from acme_ca.config import Config, ConfigError, json_schema, load, loads
from acme_ca.keys import SoftwareKey

GOOD = """\
external_url = "https://CA.corp.example:8443/"
[listener.status]
url = "http://ca.corp.example:8080"
[service.issuer]
name = "service-1"
certificate = "certificates/service.pem"
root = "certificates/root.pem"
key = { type = "software", path = "keys/service.key", passphrase = "file:keys/passphrase" }
[environment.prod]
zones = ["Prod.Corp.Example"]
[[environment.prod.issuer]]
name = "prod-1"
certificate = "certificates/prod.pem"
root = "certificates/root.pem"
key = { type = "software", path = "keys/prod.key", passphrase = "env:PASSPHRASE" }
"""
FILE = Path("/etc/acme-ca/acme-ca.toml")
SOFTWARE = '{ type = "software", path = "keys/service.key", passphrase = "file:keys/passphrase" }'


def good(extra: str = "") -> Config:
    return loads(GOOD + extra, FILE, files=False)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, Path("acme-ca.toml"), files=False)
    assert str(caught.value) == "\n".join(str(mistake) for mistake in caught.value.mistakes)
    return str(caught.value).splitlines()


def oidc(jwks: str) -> str:
    return f'provider = [{{ name = "a", type = "oidc", issuer = "https://a.example", jwks = {jwks} }}]'


def one(text: str) -> str:
    (mistake,) = mistakes(text)
    return mistake.removeprefix("acme-ca.toml:")


def test_a_short_file_is_enough() -> None:
    config = good()
    environment = config.environment["prod"]
    assert config.external_url == "https://ca.corp.example:8443"
    assert (config.listener.acme.bind, config.listener.status.bind) == ("127.0.0.1:8443", "127.0.0.1:8080")
    assert environment.zones == ("prod.corp.example",)
    assert environment.default_profile == "server-1h"
    assert environment.challenges == ("http-01", "dns-01", "tls-alpn-01")
    assert [rule.name for rule in environment.policy] == ["own-zones"]
    assert environment.policy[0].dns == (".prod.corp.example",)
    assert environment.caa_identities == ("ca.corp.example",)


def test_paths_start_at_the_folder_of_the_file() -> None:
    config = good()
    folder = FILE.parent
    (issuer,) = config.environment["prod"].issuer
    assert config.state == folder / "state"
    assert config.database.url == f"sqlite:///{folder}/acme-ca.db"
    assert (issuer.certificate, issuer.key.file) == (folder / "certificates/prod.pem", folder / "keys/prod.key")
    key = config.service.issuer.key
    assert isinstance(key, SoftwareKey)
    assert str(key.passphrase) == f"file:{folder}/keys/passphrase"


def test_absolute_paths_stay() -> None:
    config = loads('state = "/run/ca"\n' + GOOD + '[database]\nurl = "sqlite:////var/ca.db"', FILE, files=False)
    assert config.state == Path("/run/ca")
    assert config.database.url == "sqlite:////var/ca.db"


def test_a_caa_identity_is_a_name_never_an_address() -> None:
    config = loads(GOOD.replace("CA.corp.example", "[::1]"), FILE, files=False)
    assert config.environment["prod"].caa_identities == ()
    config = loads(GOOD.replace("[[env", 'caa_identities = ["other.example"]\n[[env'), FILE, files=False)
    assert config.environment["prod"].caa_identities == ("other.example",)


def test_lists_tables_and_addresses_are_read() -> None:
    config = good("""
[environment.prod.validation]
resolvers = ["10.0.0.53", { address = "10.0.0.54", zones = ["corp.example"], protocol = "tls", ca_file = "dns.pem" }]
allow = ["127.0.0.0/8", "::1/128"]
timeout = 5
[[environment.prod.policy]]
name = "web"
dns = ["*.prod.corp.example"]
ip = ["10.0.0.0/8"]
challenges = ["dns-01"]
""")
    environment = config.environment["prod"]
    assert [str(resolver.address) for resolver in environment.validation.resolvers] == ["10.0.0.53", "10.0.0.54"]
    assert environment.validation.resolvers[1].ca_file == FILE.parent / "dns.pem"
    assert environment.validation.allow == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert environment.policy[0].ip == (ip_network("10.0.0.0/8"),)


def test_an_own_profile_can_be_offered() -> None:
    config = loads(
        GOOD.replace("[[env", 'profiles = ["server-1h", "mail-2h"]\ndefault_profile = "mail-2h"\n[[env')
        + """
[profile.mail-2h]
description = "Mail servers"
lifetime = 7200
extended_key_usages = ["serverAuth"]
revocation = "none"
""",
        FILE,
        files=False,
    )
    assert config.profile["mail-2h"].lifetime == 7200


@pytest.mark.parametrize(
    ("seen", "instead", "expected"),
    [
        ('external_url = "https', 'external_url = "ftp', "1: external_url: expected a URL that starts with https://"),
        (":8443/", ":8443/acme", "1: external_url: expected scheme, host and port only, without the path '/acme'"),
        (":8443/", ":0", "1: external_url: port 0"),
        (":8443/", ":99999", "1: external_url: Port out of range"),
        ("CA.corp", "ca_1.corp", "1: external_url: "),
        ("CA.corp", "user@ca.corp", "1: external_url: expected a URL"),
        ("external_url", "extrenal_url", "1: external_url: is missing"),
        ('url = "http://', 'url = "https://', "3: listener.status.url: expected a URL that starts with http://"),
        ("[listener.status]", "[listener.staus]", "2: listener.status: is missing"),
        ('name = "service-1"', "name = 1", "5: service.issuer.name: should be a valid string, not 1"),
        (
            'name = "service-1"',
            'name = "prod-1"',
            "12: environment.prod.issuer[0].name: 'prod-1' is the name of another",
        ),
        ('type = "software"', 'type = "hardware"', "8: service.issuer.key.type: there is no kind 'hardware'; expected"),
        (
            'type = "software"',
            'type = "aws_kms"',
            "8: service.issuer.key.type: there is no kind 'aws_kms'; did you mean 'aws-kms'?",
        ),
        (SOFTWARE, '{ type = "aws-kms", key = "alias/a" }', "8: service.issuer.key.region: is missing"),
        (
            SOFTWARE,
            '{ type = "aws-kms", key = "a", region = "eu-west-1" }',
            "8: service.issuer.key.key: expected alias/",
        ),
        (
            SOFTWARE,
            '{ type = "azure-key-vault", valt = "https://a.vault.azure.net", name = "a" }',
            "8: service.issuer.key.valt: there is no such setting; did you mean 'vault'?",
        ),
        (SOFTWARE, '{ type = "google-kms", key = "a" }', "8: service.issuer.key.key: should match pattern"),
        (
            SOFTWARE,
            '{ type = "transit", address = "http://vault.example", name = "a" }',
            "8: service.issuer.key.address: http would show",
        ),
        (
            SOFTWARE,
            '{ type = "transit", address = "https://vault.example", name = "a", token = "hvs.hunter2" }',
            "8: service.issuer.key.token: a secret is written as env:NAME",
        ),
        ("file:keys/passphrase", "hunter2", "8: service.issuer.key.passphrase: a secret is written as env:NAME"),
        ("[environment.prod]", "[environment.Prod]", "9: environment.Prod: "),
        ('zones = ["Prod', 'zones = ["ok.example", "*.Prod', "10: environment.prod.zones[1]: "),
        ('zones = ["Prod.Corp.Example"]', "zones = []", "10: environment.prod.zones: "),
        ('zones = ["Prod.Corp.Example"]', 'zones = "a.example"', "10: environment.prod.zones: should be a list"),
        ('zones = ["Prod.Corp.Example"]', 'zone = ["a.example"]', "9: environment.prod.zones: is missing"),
    ],
)
def test_a_mistake_is_named_with_its_line(seen: str, instead: str, expected: str) -> None:
    assert seen in GOOD
    found = mistakes(GOOD.replace(seen, instead, 1))
    assert any(line.startswith(f"acme-ca.toml:{expected}") for line in found), found


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("patience = 3600", "patience: expected less than order_lifetime (3600 s), not 3600 s"),
        ("order_lifetime = 1", "order_lifetime: should be greater than or equal to 60, not 1"),
        ("order_lifetime = true", "order_lifetime: should be a valid integer, not True"),
        ('order_lifetime = "3600"', "order_lifetime: should be a valid integer, not '3600'"),
        ("order_lifetime = 2024-01-01", "order_lifetime: should be a valid integer, not"),
        ("external_account_required = 1", "external_account_required: should be a valid boolean, not 1"),
        (
            'default_profile = "server-8"',
            "default_profile: profile 'server-8' is not offered here; did you mean 'server-8h'?",
        ),
        ("challenges = []", "challenges: "),
        ('challenges = ["http-01", "dns01"]', "challenges[1]: should be 'http-01', 'dns-01'"),
        ('profiles = ["server-1h", "web"]', "profiles[1]: there is no profile 'web'; expected one of: client-1h"),
        ('terms_of_service = "terms"', "terms_of_service: expected a URL that starts with https:// or http://"),
        ("max_names = 0", "max_names: should be greater than or equal to 1"),
        ("nonsense = 1", "nonsense: there is no such setting; expected one of: anchor_crls, "),
        ("ordr_lifetime = 60", "ordr_lifetime: there is no such setting; did you mean 'order_lifetime'?"),
        (
            "validation = { http_prot = 80 }",
            "validation.http_prot: there is no such setting; did you mean 'http_port'?",
        ),
        ('validation = { allow = ["10.0.0.1/8"] }', "validation.allow[0]: "),
        (
            'policy = [{ name = "a", dns = [".prod.corp.example", ".dev.corp.example"] }]',
            "policy[0].dns[1]: '.dev.corp.example' is outside the zones of this environment (prod.corp.example)",
        ),
        (
            'policy = [{ name = "a", dns = [".prod.corp.example"], challenges = ["dns-persist-01"] }]',
            "policy[0].challenges[0]: 'dns-persist-01' is not among the challenges of this environment",
        ),
        ('policy = [{ name = "a", dsn = [] }]', "policy[0].dsn: there is no such setting; did you mean 'dns'?"),
        (
            'trust_domain = "spiffe://prod.example"',
            "trust_domain: expected the name of a trust domain alone, such as prod.corp.example, not 'spiffe://",
        ),
        ('trust_domain = ""', "trust_domain: expected the name of a trust domain alone"),
        (
            'provider = [{ name = "a", type = "kubernets", issuer = "https://a.example" }]',
            "provider[0].type: there is no kind 'kubernets'; did you mean 'kubernetes'?",
        ),
        ('provider = [{ name = "a" }]', "provider[0].type: is missing and has no default"),
        (
            oidc('{ url = "https://a.example/" }'),
            "provider[0].jwks.source: is missing and has no default",
        ),
        (
            oidc('{ source = "uri", url = "https://a.example/" }'),
            "provider[0].jwks.source: there is no kind 'uri'; did you mean 'url'?",
        ),
        (
            oidc('{ source = "url", url = "https://a.example/", file = "keys.json" }'),
            "provider[0].jwks.file: there is no such setting; ",
        ),
        (
            oidc('{ source = "url", url = "http://a.example/" }'),
            "provider[0].jwks.url: ",
        ),
    ],
)
def test_a_mistake_in_an_environment_is_named_with_its_line(setting: str, expected: str) -> None:
    text = GOOD.replace("[[environment", f"# a comment\n{setting}\n[[environment")
    assert one(text).startswith(f"12: environment.prod.{expected}")


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ('[listener.acme]\nbind = "8443"', "17: listener.acme.bind: expected an address and port"),
        ('[listener.acme]\nbind = "127.0.0.1:65536"', "17: listener.acme.bind: expected an address and port"),
        (
            '[listener.acme]\nbind = "127.0.0.1:8080"',
            "2: listener: acme and status cannot both listen on 127.0.0.1:8080",
        ),
        ("[listener.acme]\nthreads = 0", "17: listener.acme.threads: "),
        ('[database]\nurl = "mysql://x/y"', "17: database.url: expected sqlite:///FILE or postgresql"),
        ('[database]\nurl = "sqlite://"', "17: database.url: expected sqlite:///FILE: the processes"),
        ('[database]\nurl = "sqlite:///:memory:"', "17: database.url: expected sqlite:///FILE: the processes"),
        ('[log]\nlevel = "loud"', "17: log.level: should be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("[worker]\nvalidation = 3", "17: worker.validation: there is no such setting; did you mean 'validations'?"),
        ("[state]\n", "16: state: "),
        (
            "[[environment.prod.issuer]]\nname = 'b'\nkey.type = 'software'\nkey.typo = 1",
            "19: environment.prod.issuer[1].key.typo: there is no",
        ),
        ("[profile.web]\nlifetime = 'x'\n", "17: profile.web.lifetime: "),
    ],
)
def test_a_mistake_in_another_table_is_named_with_its_line(tables: str, expected: str) -> None:
    found = mistakes(GOOD + tables)
    assert any(line.startswith(f"acme-ca.toml:{expected}") for line in found), found


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file() -> None:
    text = (
        GOOD.replace("https:", "http:")
        .replace("Prod.Corp.Example", "-")
        .replace("keys/prod.key", "x")
        .replace("[[env", 'profiles = ["server-1h", "sever-8h"]\npatience = "long"\n[[env')
    )
    assert [line.split(": ")[0].split(":")[1] for line in mistakes(text)] == ["1", "10", "11", "12"]


def test_secrets_are_not_repeated() -> None:
    for table in (
        'password = "hunter2"',
        "password = 7777777",
        'url = "postgresql://u:hunter2@h/d"',
        'pasword = "hunter2"',
    ):
        found = "\n".join(mistakes(f"{GOOD}[database]\n{table}"))
        assert "hunter2" not in found
        assert "7777777" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = = 2\n", "2:5: not TOML: "),
        ("a = 1\na = 2\n", "2:6: not TOML: "),
        ('a = "', "1: not TOML: "),
    ],
)
def test_what_is_not_toml_is_named_with_line_and_column(text: str, expected: str) -> None:
    assert mistakes(text)[0].startswith(f"acme-ca.toml:{expected}"), mistakes(text)


def test_an_empty_file_lacks_what_has_no_default() -> None:
    assert [line.split(": ")[1] for line in mistakes("")] == ["environment", "external_url", "listener", "service"]


def test_a_file_that_cannot_be_read_is_a_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xfc")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 2"):
        load(tmp_path / "latin.toml")


def test_the_files_named_have_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "acme-ca.toml"
    path.write_text(GOOD)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [(mistake.line, mistake.setting) for mistake in caught.value.mistakes] == [
        (6, "service.issuer.certificate"),
        (7, "service.issuer.root"),
        (8, "service.issuer.key"),
        (13, "environment.prod.issuer[0].certificate"),
        (14, "environment.prod.issuer[0].root"),
        (15, "environment.prod.issuer[0].key"),
    ]
    for name in (
        "certificates/service.pem",
        "certificates/root.pem",
        "certificates/prod.pem",
        "keys/service.key",
        "keys/prod.key",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert load(path).environment["prod"].issuer[0].certificate == tmp_path / "certificates/prod.pem"


def test_the_password_of_the_database_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DATABASE_PASSWORD", "hunter2")
    config = good('[database]\nurl = "postgresql+psycopg://u@db.example/d"\npassword = "env:DATABASE_PASSWORD"')
    assert config.database.reveal_password() == "hunter2"
    assert "hunter2" not in repr(config)
    assert good().database.reveal_password() is None


def test_every_own_setting_is_described_in_the_schema() -> None:
    schema = json_schema()
    tables: dict[str, Any] = {"Config": schema, **schema["$defs"]}
    own = [
        "Config",
        "Environment",
        "Issuer",
        "Listeners",
        "AcmeListener",
        "StatusListener",
        "Database",
        "Log",
        "Worker",
    ]
    for table in own:
        for setting, definition in tables[table]["properties"].items():
            referred = tables[definition["$ref"].rpartition("/")[2]] if "$ref" in definition else {}
            assert definition.get("description") or referred.get("description"), f"{table}.{setting}"


def test_to_read_it_loads_no_metrics_and_no_vendors_code() -> None:
    """Metrics have to know first whether they are of one process or of several; an HSM's library may do anything."""
    code = "import sys, acme_ca.config; print([m for m in ('acme_ca.metrics', 'pkcs11', 'boto3') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == "[]\n"
