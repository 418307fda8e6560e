"""livez, readyz and metrics."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from flask.testing import FlaskClient

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.keys import SoftwareKey
from acme_ca.pki.ca import make_root
from acme_ca.secret import Secret
from acme_ca.services import listener
from tests.support.ca import RunningCa, start_ca, with_environment


def test_a_good_ca_is_ready_and_says_what_was_checked(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["checks"].keys() == {
        "database",
        "issuer of dev",
        "issuer of test",
        "issuer of prod",
        "revocation lists",
        "listener certificate",
    }
    assert client.get("/livez").json == {"status": "ok"}
    assert response.headers["Cache-Control"] == "no-store"


def test_a_database_that_lost_its_content_is_told(client: FlaskClient, ca: RunningCa) -> None:
    path = Path(ca.authority.database.url.database or "")
    ca.authority.database.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    os.mkdir(path)  # noqa: PTH102 - a folder cannot be opened as a database
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json is not None
    assert "does not answer" in response.json["checks"]["database"]
    assert response.json["checks"]["issuer of prod"] == "ok"
    assert client.get("/livez").status_code == 200


def test_an_environment_whose_issuers_end_too_soon_is_told(
    status_settings: Config, tmp_path: Path, sqlite_url: str
) -> None:
    """A root that is about to end ends all of its issuers."""
    issuer = status_settings.environment["prod"].issuer[0]
    root = tmp_path / "root.pem"
    root.write_bytes(_ending_soon(status_settings))
    settings = with_environment(status_settings, "prod", issuer=(issuer.model_copy(update={"root": root}),))
    ca = start_ca(settings, sqlite_url, tmp_path / "state")
    try:
        response = ca.app.test_client().get("/readyz")
    finally:
        ca.close()
    assert response.status_code == 503
    assert response.json is not None
    assert "no issuer of environment prod" in response.json["checks"]["issuer of prod"]
    assert response.json["checks"]["issuer of test"] == "ok"


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_a_listener_certificate_that_cannot_be_read_is_told(client: FlaskClient, ca: RunningCa, content: bytes) -> None:
    path = listener.certificate_path(ca.authority.config)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json is not None
    assert "cannot be read" in response.json["checks"]["listener certificate"]


def test_metrics_are_in_the_prometheus_text_format(client: FlaskClient) -> None:
    client.get("/livez")
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    assert "# TYPE acme_ca_http_requests_total counter" in response.text


def _ending_soon(settings: Config) -> bytes:
    """The root again, with five minutes to live."""
    path = settings.service.issuer.root
    root = x509.load_pem_x509_certificate(path.read_bytes())
    keys = path.parents[1] / "keys"
    key = SoftwareKey(path=keys / "root.key", passphrase=Secret("file", str(keys / "passphrase"))).open()
    name, organization = (
        str(root.subject.get_attributes_for_oid(oid)[0].value)
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    )
    now = clock.now()
    again = make_root(
        key, common_name=name, organization=organization, not_before=now, not_after=now + timedelta(minutes=5)
    )
    return again.public_bytes(Encoding.PEM)
