"""Certificates of the CA itself, where the certificates that it issues point to. RFC 5280 §4.2.2.1.

They are rendered when the issuers change: a new one is there as soon as it is staged, an old one until it is retired.
The roots of an environment have a number that grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask, Response, request

from acme_ca.authority import Authority, Environment
from acme_ca.config import Config
from acme_ca.pki.bundle import REFRESH_HINT
from acme_ca.problems import NotFound
from acme_ca.services import versions

DER = "application/pkix-cert"  # RFC 5280 §4.2.2.1, RFC 2585 §4.1
PEM = "application/x-pem-file"
FRESH = 3600  # seconds that caches may keep a certificate without asking
PATHS = {
    "root": ("/ca/<environment>/root.pem", "/ca/<environment>/root.der"),
    "issuer": ("/issuers/<issuer>.crt", "/issuers/<issuer>.pem"),
    "roots": ("/roots.pem",),
}
"""The paths of each endpoint."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is at one path."""

    body: bytes
    content_type: str


class Shelf:
    """The documents of this process by their paths."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca
        self._of: Mapping[str, Environment] | None = None
        self._documents: Mapping[str, Document] = {}

    def find(self, path: str) -> Document:
        """Return what is at a path now; raises NotFound."""
        environments = self._ca.environments
        if environments is not self._of:
            self._documents, self._of = dict(_documents(self._ca.config, environments)), environments
        if path not in self._documents:
            raise NotFound(f"there is no certificate at {path[:100]}")
        return self._documents[path]


def install(app: Flask, ca: Authority) -> None:
    """Add the paths of the certificates."""
    app.add_url_rule(
        "/ca/<environment>/roots.pem", "roots of", partial(_show_roots, ca), provide_automatic_options=False
    )
    show = partial(_show, Shelf(ca))
    for endpoint, paths in PATHS.items():
        for path in paths:
            app.add_url_rule(path, endpoint, show, provide_automatic_options=False)


def _show_roots(ca: Authority, environment: str) -> Response:
    """Show what is to be trusted in an environment, as it was brought into force last by whichever process."""
    found = ca.environments.get(environment)
    if found is None:
        raise NotFound(f"there is no environment {environment[:64]!r}")
    text, number = versions.roots(ca, found)
    response = Response(text, content_type=PEM)
    response.headers["Cache-Control"] = f"public, max-age={REFRESH_HINT}"
    response.set_etag(str(number))
    response.make_conditional(request)
    return response


def _show(shelf: Shelf, **_names: str) -> Response:
    """Show a document: the path of the request may have a slash more."""
    document = shelf.find(request.path.rstrip("/"))
    response = Response(document.body, content_type=document.content_type)
    response.headers["Cache-Control"] = f"public, max-age={FRESH}"
    response.set_etag(sha256(document.body).hexdigest())
    response.make_conditional(request)
    return response


def _documents(config: Config, environments: Mapping[str, Environment]) -> Iterator[tuple[str, Document]]:
    """Yield each path and what is there."""
    service = config.service.issuer
    certificates = {service.name: x509.load_pem_x509_certificate(service.certificate.read_bytes())}
    roots = [x509.load_pem_x509_certificate(service.root.read_bytes())]
    for environment in environments.values():
        root = environment.issuers[0].root
        yield f"/ca/{environment.name}/root.pem", Document(root.public_bytes(Encoding.PEM), PEM)
        yield f"/ca/{environment.name}/root.der", Document(root.public_bytes(Encoding.DER), DER)
        certificates |= {issuer.id: issuer.certificate for issuer in environment.all_issuers}
        roots += environment.roots
    for name, certificate in certificates.items():
        yield f"/issuers/{name}.crt", Document(certificate.public_bytes(Encoding.DER), DER)
        yield f"/issuers/{name}.pem", Document(certificate.public_bytes(Encoding.PEM), PEM)
    every_root = b"".join(root.public_bytes(Encoding.PEM) for root in dict.fromkeys(roots))
    yield "/roots.pem", Document(every_root, PEM)
