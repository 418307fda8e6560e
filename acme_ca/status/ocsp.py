"""OCSP over plain HTTP. RFC 6960 appendix A, RFC 5019 §5 and §6: what caches may do with an answer to GET."""

from __future__ import annotations

import binascii
from base64 import b64decode
from functools import partial
from hashlib import sha256

from flask import Flask, Response, request

from acme_ca import clock, web
from acme_ca.authority import Authority
from acme_ca.services.ocsp import OcspAnswer, Responding

CONTENT_TYPE = "application/ocsp-response"
FRESH = 60  # seconds that caches may keep an answer without asking: after that they know of a revocation


def install(app: Flask, ca: Authority) -> None:
    """Add `/ocsp/ISSUER` for POST, and with the request below it for GET."""
    responding = Responding(ca)
    post, get = partial(_post, responding), partial(_get, responding)
    app.add_url_rule(
        "/ocsp/<issuer>", "ocsp", post, methods=["POST"], provide_automatic_options=False, strict_slashes=False
    )
    app.add_url_rule("/ocsp/<issuer>/<path:encoded>", "ocsp-get", get, provide_automatic_options=False)


def _post(responding: Responding, issuer: str) -> Response:
    answer = responding.answer(issuer, web.body())
    response = Response(answer.der, content_type=CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


def _get(responding: Responding, issuer: str, encoded: str) -> Response:
    """Answer a request in the path. A server has taken away its percent signs, also where it was sent without."""
    return _cacheable(responding.answer(issuer, _decoded(encoded)))


def _decoded(encoded: str) -> bytes:
    """Return the bytes of base64, with its padding or without; none, which is no request, of anything else."""
    try:
        return b64decode(encoded.encode("ascii") + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _cacheable(answer: OcspAnswer) -> Response:
    """Answer with an ETag alone: thisUpdate as Last-Modified, in seconds, is that of several answers in a row."""
    response = Response(answer.der, content_type=CONTENT_TYPE)
    if answer.next_update is None:
        response.headers["Cache-Control"] = "no-store"
        return response
    remaining = int((answer.next_update - clock.now()).total_seconds())
    age = max(0, min(FRESH, remaining))
    response.headers["Cache-Control"] = f"public, max-age={age}, no-transform, must-revalidate"
    response.expires = answer.next_update
    response.set_etag(sha256(answer.der).hexdigest())
    response.make_conditional(request)
    return response
