"""Certificates of the CA itself, where the certificates that it issues point to. RFC 5280 §4.2.2.1.

They are rendered once: a process serves one configuration. The roots of an environment have a number that grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask, Response, request

from acme_ca.authority import Authority
from acme_ca.pki.bundle import REFRESH_HINT
from acme_ca.services import versions

DER = "application/pkix-cert"  # RFC 5280 §4.2.2.1, RFC 2585 §4.1
PEM = "application/x-pem-file"
FRESH = 3600  # seconds that caches may keep a certificate without asking


@dataclass(frozen=True, slots=True)
class Document:
    """What is at one path."""

    endpoint: str
    body: bytes
    content_type: str


def install(app: Flask, ca: Authority) -> None:
    """Add the certificates, each at a path of its own: no part of a path is a value that a client could make up."""
    for name in ca.environments:
        app.add_url_rule(
            f"/ca/{name}/roots.pem",
            f"roots of {name}",
            partial(_show_roots, ca, name),
            provide_automatic_options=False,
        )
    documents = dict(_documents(ca))
    show = partial(_show, documents)
    for path, document in documents.items():
        app.add_url_rule(path, document.endpoint, show, defaults={"path": path}, provide_automatic_options=False)


def _show_roots(ca: Authority, environment: str) -> Response:
    """Show what is to be trusted in an environment, as it was brought into force last by whichever process."""
    text, number = versions.roots(ca, ca.environments[environment])
    response = Response(text, content_type=PEM)
    response.headers["Cache-Control"] = f"public, max-age={REFRESH_HINT}"
    response.set_etag(str(number))
    response.make_conditional(request)
    return response


def _show(documents: Mapping[str, Document], path: str) -> Response:
    """Show the document of a rule: the path of the request may have a slash more."""
    document = documents[path]
    response = Response(document.body, content_type=document.content_type)
    response.headers["Cache-Control"] = f"public, max-age={FRESH}"
    response.set_etag(sha256(document.body).hexdigest())
    response.make_conditional(request)
    return response


def _documents(ca: Authority) -> Iterator[tuple[str, Document]]:
    """Yield each path and what is there."""
    service = ca.config.service.issuer
    certificates = {service.name: x509.load_pem_x509_certificate(service.certificate.read_bytes())}
    roots = [x509.load_pem_x509_certificate(service.root.read_bytes())]
    for environment in ca.environments.values():
        root = environment.issuers[0].root
        yield f"/ca/{environment.name}/root.pem", Document("root", root.public_bytes(Encoding.PEM), PEM)
        yield f"/ca/{environment.name}/root.der", Document("root", root.public_bytes(Encoding.DER), DER)
        certificates |= {issuer.id: issuer.certificate for issuer in environment.all_issuers}
        roots += environment.roots
    for name, certificate in certificates.items():
        yield f"/issuers/{name}.crt", Document("issuer", certificate.public_bytes(Encoding.DER), DER)
        yield f"/issuers/{name}.pem", Document("issuer", certificate.public_bytes(Encoding.PEM), PEM)
    every_root = b"".join(root.public_bytes(Encoding.PEM) for root in dict.fromkeys(roots))
    yield "/roots.pem", Document("roots", every_root, PEM)
