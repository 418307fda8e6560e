"""docs/how-to/meshes.md: its commands run, and what they make verifies as each mesh uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from acme_ca.config import load
from tests.support.ca import make_ca_files
from tests.support.sub_cas import Mesh, verdict

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "files"
URL = "https://ca.corp.example:8443"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with the settings of the page, as `acme-ca init` completes it."""
    folder = tmp_path_factory.mktemp("ca")
    path = make_ca_files(folder, "--external-url", URL, "--domain", "corp.example")
    path.write_text(path.read_text() + "\n" + (FILES / "meshes.toml").read_text())
    return make_ca_files(folder)


def run(settings: Path, name: str, folder: Path) -> None:
    """Run the commands of a file as an operator does."""
    environ = os.environ | {
        "ACME_CA_CONFIG": str(settings),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["bash", "-eu", str(FILES / name)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def mesh_of(folder: Path, chain: str, key: str) -> Mesh:
    signer = load_pem_private_key((folder / key).read_bytes(), None)
    return Mesh.of((folder / chain).read_text(), signer)  # type: ignore[arg-type]  # an EC key


def test_the_settings_have_a_rule_for_each_mesh(settings: Path) -> None:
    environment = load(settings).environment["mesh"]
    assert environment.policy == ()
    assert environment.sub_ca is not None
    assert [rule.name for rule in environment.sub_ca.rule] == ["istio-eu", "linkerd-eu", "consul-dc1", "spire-eu"]


def test_istio(settings: Path, tmp_path: Path) -> None:
    run(settings, "meshes-istio.sh", tmp_path)
    secret = {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"}
    assert secret <= {file.name for file in tmp_path.iterdir()}
    mesh, root = mesh_of(tmp_path, "cert-chain.pem", "ca-key.pem"), (tmp_path / "root-cert.pem").read_text()
    assert (tmp_path / "ca-cert.pem").read_text() in (tmp_path / "cert-chain.pem").read_text()
    istiod = [f"{name}.istio-system.svc" for name in ("istiod", "istiod-remote", "istio-pilot", "istiod-canary")]
    assert verdict(tmp_path, mesh.leaf(*istiod), root, "-purpose", "sslserver") == ""
    workload = mesh.leaf("spiffe://cluster.local/ns/pay/sa/api")
    assert verdict(tmp_path, workload, root, "-purpose", "sslclient") == ""
    for name in ("www.corp.example", "api.pay.svc", "10.0.0.1"):
        assert "subtree violation" in verdict(tmp_path, mesh.leaf(name), root), name


def test_linkerd(settings: Path, tmp_path: Path) -> None:
    run(settings, "meshes-linkerd.sh", tmp_path)
    mesh, root = mesh_of(tmp_path, "issuer.crt", "issuer.key"), (tmp_path / "anchors.crt").read_text()
    issuer = mesh.chain[0]
    assert issuer.signature_algorithm_oid._name == "ecdsa-with-SHA256"
    proxy = mesh.leaf("api.pay.serviceaccount.identity.linkerd.cluster.local")
    for purpose in ("sslserver", "sslclient"):
        assert verdict(tmp_path, proxy, root, "-purpose", purpose) == ""
    assert "subtree violation" in verdict(tmp_path, mesh.leaf("api.other.cluster.local"), root)
    alone = (tmp_path / "issuer.crt").read_text()  # the anchor where `linkerd check` has to be green
    assert verdict(tmp_path, proxy, alone[: alone.index("-----END") + 26], "-partial_chain") == ""


def test_consul(settings: Path, tmp_path: Path) -> None:
    run(settings, "meshes-consul.sh", tmp_path)
    mesh = mesh_of(tmp_path, "consul-chain.pem", "consul-ca.key")
    anchor = (tmp_path / "consul-ca.pem").read_text()
    own = Mesh(mesh.chain[:1], mesh.key)
    service = "spiffe://f1a2b3c4-0000-4000-8000-00000000dc01.consul/ns/default/dc/dc1/svc/api"
    assert verdict(tmp_path, own.leaf(service), anchor, "-partial_chain") == ""
    secondary = own.ca("dc2")
    assert verdict(tmp_path, secondary.leaf(service), anchor, "-partial_chain") == ""
    assert "subtree violation" in verdict(tmp_path, secondary.leaf("server.dc2.consul"), anchor, "-partial_chain")


def test_spire(settings: Path, tmp_path: Path) -> None:
    run(settings, "meshes-spire.sh", tmp_path)
    mesh, root = mesh_of(tmp_path, "upstream.crt", "upstream.key"), (tmp_path / "bundle.crt").read_text()
    assert verdict(tmp_path, mesh.ca("SPIRE").leaf("spiffe://eu.corp.example/pay/api"), root) == ""
    assert "subtree violation" in verdict(tmp_path, mesh.ca("SPIRE").leaf("api.corp.example"), root)
