"""Who asks: by a certificate, by a token, or from this host. What is found out holds for one call."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any

from acme_ca.admin.problems import Unauthenticated
from acme_ca.authority import Authority
from acme_ca.models.admin import Operator
from acme_ca.problems import Problem, ServiceUnavailable
from acme_ca.services import admins, oidc_operators
from acme_ca.vocabulary import Role

LOCAL = "acme_ca.local_uid"  # in the WSGI environment of a call within this process: nobody else can set it
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_BEARER = "bearer "


def operator(ca: Authority, environ: Mapping[str, Any]) -> Operator:
    """Return who makes the request; raises Unauthenticated."""
    uid = _local_uid(environ)
    if uid is not None:
        return _local(uid)
    shown = str(environ.get("HTTP_AUTHORIZATION", ""))
    if shown:
        return _by_token(ca, shown)
    connection = environ.get("gunicorn.socket")
    certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    if certificate is None:
        raise Unauthenticated("nobody is signed in; show a client certificate, or a token by Authorization: Bearer")
    found = admins.by_certificate(ca, certificate)
    if found is None:
        raise Unauthenticated("the client certificate is revoked or unknown, or its operator is disabled")
    return found


def _by_token(ca: Authority, shown: str) -> Operator:
    if not shown.lower().startswith(_BEARER):
        raise Unauthenticated("Authorization has another scheme; expected Bearer and a token")
    token = shown[len(_BEARER) :].strip()
    found = admins.by_token(ca, token) if token.startswith(admins.TOKEN_PREFIX) else _by_oidc(ca, token)
    if found is None:
        raise Unauthenticated("the token is unknown, revoked or expired, or its operator is disabled")
    return found


def _by_oidc(ca: Authority, token: str) -> Operator | None:
    """Return who an OpenID Connect issuer says it is; raises ServiceUnavailable when its keys cannot be had."""
    try:
        return oidc_operators.operator(ca, token)
    except ServiceUnavailable:
        raise
    except Problem as problem:
        raise Unauthenticated(problem.detail) from problem


def _local_uid(environ: Mapping[str, Any]) -> int | None:
    """Return the user on the other side of the Unix socket, or in this process."""
    own: int | None = environ.get(LOCAL)
    connection = environ.get("gunicorn.socket")
    if own is not None or not isinstance(connection, socket.socket) or connection.family != socket.AF_UNIX:
        return own
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def _local(uid: int) -> Operator:
    """Return the operator that a user of this host is: those who could read keys and database anyway."""
    if uid not in {0, os.geteuid()}:
        raise Unauthenticated(f"the user with uid {uid} may not use the Unix socket: root, and the CA's own user, may")
    return Operator(f"uid:{uid}", Role.CA_ADMIN)
