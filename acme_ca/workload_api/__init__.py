"""Workload identity over HTTP, for clients that know ACME alone: nonce, exchange, SPIFFE bundle. §8 of the draft."""

from functools import partial

from flask import Flask

from acme_ca.authority import Authority
from acme_ca.workload_api import bundle, exchange

PREFIX = "/acme/<environment>/workload"


def install(app: Flask, ca: Authority) -> None:
    """Add the resources to an application; those of an environment where nobody vouches for workloads are not found."""
    face = exchange.Face(ca)
    install_bundle(app, ca, "/acme/<environment>/bundle")
    for name, view in (("nonce", face.nonce), ("eab", face.eab)):
        app.add_url_rule(
            f"{PREFIX}/{name}", f"workload-{name}", view, methods=["POST"], provide_automatic_options=False
        )


def install_bundle(app: Flask, ca: Authority, path: str) -> None:
    """Add the SPIFFE bundles of all environments at a path."""
    app.add_url_rule(path, f"bundle {path}", partial(bundle.show, ca), methods=["GET"], provide_automatic_options=False)


def install_status(app: Flask, ca: Authority) -> None:
    """Add what the status listener shows of workloads: the bundles."""
    install_bundle(app, ca, "/ca/<environment>/bundle.json")
