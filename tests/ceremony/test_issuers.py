"""`acme-ca issuer csr` and `acme-ca issuer import`: certificates that another CA signs, and the checks."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from acme_ca import public_keys
from acme_ca.cli import cli
from acme_ca.pki.ca import constraints_to
from tests.support.ca import make_ca_files
from tests.support.corporate import DAY, Corporate, openssl
from tests.support.root_crls import replace_list

ISSUER = "prod/prod-1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The configuration of a CA whose root is elsewhere."""
    return make_ca_files(tmp_path / "ca", "--environment", "prod", "--offline-root")


@pytest.fixture
def corporate(tmp_path: Path, path: Path) -> Corporate:
    """The root that it trusts."""
    made = Corporate.make(tmp_path / "corp")
    (path.parent / "certificates").mkdir(exist_ok=True)
    shutil.copy(made.certificate_file, path.parent / "certificates" / "root.pem")
    return made


def run(path: Path, verb: str, *options: object) -> Result:
    return CliRunner().invoke(cli, ["issuer", verb, "--config", str(path), *map(str, options)])


def done(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def asked(path: Path, issuer: str = ISSUER, *options: str) -> Path:
    """A request, in a file."""
    out = path.parent / f"{issuer.partition('/')[2]}.csr"
    done(run(path, "csr", issuer, "--create", "ec-p256", "--out", out, "--json", *options))
    return out


def in_place(path: Path, name: str = "prod-1") -> Path:
    return path.parent / "certificates" / f"{name}.pem"


def key_of(request: Path) -> Any:  # noqa: ANN401 - a public key of some kind
    return x509.load_pem_x509_csr(request.read_bytes()).public_key()


def test_a_request_says_what_is_asked_for(path: Path) -> None:
    document = done(run(path, "csr", ISSUER, "--create", "ec-p384", "--json"))
    key = path.parent / "keys" / "prod-1.key"
    assert document["created"] == [str(key)]
    assert document["file"] is None
    request = x509.load_pem_x509_csr(document["csr"].encode())
    assert request.is_signature_valid
    assert isinstance(request.public_key(), ec.EllipticCurvePublicKey)
    assert (request.subject.rfc4514_string(), document["subject"]) == ("CN=localhost prod-1,O=acme-ca",) * 2
    basic = request.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)
    constraints = request.extensions.get_extension_for_class(x509.NameConstraints).value
    assert [name.value for name in constraints.permitted_subtrees or []] == ["prod.localhost"]
    again = run(path, "csr", ISSUER)
    assert again.exit_code == 0
    assert x509.load_pem_x509_csr(again.stdout.encode()).public_key() == request.public_key()
    assert "SHA-256 of the public key" in again.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((ISSUER,), "does not exist: --create KIND makes it"),
        (("prod/prod-2",), "there is no issuer 'prod/prod-2'; there are service/service-1, prod/prod-1"),
        ((ISSUER, "--create", "ec-p256", "--out", "{config}"), "exists already; it is never overwritten"),
        ((ISSUER, "--create", "ec-p256", "--out", "{config}/x"), "Not a directory"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused(path: Path, options: tuple[str, ...], reason: str) -> None:
    before = path.read_bytes()
    result = run(path, "csr", *(option.format(config=path) for option in options))
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr
    assert path.read_bytes() == before


def test_a_key_is_never_made_twice(path: Path) -> None:
    request = asked(path)
    result = run(path, "csr", ISSUER, "--create", "ec-p256")
    assert result.exit_code == 1
    assert "exists already: leave --create out" in result.stderr
    assert key_of(request)
    assert run(path, "csr", ISSUER, "--create", "ed25519").exit_code == 2


def test_a_whole_ca_comes_from_a_corporate_root(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    for issuer in ("service/service-1", ISSUER):
        signed = corporate.sign(asked(path, issuer), tmp_path / "signed.pem")
        document = done(run(path, "import", signed, "--json"))
        certificate = in_place(path, issuer.partition("/")[2])
        assert (document["issuer"], document["files"], document["wider"]) == (issuer, [str(certificate)], [])
        assert certificate.read_bytes() == signed.read_bytes()
        assert openssl("verify", "-x509_strict", "-CAfile", corporate.certificate_file, certificate).endswith(": OK\n")
    path.write_text(path.read_text().replace('root_crl = "certificates/root-1.crl"\n', ""))
    checked = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
    assert checked.exit_code == 0, checked.output
    again = run(path, "import", tmp_path / "signed.pem")
    assert "it is in its place already" in again.stdout
    assert in_place(path).stat().st_mode & 0o777 == 0o644


def test_a_certificate_in_der_is_taken_too_and_a_dry_run_only_looks(
    path: Path, corporate: Corporate, tmp_path: Path
) -> None:
    signed = corporate.sign(asked(path), tmp_path / "signed.pem")
    der = tmp_path / "signed.der"
    openssl("x509", "-in", signed, "-outform", "DER", "-out", der)
    assert done(run(path, "import", der, "--dry-run", "--json"))["files"] == []
    assert not in_place(path).exists()
    result = run(path, "import", der, "--issuer", ISSUER)
    assert result.exit_code == 0
    assert "Note: it does not name http://localhost:8080/crl/root-1.crl" in result.stderr
    assert in_place(path).read_bytes() == signed.read_bytes()


NOW = datetime.now(UTC)


def usage(**changes: bool) -> x509.KeyUsage:
    names = [
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ]
    return x509.KeyUsage(**{name: changes.get(name, False) for name in names})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ca": False, "path_length": None}, "is no CA certificate"),
        ({"usage": usage(digital_signature=True, crl_sign=True)}, "has not the key usages keyCertSign and cRLSign"),
        ({"usage": usage(key_cert_sign=True)}, "has not the key usages keyCertSign and cRLSign"),
        ({"usage": None}, "has not the key usages keyCertSign and cRLSign"),
        ({"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}, "expired at"),
        ({"not_before": NOW + DAY}, "is not valid before"),
        ({"not_after": NOW + timedelta(hours=7)}, "before a leaf of 8:00:00 that is issued now"),
        ({"constraints": None}, "has no name constraints"),
        ({"constraints": constraints_to(("a.prod.localhost",), ())}, "does not permit DNS names below prod.localhost"),
        (
            {"constraints": x509.NameConstraints([x509.DNSName("prod.localhost")], [x509.DNSName("x.prod.localhost")])},
            "does not permit DNS names below prod.localhost",
        ),
        ({"usages": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])}, "lacks the extended key usages clientA"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(
    path: Path, corporate: Corporate, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    signed = corporate.issue(key_of(asked(path)), tmp_path / "signed.pem", **changes)
    result = run(path, "import", signed, "--allow-wider", "--replace")
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr
    assert not in_place(path).exists()


ANY_ADDRESS = x509.NameConstraints([x509.DNSName("prod.localhost")], None)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"path_length": None}, ["intermediates below it: its path length is None, expected 0"]),
        ({"path_length": 1}, ["intermediates below it: its path length is 1, expected 0"]),
        ({"constraints": ANY_ADDRESS}, ["any IPv4 address", "any IPv6 address"]),
        ({"constraints": constraints_to(("localhost",), ())}, ["DNS names below localhost"]),
        ({"constraints": constraints_to(("prod.localhost", "a.example"), ())}, ["DNS names below a.example"]),
        (
            {"constraints": constraints_to(("prod.localhost",), (ip_network("10.0.0.0/8"),))},
            ["addresses in 10.0.0.0/8"],
        ),
        ({"usages": None}, ["any extended key usage"]),
        (
            {
                "usages": x509.ExtendedKeyUsage(
                    [
                        *map(x509.ObjectIdentifier, ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")),
                        ExtendedKeyUsageOID.CODE_SIGNING,
                    ]
                )
            },
            ["extended key usage 1.3.6.1.5.5.7.3.3"],
        ),
    ],
)
def test_more_than_was_asked_for_has_to_be_allowed(
    path: Path, corporate: Corporate, tmp_path: Path, changes: dict[str, Any], reasons: list[str]
) -> None:
    signed = corporate.issue(key_of(asked(path)), tmp_path / "signed.pem", **changes)
    result = run(path, "import", signed)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[1:] == [f"  {reason}" for reason in reasons]
    assert not in_place(path).exists()
    allowed = run(path, "import", signed, "--allow-wider")
    assert allowed.exit_code == 0, allowed.output
    assert all(f"Warning: it may sign for {reason}" in allowed.stderr for reason in reasons)


def test_networks_of_the_policy_are_asked_for(tmp_path: Path) -> None:
    networks = ("10.0.0.0/9", "10.128.0.0/9")
    options = [word for network in networks for word in ("--ip-network", network)]
    path = make_ca_files(tmp_path / "ca", "--environment", "prod", "--offline-root", *options)
    corporate = Corporate.make(tmp_path / "corp")
    (path.parent / "certificates").mkdir(exist_ok=True)
    shutil.copy(corporate.certificate_file, path.parent / "certificates" / "root.pem")
    key, signed = key_of(asked(path)), tmp_path / "signed.pem"
    result = run(path, "import", corporate.issue(key, signed, constraints=ANY_ADDRESS), "--allow-wider")
    assert "does not permit addresses in 10.0.0.0/9" in result.stderr
    narrow = constraints_to(("prod.localhost",), (ip_network("10.0.0.0/9"),))
    result = run(path, "import", corporate.issue(key, signed, constraints=narrow))
    assert "does not permit addresses in 10.128.0.0/9" in result.stderr
    whole = constraints_to(("prod.localhost",), (ip_network("10.0.0.0/8"),))
    assert run(path, "import", corporate.issue(key, signed, constraints=whole)).exit_code == 0


def test_a_certificate_for_another_key_is_refused(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    asked(path)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    signed = corporate.issue(other, tmp_path / "signed.pem")
    result = run(path, "import", signed)
    assert "no configured issuer has the key of CN=issuer: was it made from another CSR?" in result.stderr
    assert "Keys that could not be looked at:\n  service/service-1: " in result.stderr
    result = run(path, "import", signed, "--issuer", ISSUER)
    assert result.exit_code == 1
    assert "is for another key than the issuer's" in result.stderr


def test_a_foreign_root_and_a_missing_one_are_refused(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    request = asked(path)
    foreign = Corporate.make(tmp_path / "foreign", "corp")
    result = run(path, "import", foreign.sign(request, tmp_path / "signed.pem"))
    assert result.exit_code == 1
    assert "CN=localhost prod-1,O=acme-ca is not issued by CN=corp root,O=Corp" in result.stderr
    signed = corporate.sign(request, tmp_path / "signed.pem")
    (path.parent / "certificates" / "root.pem").unlink()
    assert "put the one that you decided to trust there first" in run(path, "import", signed).stderr


def test_weak_signatures_and_keys_are_refused(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    request = asked(path)
    weak = run(path, "import", corporate.sign(request, tmp_path / "signed.pem", "-sha1"))
    assert weak.exit_code == 1
    assert "is signed with sha1, expected one of sha256, sha384, sha512" in weak.stderr
    short = Corporate.make(tmp_path / "short", "short", ("rsa", "rsa_keygen_bits:1024"))
    shutil.copy(short.certificate_file, path.parent / "certificates" / "root.pem")
    result = run(path, "import", short.sign(request, tmp_path / "signed.pem"))
    assert "the key of CN=short root,O=Corp: an RSA key of 1024 bits is not accepted" in result.stderr


def test_what_is_in_its_place_is_replaced_only_when_told(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    request = asked(path)
    assert run(path, "import", corporate.sign(request, tmp_path / "1.pem")).exit_code == 0
    before = in_place(path).read_bytes()
    second = corporate.sign(request, tmp_path / "2.pem", "-days", "730")
    result = run(path, "import", second)
    assert result.exit_code == 1
    assert f"{in_place(path)}: another certificate is there already; --replace takes its place" in result.stderr
    assert in_place(path).read_bytes() == before
    assert run(path, "import", second, "--replace").exit_code == 0
    assert in_place(path).read_bytes() == second.read_bytes()
    assert sorted(found.name for found in in_place(path).parent.iterdir()) == [
        "admin.pem",
        "audit.pub",
        "prod-1.pem",
        "root.pem",
    ]


def test_an_issuers_name_stays_with_its_key(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    assert run(path, "import", corporate.sign(asked(path), tmp_path / "1.pem")).exit_code == 0
    (path.parent / "keys" / "prod-1.key").unlink()
    (path.parent / "prod-1.csr").unlink()
    result = run(path, "import", corporate.sign(asked(path), tmp_path / "2.pem"), "--replace")
    assert result.exit_code == 1
    assert "is for another key: give the new issuer a name of its own" in result.stderr


def test_what_is_between_it_and_the_root_is_put_in_place_too(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    key = key_of(asked(path))
    middle = Corporate(tmp_path / "corp", "middle")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", middle.key_file)
    upper = {"constraints": None, "usages": None, "name": "middle"}
    corporate.issue(middle.key.public_key(), middle.certificate_file, path_length=1, **upper)
    signed = middle.issue(key, tmp_path / "signed.pem")
    assert "1 certificates between" not in run(path, "import", signed).stderr
    result = run(path, "import", signed, "--chain", middle.certificate_file)
    assert "1 certificates between it and the root, and the configuration names 0 files" in result.stderr
    text = path.read_text()
    chained = 'certificate = "certificates/prod-1.pem"\n'
    path.write_text(text.replace(chained, chained + 'chain = ["certificates/middle.pem"]\n'))
    assert "0 certificates between it and the root, and the configuration names 1" in run(path, "import", signed).stderr
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(
        b"".join(one.read_bytes() for one in (signed, middle.certificate_file, corporate.certificate_file))
    )
    document = done(run(path, "import", bundle, "--json"))
    assert document["files"] == [str(in_place(path, "middle")), str(in_place(path))]
    assert openssl(
        "verify", "-CAfile", corporate.certificate_file, "-untrusted", in_place(path, "middle"), in_place(path)
    )
    corporate.issue(middle.key.public_key(), middle.certificate_file, path_length=0, **upper)
    result = run(path, "import", signed, "--chain", middle.certificate_file, "--replace")
    assert "CN=middle allows 0 intermediates below it, and there are 1" in result.stderr
    narrow = upper | {"constraints": constraints_to(("a.example",), ())}
    corporate.issue(middle.key.public_key(), middle.certificate_file, path_length=1, **narrow)
    result = run(path, "import", signed, "--chain", middle.certificate_file, "--replace")
    assert "CN=middle does not permit DNS names below prod.localhost" in result.stderr


def test_a_revoked_certificate_is_refused(tmp_path: Path) -> None:
    """Its root is that of `acme-ca init`, so that the list is too."""
    path = make_ca_files(tmp_path, "--environment", "prod")
    certificate = x509.load_pem_x509_certificate(in_place(path).read_bytes())
    replace_list(tmp_path, revoked=[certificate.serial_number])
    result = run(path, "import", in_place(path))
    assert result.exit_code == 1
    assert "it is revoked: " in result.stderr


def test_what_is_no_certificate_is_refused(path: Path, corporate: Corporate, tmp_path: Path) -> None:
    del corporate
    (tmp_path / "no.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for file, reason in ((tmp_path / "no.pem", "no certificate in PEM"), (tmp_path / "gone", "No such file")):
        result = run(path, "import", file)
        assert result.exit_code == 1
        assert reason in result.stderr
    assert run(path, "import", path.parent / "certificates" / "admin.pem").exit_code == 1


def test_an_issuer_of_ml_dsa_is_asked_for_and_the_listener_keeps_to_what_tls_reads(path: Path) -> None:
    request = done(run(path, "csr", ISSUER, "--create", "ml-dsa-65", "--json"))
    csr = x509.load_pem_x509_csr(request["csr"].encode())
    assert csr.is_signature_valid
    assert public_keys.check(csr.public_key()) == "ml-dsa-65"
    refused = run(path, "csr", "service/service-1", "--create", "ml-dsa-65")
    assert refused.exit_code == 1
    assert "ml-dsa-65 is no kind of key for service/service-1; expected ec-p256, " in refused.stderr
