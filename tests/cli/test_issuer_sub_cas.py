"""`acme-ca issuer`: a CSR of openssl is signed under a rule; what init makes for that, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from acme_ca import clock, config
from acme_ca.authority import Authority
from acme_ca.cli import cli
from acme_ca.config import ConfigError
from acme_ca.doctor import keeping
from acme_ca.doctor.findings import Host
from acme_ca.services import audit_seal
from tests.support.ca import make_ca_files
from tests.support.sub_cas import RULES, Mesh, key, make_sub_ca_files, request, verdict

Run = Callable[..., Result]
REQUEST = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca-key.pem -out ca.csr"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with rules for meshes: its configuration file."""
    return make_sub_ca_files(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def run(made: Path) -> Run:
    """Run `acme-ca issuer`."""

    def invoke(verb: str, *arguments: str, answer: str | None = None) -> Result:
        where = ("--config", str(made), "--environment", "test")
        return CliRunner().invoke(cli, ["issuer", verb, *where, *arguments], input=answer)

    return invoke


def refused(result: Result, *words: str, code: int = 1) -> None:
    assert result.exit_code == code, result.output
    text = re.sub(r"\s+", " ", result.output)
    assert all(word in text for word in words), result.output


def document(result: Result) -> Any:  # noqa: ANN401 - whatever JSON carries
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def certificate_of(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_csr_of_openssl_becomes_a_ca_that_openssl_believes(run: Run, made: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", *REQUEST.split(), "-subj", "/CN=Istio EU"], cwd=tmp_path, check=True, capture_output=True
    )
    out = tmp_path / "chain.pem"
    anchor = tmp_path / "anchor.pem"
    files = ("--out", str(out), "--root-out", str(anchor))
    done = run("sign-csr", str(tmp_path / "ca.csr"), "--rule", "istio-eu", *files)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "istio.test.localhost" in done.stderr
    signer = load_pem_private_key((tmp_path / "ca-key.pem").read_bytes(), None)
    root = (made.parent / "certificates/root.pem").read_text()
    assert anchor.read_text() == root
    mesh = Mesh.of(out.read_text(), signer)  # type: ignore[arg-type]  # an EC key
    assert len(mesh.chain) == 2
    assert verdict(tmp_path, mesh.leaf("a.istio.test.localhost"), root) == ""
    assert "permitted subtree violation" in verdict(tmp_path, mesh.leaf("a.test.localhost"), root)


def test_what_is_signed_goes_to_the_output_and_the_facts_beside_it(run: Run) -> None:
    done = run("sign-csr", "-", "--rule", "spire", "--lifetime", "0.5", answer=request(key()))
    assert done.exit_code == 0, done.output
    assert len(x509.load_pem_x509_certificates(done.stdout.encode())) == 2
    assert re.search(r"CAs below it +1\n", done.stderr)
    assert "spiffe://spire.test.localhost" in done.stderr


def test_lists_and_details(run: Run) -> None:
    signed = document(run("sign-csr", "-", "--rule", "linkerd", "--json", answer=request(key())))
    listed = document(run("sub-cas", "--json"))
    assert listed[0]["serial"] == signed["serial"]
    table = run("sub-cas").stdout.splitlines()
    assert re.search(rf"^ *{signed['serial']} +valid +linkerd@\w+ +identity\.linkerd\.test\.localhost", table[1])
    shown = run("sub-cas", signed["serial"]).stdout
    assert re.search(r"Ordered by +uid:\d+", shown)
    assert document(run("sub-cas", signed["serial"], "--json")) == signed
    assert run("sub-cas", signed["serial"], "--pem").stdout == signed["pem"] + signed["chain"]
    refused(run("sub-cas", "--pem"), "--pem is for one SERIAL", code=2)
    refused(run("sub-cas", "00"), "has no certificate")


def test_a_dry_run_leaves_nothing(run: Run, tmp_path: Path) -> None:
    before, out = document(run("sub-cas", "--json")), tmp_path / "out.pem"
    arguments = ("sign-csr", "-", "--rule", "istio-eu", "--dry-run", "--out", str(out))
    told = document(run(*arguments, "--json", answer=request(key())))
    assert (told["standing"], told["permitted_ips"]) == ("dry-run", ["10.1.0.0/16"])
    assert run(*arguments, answer=request(key())).stdout == ""
    assert document(run("sub-cas", "--json")) == before
    assert not out.exists()


def test_refusals(run: Run, tmp_path: Path) -> None:
    csr = request(key())
    refused(run("sign-csr", "-", "--rule", "none", answer=csr), "rule: environment test has no rule 'none'")
    refused(run("sign-csr", "-", "--rule", "istio-eu", answer="nothing"), "csr: it is neither")
    refused(run("sign-csr", "-", "--rule", "istio-eu", "--lifetime", "31", answer=csr), "lifetime: rule istio-eu")
    refused(run("sign-csr", "-", "--rule", "istio-eu", "--lifetime", "0", answer=csr), "expected a number", code=2)
    refused(run("sign-csr", str(tmp_path / "none.csr"), "--rule", "istio-eu"), "No such file", code=2)
    there = tmp_path / "there.pem"
    there.touch()
    before = document(run("sub-cas", "--json"))
    refused(run("sign-csr", "-", "--rule", "istio-eu", "--out", str(there), answer=csr), "is there already")
    assert document(run("sub-cas", "--json")) == before


def test_what_cannot_be_written_is_signed_and_can_be_had_again(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "out.pem"
    result = run("sign-csr", "-", "--rule", "istio-eu", "--out", str(out), answer=request(key()))
    refused(result, "the certificate is signed all the same", "--pem` prints it")
    serial = document(run("sub-cas", "--json"))[0]["serial"]
    assert serial in result.output


def test_the_story_of_a_sub_ca_is_told(run: Run, made: Path) -> None:
    signed = document(run("sign-csr", "-", "--rule", "istio-eu", "--json", answer=request(key())))
    ca = Authority(config.load(made))
    audit_seal.seal(ca)
    ca.close()
    told = CliRunner().invoke(cli, ["explain", signed["serial"], "--config", str(made)])
    assert told.exit_code == 0, told.output
    assert "sub_ca.signed" in told.stdout
    assert "next: Its mesh can use it" in told.stdout


def test_init_makes_the_issuer_as_deep_as_its_rules(made: Path) -> None:
    certificate = certificate_of(made.parent / "certificates/test-mesh-1.pem")
    found = certificate.extensions
    assert found.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=2)
    constraints = found.get_extension_for_class(x509.NameConstraints).value
    permitted = [str(one.value) for one in constraints.permitted_subtrees or ()]
    assert permitted == ["test.localhost", "10.1.0.0/16"]
    leafs = certificate_of(made.parent / "certificates/test-1.pem").extensions
    assert leafs.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_rules_that_came_later_than_their_issuer_are_mistakes(tmp_path: Path) -> None:
    shallow = RULES.replace("path_length = 1\n", "")
    path = make_sub_ca_files(tmp_path, shallow)
    certificate = certificate_of(tmp_path / "certificates/test-mesh-1.pem")
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    text = path.read_text().replace('name = "spire"\n', 'name = "spire"\npath_length = 1\n')
    path.write_text(text.replace('ip = ["10.1.0.0/16"]', 'ip = ["10.0.0.0/8"]'))
    result = CliRunner().invoke(cli, ["config", "check", "--config", str(path)])
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert "environment.test.sub_ca.rule[0]: 10.0.0.0/8 is outside the name constraints of CN=" in first
    assert "rule[2]: CN=" in second
    assert "has a path length of 1, and would have 2 CAs below it: give sub_ca a new name" in second
    found = list(keeping.issuers(_host(path, clock.now())))
    assert {(one.code, one.place) for one in found} == {
        ("POL002", "environment.test.sub_ca.rule[0]"),
        ("POL002", "environment.test.sub_ca.rule[2]"),
    }


def test_an_issuer_that_ends_before_its_sub_cas_is_found(made: Path) -> None:
    ends = certificate_of(made.parent / "certificates/test-mesh-1.pem").not_valid_after_utc
    early, late = (list(keeping.issuers(_host(made, ends - timedelta(days=days)))) for days in (101, 99))
    assert [one.code for one in early if "sub_ca" in one.place] == []
    assert [(one.code, one.place) for one in late if "sub_ca" in one.place] == [("ISS006", "environment.test.sub_ca")]


def _host(path: Path, now: datetime) -> Host:
    found = config.load(path)
    return Host(found, tuple(found.environment), now, timeout=2.0)


def test_a_former_issuer_publishes_its_list_and_signs_no_more(tmp_path: Path) -> None:
    path = make_sub_ca_files(tmp_path)
    run = ("issuer", "sign-csr", "-", "--config", str(path), "--environment", "test", "--rule", "istio-eu", "--json")
    old = document(CliRunner().invoke(cli, run, input=request(key())))
    former, table = RULES.split("\n\n", 1)
    former = former.replace("[environment.test.sub_ca]", "[[environment.test.sub_ca.former]]")
    former = former.replace("max_lifetime = 8640000", "")
    text = path.read_text()
    assert table in text
    path.write_text(text.replace("test-mesh-1", "test-mesh-2") + "\n" + former)
    make_ca_files(tmp_path)
    new = document(CliRunner().invoke(cli, run, input=request(key())))
    assert (old["issuer_id"], new["issuer_id"]) == ("test-mesh-1", "test-mesh-2")
    shown = ("issuer", "sub-cas", old["serial"], "--config", str(path), "--environment", "test", "--json")
    assert document(CliRunner().invoke(cli, shown)) == old
    loaded = config.load(path).environment["test"].all_issuers
    assert [issuer.name for issuer in loaded] == ["test-1", "test-mesh-2", "test-mesh-1"]


@pytest.mark.parametrize(
    ("seen", "instead", "expected"),
    [
        ('dns = ["istio.test.localhost"]', 'dns = ["istio.prod.localhost"]', "sub_ca.rule[0].dns[0]: 'istio.prod"),
        ('name = "spire"', 'name = "linkerd"', "sub_ca.rule[2].name: there are two rules for sub-CAs named 'linkerd'"),
        (
            "lifetime = 2592000",
            "lifetime = 8640001",
            "sub_ca.rule[0].lifetime: expected at most max_lifetime (8640000 s)",
        ),
        ('trust_domain = "spire.test.localhost"', "", "sub_ca.rule[2]: the rule permits nothing"),
        (
            'dns_names = ["identity',
            'dns_names = ["a.test.localhost", "identity',
            "sub_ca.rule[1].dns_names[0]: 'a.test",
        ),
        ("path_length = 1", "path_length = 2", "sub_ca.rule[2].path_length: "),
        ('key_types = ["ec-p256"]', 'key_types = ["ed25519"]', "sub_ca.rule[1].key_types[0]: "),
        ('common_name = "Istio EU"', f'common_name = "{"x" * 65}"', "sub_ca.rule[0].common_name: "),
        ('name = "test-mesh-1"', 'name = "test-1"', "sub_ca.name: 'test-1' is the name of another issuer"),
        ("[environment.test.sub_ca]", "[environment.test.sub_ca]\nprofiles = []", "sub_ca.profiles: there is no such"),
    ],
)
def test_each_mistake_in_a_rule_has_its_place(made: Path, seen: str, instead: str, expected: str) -> None:
    text = made.read_text()
    assert seen in text
    with pytest.raises(ConfigError) as caught:
        config.loads(text.replace(seen, instead), made)
    assert any(expected in str(mistake) for mistake in caught.value.mistakes), str(caught.value)
