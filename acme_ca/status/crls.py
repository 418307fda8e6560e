"""Revocation lists over plain HTTP. RFC 5280 §5, RFC 2585 §3.

A process keeps what it served last, and asks the database whether that is still the newest.
"""

from __future__ import annotations

import re
from functools import partial

from flask import Flask, Response, request

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.problems import NotFound
from acme_ca.services import crls
from acme_ca.services.crls import Published

CONTENT_TYPE = "application/pkix-crl"  # RFC 2585 §4.2
FRESH = 60  # seconds that caches may keep a list without asking: after that they know of a revocation
KEY = re.compile(r"[a-z0-9-]{1,32}(/(0|[1-9][0-9]{0,2}))?")

Shelf = dict[str, Published]


def install(app: Flask, ca: Authority) -> None:
    """Add `/crl/ISSUER.crl` and `/crl/ISSUER/SHARD.crl`."""
    show = partial(_show, ca, {})
    app.add_url_rule("/crl/<path:key>.crl", "crl", show, provide_automatic_options=False)


def _show(ca: Authority, shelf: Shelf, key: str) -> Response:
    """Answer with an ETag alone: thisUpdate as Last-Modified, in seconds, is that of several lists in a row."""
    if not KEY.fullmatch(key):
        raise NotFound(f"there is no revocation list {key[:100]}")
    found = _newest(ca, shelf, key)
    response = Response(found.der, content_type=CONTENT_TYPE)
    remaining = int((found.next_update - clock.now()).total_seconds())
    response.headers["Cache-Control"] = f"public, max-age={max(0, min(FRESH, remaining))}"
    response.expires = found.next_update
    response.set_etag(f"{found.number:x}")
    response.make_conditional(request)
    return response


def _newest(ca: Authority, shelf: Shelf, key: str) -> Published:
    kept = shelf.get(key)
    if kept is None or crls.number(ca, key) != kept.number:
        kept = shelf[key] = crls.current(ca, key)
    return kept
