"""The SPIFFE bundle of an environment. SPIFFE Federation §5.2 (https_web); plain HTTP too, on the status listener."""

from __future__ import annotations

from flask import Response

from acme_ca.authority import Authority
from acme_ca.pki.bundle import REFRESH_HINT
from acme_ca.problems import NotFound
from acme_ca.services import versions
from acme_ca.web import json_response


def show(ca: Authority, environment: str) -> Response:
    """Return an environment's bundle."""
    found = ca.environments.get(environment)
    if found is None or found.settings.trust_domain is None:
        raise NotFound(f"there is no environment {environment[:64]!r} with a trust domain")
    bundle = versions.spiffe_bundle(ca, found)
    return json_response(bundle, headers={"Cache-Control": f"public, max-age={REFRESH_HINT}"})
