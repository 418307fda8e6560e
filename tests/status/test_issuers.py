"""Certificates of the CA over plain HTTP."""

from __future__ import annotations

import pytest
from cryptography import x509
from flask.testing import FlaskClient

from acme_ca.config import Config
from tests.support.ca import RunningCa


@pytest.mark.parametrize("environment", ["dev", "test", "prod"])
def test_every_environment_has_its_root_and_issuer(client: FlaskClient, ca: RunningCa, environment: str) -> None:
    issuer = ca.authority.environments[environment].issuers[0]
    pem = client.get(f"/ca/{environment}/root.pem")
    der = client.get(f"/ca/{environment}/root.der")
    assert x509.load_pem_x509_certificate(pem.data) == x509.load_der_x509_certificate(der.data) == ca.root
    assert x509.load_pem_x509_certificate(client.get(f"/issuers/{issuer.id}.pem").data) == issuer.certificate


def test_an_issuer_is_at_the_url_that_certificates_name(client: FlaskClient, ca: RunningCa) -> None:
    """The body is one certificate in DER, of the type that RFC 5280 §4.2.2.1 asks for."""
    for environment in ca.authority.environments.values():
        for issuer in environment.issuers:
            assert issuer.issuer_url is not None
            response = client.get("/" + issuer.issuer_url.split("/", 3)[3])
            assert response.content_type == "application/pkix-cert"
            assert x509.load_der_x509_certificate(response.data) == issuer.certificate


def test_the_service_issuer_is_there_too(client: FlaskClient, status_settings: Config) -> None:
    service = status_settings.service.issuer
    expected = x509.load_pem_x509_certificate(service.certificate.read_bytes())
    assert x509.load_der_x509_certificate(client.get(f"/issuers/{service.name}.crt").data) == expected


def test_each_root_is_listed_once(client: FlaskClient, ca: RunningCa) -> None:
    assert x509.load_pem_x509_certificates(client.get("/roots.pem").data) == [ca.root]


def test_caches_can_keep_and_ask_again(client: FlaskClient) -> None:
    first = client.get("/roots.pem")
    assert "max-age=" in first.headers["Cache-Control"]
    again = client.get("/roots.pem", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    head = client.head("/roots.pem")
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(first.data))


@pytest.mark.parametrize(
    "path", ["/roots.pem", "/issuers/test-1.crt", "/issuers/test-1.pem", "/ca/test/root.der", "/ca/prod/root.pem"]
)
def test_a_slash_more_is_no_matter(client: FlaskClient, path: str) -> None:
    first, second = client.get(path), client.get(f"{path}/")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.data == second.data


@pytest.mark.parametrize("path", ["/issuers/none.crt", "/ca/none/root.pem", "/issuers/../acme-ca.toml", "/"])
def test_what_is_not_there_gets_a_problem_document(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.content_type) == (404, "application/problem+json")


def test_other_methods_are_refused(client: FlaskClient) -> None:
    response = client.post("/roots.pem")
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
