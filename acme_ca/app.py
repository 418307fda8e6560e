"""The only place where HTTP parts are put together."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from flask import Flask
from werkzeug.test import Client

from acme_ca import acme, admin, status, web, workload_api
from acme_ca.authority import Authority

Face = Literal["acme", "status", "admin"]


INSTALL = {
    "acme": (acme.install, workload_api.install),
    "status": (status.install, workload_api.install_status),
    "admin": (admin.install,),
}


def create_app(ca: Authority, faces: Iterable[Face]) -> Flask:
    """Return the WSGI application that shows these faces of the CA."""
    app = web.Application("acme_ca", static_folder=None)
    web.install(app)
    for face in faces:
        for install in INSTALL[face]:
            install(app, ca)
    return app


def ask(
    app: Flask, method: str, url: str, body: bytes | None, headers: Mapping[str, str], environ: Mapping[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """Ask an application within this process; return status, headers and body of its answer."""
    response = Client(app).open(url, method=method, data=body, headers=dict(headers), environ_overrides=dict(environ))
    return response.status_code, dict(response.headers), response.get_data()
