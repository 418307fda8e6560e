"""Revocation lists over plain HTTP. RFC 5280 §5, RFC 2585 §3.

A process keeps what it served last, and asks the database whether that is still the newest. The lists of roots are made
elsewhere, and come from files: a process serves those that it started with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask, Response, request

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.pki import crl as pki
from acme_ca.problems import NotFound
from acme_ca.services import crls
from acme_ca.services.crls import Published

CONTENT_TYPE = "application/pkix-crl"  # RFC 2585 §4.2
SETTLED = 3600  # seconds for the list of a root, which is made once in months
FRESH = 60  # seconds that caches may keep a list without asking: after that they know of a revocation
KEY = re.compile(r"[a-z0-9-]{1,39}(/(0|[1-9][0-9]{0,2}))?")

Shelf = dict[str, Published]


def install(app: Flask, ca: Authority) -> None:
    """Add `/crl/ISSUER.crl`, `/crl/ISSUER/SHARD.crl`, and a path for the list of each root."""
    show = partial(_show, ca, {})
    app.add_url_rule("/crl/<path:key>.crl", "crl", show, provide_automatic_options=False)
    lists = {name: _published(crl) for name, crl in ca.root_crls.items()}
    show_root = partial(_show_root, lists)
    for name in lists:
        app.add_url_rule(
            f"/crl/{name}", "root-crl", show_root, defaults={"name": name}, provide_automatic_options=False
        )


def _show(ca: Authority, shelf: Shelf, key: str) -> Response:
    if not KEY.fullmatch(key):
        raise NotFound(f"there is no revocation list {key[:100]}")
    return _answer(_newest(ca, shelf, key), FRESH)


def _show_root(lists: Mapping[str, Published], name: str) -> Response:
    return _answer(lists[name], SETTLED)


def _answer(found: Published, fresh: int) -> Response:
    """Answer with an ETag alone: thisUpdate as Last-Modified, in seconds, is that of several lists in a row."""
    response = Response(found.der, content_type=CONTENT_TYPE)
    remaining = int((found.next_update - clock.now()).total_seconds())
    response.headers["Cache-Control"] = f"public, max-age={max(0, min(fresh, remaining))}"
    response.expires = found.next_update
    response.set_etag(f"{found.number:x}")
    response.make_conditional(request)
    return response


def _published(crl: x509.CertificateRevocationList) -> Published:
    next_update = crl.next_update_utc or crl.last_update_utc  # pki.crl.read refuses lists that have none
    return Published(pki.number_of(crl), crl.last_update_utc, next_update, crl.public_bytes(Encoding.DER))


def _newest(ca: Authority, shelf: Shelf, key: str) -> Published:
    kept = shelf.get(key)
    if kept is None or crls.number(ca, key) != kept.number:
        kept = shelf[key] = crls.current(ca, key)
    return kept
