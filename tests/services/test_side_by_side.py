"""Issuers of different algorithms in one environment: the profile decides which of them signs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.config import load
from acme_ca.pki.signing import signature_of
from tests.support import clocks
from tests.support.acme_client import AcmeClient, certificates
from tests.support.ca import RunningCa, key_file, make_ca_files, start_ca
from tests.support.issue import issue
from tests.support.rotation import line, rotate
from tests.support.two_issuers import OPENING, table
from tests.support.web import WebServer, serve

KINDS = {"ml-dsa-65": "ml-dsa-65", "rsa-2048": "rsa-pss-sha256"}
NAME = "a.test.localhost"


def profile(name: str, *signed_by: str) -> str:
    return f"""
[profile.{name}]
description = "{name}"
lifetime = 3600
extended_key_usages = ["serverAuth"]
revocation = "none"
signed_by = [{", ".join(f'"{one}"' for one in signed_by)}]
"""


@pytest.fixture
def website() -> Iterator[WebServer]:
    """The host whose name is ordered."""
    with serve(WebServer()) as running:
        yield running


@pytest.fixture
def ca(tmp_path: Path, website: WebServer, sqlite_url: str) -> Iterator[RunningCa]:
    """A CA with an issuer on P-256, then one of ML-DSA, then one of RSA that salts."""
    path = make_ca_files(tmp_path / "ca", "--environment", "test", "--http-port", str(website.port))
    for number, (kind, signature) in enumerate(KINDS.items(), 2):
        one = table("test", f"test-{number}").replace("key =", f'signature = "{signature}"\nkey =')
        path.write_text(path.read_text().replace(OPENING, one + OPENING))
        make_ca_files(path.parent, "--issuer-key", kind)
    text = path.read_text().replace('"server-8h"]', '"server-8h", "quantum", "salted", "either", "any"]')
    text += profile("quantum", "ml-dsa-65") + profile("salted", "rsa-pss-sha256") + profile("any")
    path.write_text(text + profile("either", "rsa-pss-sha256", "ml-dsa-65"))
    running = start_ca(load(path), sqlite_url, tmp_path / "state")
    yield running
    running.close()


def signed(client: AcmeClient, website: WebServer, name: str | None) -> str:
    members = {} if name is None else {"profile": name}
    order = issue(client, website, [NAME], **members)
    return signature_of(certificates(client.ok(order["certificate"]).text)[0])


def test_the_profile_decides_who_signs(ca: RunningCa, website: WebServer) -> None:
    client = ca.client().register()
    expected = {
        None: "ecdsa-sha256",
        "any": "ecdsa-sha256",
        "quantum": "ml-dsa-65",
        "salted": "rsa-pss-sha256",
        "either": "ml-dsa-65",  # the first issuer that does one of both
    }
    assert {name: signed(client, website, name) for name in expected} == expected


@pytest.fixture
def quantum(tmp_path: Path, website: WebServer, database_url: str) -> Iterator[RunningCa]:
    """A CA of ML-DSA alone."""
    options = ("--http-port", str(website.port), "--root-key", "ml-dsa-65", "--issuer-key", "ml-dsa-65")
    path = make_ca_files(tmp_path / "ca", "--environment", "test", *options)
    with clocks.moving():
        running = start_ca(load(path), database_url, tmp_path / "state")
        yield running
        running.close()


def test_an_issuer_of_ml_dsa_is_followed_by_another(quantum: RunningCa, website: WebServer, tmp_path: Path) -> None:
    client, ca = quantum.client().register(), quantum.authority
    assert signed(client, website, None) == "ml-dsa-65"
    clocks.wait(rotate(ca, tmp_path / "ca") - clock.now())
    ca.see_issuers()
    (issuer,) = ca.environments["test"].issuers
    assert (issuer.id, issuer.signs_with) == ("test-2", "ml-dsa-65")
    assert signed(client, website, None) == "ml-dsa-65"
    key_file(line(ca).settings.key.beside(2)).unlink()
    other = Authority(ca.config)  # of a host that the key was not copied to
    assert [(one.id, one.is_open) for one in other.environments["test"].generations] == [
        ("test-1", True),
        ("test-2", False),
    ]
    other.close()
