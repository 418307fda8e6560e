"""The only place where HTTP parts are put together."""

from collections.abc import Iterable
from typing import Literal

from flask import Flask

from acme_ca import acme, status, web, workload_api
from acme_ca.authority import Authority

Face = Literal["acme", "status"]


INSTALL = {"acme": (acme.install, workload_api.install), "status": (status.install, workload_api.install_status)}


def create_app(ca: Authority, faces: Iterable[Face]) -> Flask:
    """Return the WSGI application that shows these faces of the CA."""
    app = web.Application("acme_ca", static_folder=None)
    web.install(app)
    for face in faces:
        for install in INSTALL[face]:
            install(app, ca)
    return app
