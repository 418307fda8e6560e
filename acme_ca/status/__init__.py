"""Plain HTTP: what must not need TLS. Certificates of the CA, revocation, health, metrics."""

from flask import Flask

from acme_ca.authority import Authority
from acme_ca.status import crls, health, issuers, metrics, ocsp


def install(app: Flask, ca: Authority) -> None:
    """Add the status resources to an application."""
    for face in (issuers, crls, ocsp, health, metrics):
        face.install(app, ca)
