"""Workload identity over HTTP, for clients that know ACME alone: nonce, exchange, SPIFFE bundle. §4.8 of the draft."""

from flask import Flask

from acme_ca.authority import Authority
from acme_ca.workload_api import exchange

PREFIX = "/acme/<environment>/workload"


def install(app: Flask, ca: Authority) -> None:
    """Add the resources to an application; those of an environment where nobody vouches for workloads are not found."""
    face = exchange.Face(ca)
    for name, view in (("nonce", face.nonce), ("eab", face.eab)):
        app.add_url_rule(
            f"{PREFIX}/{name}", f"workload-{name}", view, methods=["POST"], provide_automatic_options=False
        )
