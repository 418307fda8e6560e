"""`acme-ca root`: an offline root, by a reviewed plan. openssl verifies what it signs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from acme_ca.ceremony import transcript
from acme_ca.ceremony.plan import load
from acme_ca.cli import cli
from acme_ca.pki.csr import proved_key
from acme_ca.pki.signing import new_mldsa, signature_of
from tests.support.ca import make_ca_files
from tests.support.corporate import openssl
from tests.support.offline import PLAN, Offline


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_what_is_signed_is_what_the_plan_says(offline: Offline) -> None:
    made = offline.done("create")
    assert made["files"] == [
        str(offline.folder / name)
        for name in ("safe/passphrase", "safe/root.key", "root-corp.transcript.jsonl", "root-corp.pem")
    ]
    request = offline.request("prod-1")
    signed = offline.done("sign-intermediate", request, "--name", "prod-1")
    assert signed["files"] == [str(offline.transcript), str(offline.folder / "prod-1.pem")]
    found = certificate(offline.folder / "prod-1.pem")
    assert found.subject.rfc4514_string() == "CN=Corp prod-1,O=Corp"
    assert found.public_key() == proved_key(request.read_bytes()).public_key
    text = openssl("x509", "-in", offline.folder / "prod-1.pem", "-noout", "-text")
    for line in (
        "CA:TRUE, pathlen:0",
        "DNS:prod.corp.example",
        "IP:10.0.0.0/255.0.0.0",
        "CA Issuers - URI:http://ca.corp.example:8080/ca/prod/root.der",
        "URI:http://ca.corp.example:8080/crl/root-corp.crl",
    ):
        assert line in text
    assert "prod-1.example" not in text  # which the request asks for
    assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(days=365, hours=1)


def test_openssl_verifies_everything_up_to_the_root(offline: Offline) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    offline.done("create")
    offline.done("sign-intermediate", offline.request("prod-1", key), "--name", "prod-1")
    offline.done("sign-crl")
    folder, issuer = offline.folder, offline.folder / "prod-1.pem"
    (folder / "issuer.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    openssl(
        *(
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            folder / "l.key",
        ),
        *("-out", folder / "leaf", "-subj", "/", "-addext", "subjectAltName=critical,DNS:a.prod.corp.example"),
        *(
            "-days",
            "1",
            "-CA",
            issuer,
            "-CAkey",
            folder / "issuer.key",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ),
    )
    (folder / "db").touch()
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {folder / 'db'}\ndefault_md = sha256\ndefault_crl_days = 1\n"
    )
    config = ("-config", folder / "ca.cnf", "-keyfile", folder / "issuer.key", "-cert", issuer)
    openssl("ca", "-gencrl", *config, "-out", folder / "leafs.list")
    trust = ("-x509_strict", "-CAfile", offline.root, "-untrusted", issuer, "-crl_check_all")
    lists = ("-CRLfile", folder / "leafs.list", "-CRLfile", folder / "root-corp.1.crl")
    assert openssl("verify", *trust, *lists, folder / "leaf").endswith(": OK\n")
    assert "verify OK" in openssl("crl", "-in", folder / "root-corp.1.crl", "-noout", "-CAfile", offline.root)


def test_nothing_of_a_server_is_needed(offline: Offline) -> None:
    program = """
import sys
from acme_ca.cli import cli
try:
    cli()
finally:
    print([name for name in ("sqlalchemy", "flask", "gunicorn") if name in sys.modules], file=sys.stderr)
"""
    command = [
        sys.executable,
        "-c",
        program,
        "root",
        "create",
        str(offline.plan),
        "--yes",
        "--plan-digest",
        offline.digest,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.endswith("[]\n")


def test_a_root_of_any_kind_signs(tmp_path: Path) -> None:
    for kind in ("ec-p256", "rsa-3072"):
        offline = Offline.prepare(tmp_path / kind, PLAN.replace('kind = "ec-p384"', f'kind = "{kind}"'))
        offline.whole()
        assert offline.run("verify", offline.transcript, "--made", offline.root).exit_code == 0
        assert openssl("verify", "-CAfile", offline.root, offline.folder / "test-1.pem").endswith(": OK\n")


def test_nothing_is_overwritten(offline: Offline) -> None:
    offline.whole()
    assert "root-corp.pem exists already" in offline.refused("create")
    offline.root.unlink()
    assert "root-corp.transcript.jsonl exists already" in offline.refused("create")


def test_a_medium_that_is_not_there_is_not_made(offline: Offline) -> None:
    (offline.folder / "safe").rmdir()
    assert f"there is no folder {offline.folder / 'safe'}: bring in the medium" in offline.refused("create")
    (offline.folder / "safe").mkdir()
    offline.edit("file:safe/passphrase", "file:other/passphrase")
    assert f"there is no folder {offline.folder / 'other'}: bring in the medium" in offline.refused("create")


def test_a_key_that_is_there_is_used_if_it_is_of_the_kind(offline: Offline, tmp_path: Path) -> None:
    offline.done("create")
    other = Offline.prepare(tmp_path / "other")
    shutil.copytree(offline.folder / "safe", other.folder / "safe", dirs_exist_ok=True)
    other.edit('kind = "ec-p384"', 'kind = "ec-p256"')
    assert "is of kind ec-p384, and the plan says ec-p256" in other.refused("create")
    other.edit('kind = "ec-p256"', 'kind = "ec-p384"')
    assert other.done("create")["files"] == [str(other.transcript), str(other.root)]
    assert certificate(other.root).public_key() == certificate(offline.root).public_key()


def broken(path: Path) -> None:
    request = x509.load_pem_x509_csr(path.read_bytes())
    der = bytearray(request.public_bytes(Encoding.DER))
    at = der.index(b"Corp prod-1")
    der[at : at + 4] = b"Evil"
    path.write_bytes(x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (broken, "the CSR's signature does not verify with the CSR's own key"),
        (lambda path: path.write_text("-----BEGIN NOTHING-----\n"), "not a valid PKCS#10 request"),
        (
            lambda path: path.write_bytes(x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER)),
            "not in PEM",
        ),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_a_request_that_proves_nothing_is_refused(offline: Offline, spoil: Callable[[Path], None], reason: str) -> None:
    offline.done("create")
    path = offline.request("prod-1")
    spoil(path)
    assert reason in offline.refused("sign-intermediate", path, "--name", "prod-1")


def test_a_weak_key_and_the_roots_own_are_refused(offline: Offline) -> None:
    offline.done("create")
    weak = ec.generate_private_key(ec.SECP256K1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    path = offline.folder / "weak.csr"
    path.write_bytes(request.sign(weak, SHA256()).public_bytes(Encoding.PEM))
    assert "secp256k1 is not accepted" in offline.refused("sign-intermediate", path, "--name", "prod-1")
    own = load(offline.plan).plan.root.key.open()
    path = offline.request("prod-1", own)
    assert "is of the root's own key" in offline.refused("sign-intermediate", path, "--name", "prod-1")
    path = offline.request("prod-1", ed25519.Ed25519PrivateKey.generate())
    assert "verifiers take" in offline.refused("sign-intermediate", path, "--name", "prod-1")


def test_an_intermediate_is_signed_once(offline: Offline) -> None:
    offline.whole()
    again = offline.request("prod-1")
    assert "intermediate prod-1 was signed already, in act 2" in offline.refused(
        "sign-intermediate", again, "--name", "prod-1"
    )
    (offline.folder / "prod-1.pem").unlink()
    assert "was signed already" in offline.refused("sign-intermediate", again, "--name", "prod-1")
    offline.edit('name = "test-1"', 'name = "test-2"')
    (offline.folder / "test-2.pem").write_text("something")
    assert "test-2.pem exists already" in offline.refused("sign-intermediate", again, "--name", "test-2")


def test_which_intermediate_is_meant_has_to_be_said(offline: Offline) -> None:
    offline.done("create")
    request = offline.request("prod-1")
    assert "say which intermediate it is for (--name); there are: prod-1, test-1" in offline.refused(
        "sign-intermediate", request
    )
    refused = offline.refused("sign-intermediate", request, "--name", "prod-2")
    assert "the plan has no intermediate 'prod-2'; there are: prod-1, test-1" in refused


def test_another_subject_and_a_key_seen_before_are_told(offline: Offline) -> None:
    offline.done("create")
    key = ec.generate_private_key(ec.SECP256R1())
    offline.done("sign-intermediate", offline.request("prod-1", key), "--name", "prod-1")
    result = offline.act("sign-intermediate", offline.request("test-1", key, "Somebody else"), "--name", "test-1")
    assert result.exit_code == 0
    told = ["calls itself 'CN=Somebody else'; the plan says CN=Corp test-1", "is that of prod-1 too, signed in act 2"]
    assert all(one in result.stderr for one in told)
    *_, last = transcript.read(offline.transcript.read_text())
    assert [one in remark for one, remark in zip(told, last[1].act.remarks, strict=True)] == [True, True]


def test_an_intermediate_does_not_outlive_the_root(offline: Offline) -> None:
    offline.done("create")
    offline.edit("lifetime_days = 365\n", "lifetime_days = 4000\n")
    refused = offline.refused("sign-intermediate", offline.request("prod-1"), "--name", "prod-1")
    assert "is not inside the root's" in refused


def test_the_key_and_the_root_of_the_plan_have_to_fit(offline: Offline) -> None:
    request = offline.request("prod-1")
    assert "`acme-ca root create` begins it" in offline.refused("sign-intermediate", request, "--name", "prod-1")
    offline.done("create")
    offline.edit('common_name = "Corp Root"', 'common_name = "Other Root"')
    assert "its subject is CN=Corp Root,O=Corp, expected CN=Other Root,O=Corp" in offline.refused("sign-crl")
    offline.edit('common_name = "Other Root"', 'common_name = "Corp Root"')
    (offline.folder / "safe" / "root.key").rename(offline.folder / "safe" / "away.key")
    assert "safe/root.key: No such file" in offline.refused("sign-crl")
    load(offline.plan).plan.root.key.create("ec-p384")
    assert "is not the key of CN=Corp Root,O=Corp" in offline.refused("sign-crl")


def test_a_clock_that_was_put_back_is_refused(offline: Offline) -> None:
    """The root signed an act at a time that is yet to come, as when the clock was wrong before."""
    offline.done("create")
    reviewed = load(offline.plan)
    (line,) = offline.transcript.read_text().splitlines()
    record = transcript.Record.model_validate_json(line)
    later = record.act.model_copy(update={"at": "2099-01-01T00:00:00Z"})
    offline.transcript.write_text(transcript.signed(later, reviewed.plan.root.key.open()).line + "\n")
    assert "the last act was at 2099-01-01T00:00:00Z: set the clock" in offline.refused("sign-crl")


def test_an_intermediate_from_a_ceremony_is_imported(tmp_path: Path) -> None:
    """The whole way: a CA without a root, requests, the ceremony, the list and the certificates in their places."""
    path = make_ca_files(tmp_path / "ca", "--environment", "prod", "--offline-root")
    edits = {
        "prod.corp.example": "prod.localhost",
        'permitted_ips = ["10.0.0.0/8"]\n': "",
        "ca.corp.example:8080/crl/root-corp": "localhost:8080/crl/root-1",
        'name = "test-1"': 'name = "service-1"\ncrl_url = "http://localhost:8080/crl/root-1.crl"',
        '"test.corp.example"]': '"localhost"]\npermitted_ips = ["127.0.0.1/32", "::1/128"]',
    }
    offline = Offline.prepare(tmp_path / "offline")
    for before, after in edits.items():
        offline.edit(before, after)
    offline.done("create")
    certificates = path.parent / "certificates"
    shutil.copy(offline.root, certificates / "root.pem")
    for issuer in ("prod/prod-1", "service/service-1"):
        name = issuer.partition("/")[2]
        request = ["issuer", "csr", issuer, "--config", str(path), "--create", "ec-p256"]
        made = CliRunner().invoke(cli, [*request, "--out", str(offline.folder / f"{name}.csr")])
        assert made.exit_code == 0, made.output
        offline.done("sign-intermediate", offline.folder / f"{name}.csr", "--name", name)
        taken = CliRunner().invoke(
            cli, ["issuer", "import", "--config", str(path), str(offline.folder / f"{name}.pem")]
        )
        assert (taken.exit_code, taken.stderr) == (0, "")
    shutil.copy(offline.done("sign-crl")["files"][-1], certificates / "root-1.crl")
    checked = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
    assert checked.exit_code == 0, checked.output


def test_a_ceremony_is_held_with_ml_dsa(tmp_path: Path) -> None:
    offline = Offline.prepare(tmp_path, PLAN.replace('kind = "ec-p384"', 'kind = "ml-dsa-87"'))
    offline.done("create")
    offline.done("sign-intermediate", offline.request("prod-1", new_mldsa("ml-dsa-65")), "--name", "prod-1")
    offline.done("sign-crl")
    assert offline.run("verify", offline.transcript).exit_code == 0
    signed = [signature_of(certificate(tmp_path / f"{name}.pem")) for name in ("root-corp", "prod-1")]
    assert signed == ["ml-dsa-87"] * 2
    offline.transcript.write_text(offline.transcript.read_text().replace("Corp", "Evil"))
    assert offline.run("verify", offline.transcript).exit_code == 1
