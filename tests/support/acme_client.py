"""An ACME client for tests of the protocol: says exactly what it is told to, and checks what every answer must have."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask
from werkzeug.test import TestResponse

from acme_ca.pki.signing import MldsaPrivateKey
from tests.support.jws import Signer, b64

CONTENT_TYPE = "application/jose+json"
URN = "urn:ietf:params:acme:error:"


def make_csr(names: Sequence[str], key: Any = None, uris: Sequence[str] = ()) -> bytes:  # noqa: ANN401 - any private key
    """A CSR in DER for DNS names and URIs, with a new P-256 key unless one is given."""
    alternative = x509.SubjectAlternativeName([*map(x509.DNSName, names), *map(x509.UniformResourceIdentifier, uris)])
    builder = (
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(alternative, critical=False)
    )
    key = key or ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, None if isinstance(key, MldsaPrivateKey) else SHA256()).public_bytes(Encoding.DER)


def certificates(pem: str) -> list[x509.Certificate]:
    """The certificates of a chain in PEM."""
    return x509.load_pem_x509_certificates(pem.encode())


@dataclass
class AcmeClient:
    """One client of one environment; `signer` is its account key."""

    app: Flask
    base: str  # the environment's URL: https://host:port/acme/name
    signer: Signer = field(default_factory=Signer.new)
    waits: bool = False
    """Whether 503 is an answer: where something that the CA needs is taken away."""

    def path(self, url: str) -> str:
        """The path of a URL below the origin."""
        return "/" + url.split("/", 3)[3]

    def url(self, path: str) -> str:
        """The URL of a resource of the environment."""
        return f"{self.base}/{path}"

    def nonce(self) -> str:
        """A fresh nonce."""
        response = self.app.test_client().head(self.path(self.url("newNonce")))
        assert response.status_code == 200
        return response.headers["Replay-Nonce"]

    def send(self, url: str, body: bytes, content_type: str = CONTENT_TYPE) -> TestResponse:
        """POST these bytes; every answer must carry a good nonce and the index link. §6.5, §7.1."""
        response = self.app.test_client().post(self.path(url), data=body, content_type=content_type)
        assert response.status_code < 500 or (self.waits and response.status_code == 503), response.text
        assert len(urlsafe_b64decode(response.headers["Replay-Nonce"] + "=")) == 32
        assert any('rel="index"' in link for link in response.headers.getlist("Link"))
        if response.status_code >= 400:
            assert response.content_type == "application/problem+json"
            assert response.json is not None
            assert response.json["type"].startswith(URN)
            assert response.json["detail"]
        return response

    def post(self, url: str, payload: object = None, /, **header: Any) -> TestResponse:  # noqa: ANN401 - header members
        """POST a signed payload; None is POST-as-GET."""
        header.setdefault("nonce", self.nonce())
        return self.send(url, self.signer.sign(url, payload, **header))

    def ok(self, url: str, payload: object = None, status: int = 200) -> TestResponse:
        """POST and expect this status."""
        response = self.post(url, payload)
        assert response.status_code == status, response.text
        return response

    def refused(self, url: str, payload: object = None, /, **header: Any) -> tuple[str, str, int]:  # noqa: ANN401 - header members
        """POST and expect a problem: its type without the URN, its detail and its status."""
        response = self.post(url, payload, **header)
        assert response.json is not None, response.text
        assert response.status_code >= 400, response.text
        return response.json["type"].removeprefix(URN), response.json["detail"], response.status_code

    def register(self, **body: Any) -> AcmeClient:  # noqa: ANN401 - members of newAccount
        """Make the account."""
        response = self.ok(self.url("newAccount"), {"termsOfServiceAgreed": True, **body}, status=201)
        self.signer = Signer(self.signer.key, response.headers["Location"])
        return self

    def order(self, names: Sequence[str], **members: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - members of newOrder
        """Order a certificate for DNS names; return the order's URL and body."""
        identifiers = [{"type": "dns", "value": name} for name in names]
        response = self.ok(self.url("newOrder"), {"identifiers": identifiers, **members}, status=201)
        return response.headers["Location"], body_of(response)

    def get(self, url: str) -> dict[str, Any]:
        """POST-as-GET a JSON resource."""
        return body_of(self.ok(url))

    def challenge(self, authorization_url: str, kind: str = "http-01") -> Mapping[str, Any]:
        """The challenge of this type of an authorization."""
        found = [item for item in self.get(authorization_url)["challenges"] if item["type"] == kind]
        assert found, f"{authorization_url} offers no {kind}"
        return dict(found[0])

    def key_authorization(self, token: str) -> str:
        """The key authorization of a token. §8.1."""
        return f"{token}.{self.signer.thumbprint}"

    def finalize(self, order: Mapping[str, Any], csr: bytes) -> TestResponse:
        """POST finalize."""
        return self.post(order["finalize"], {"csr": b64(csr)})


def body_of(response: TestResponse) -> dict[str, Any]:
    """The JSON object of an answer."""
    body = json.loads(response.text)
    assert isinstance(body, dict)
    return body
