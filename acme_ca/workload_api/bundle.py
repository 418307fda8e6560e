"""The SPIFFE bundle of an environment. SPIFFE Federation §5.2 (https_web); plain HTTP too, on the status listener."""

from __future__ import annotations

from flask import Response

from acme_ca.authority import Authority
from acme_ca.pki.bundle import REFRESH_HINT
from acme_ca.problems import NotFound
from acme_ca.services import versions
from acme_ca.web import json_response


class Bundles:
    """The bundles, made once for each environment: a process serves one configuration."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca
        self._made: dict[str, object] = {}

    def show(self, environment: str) -> Response:
        """Return an environment's bundle."""
        found = self._ca.environments.get(environment)
        if found is None or found.settings.trust_domain is None:
            raise NotFound(f"there is no environment {environment[:64]!r} with a trust domain")
        if environment not in self._made:
            self._made[environment] = versions.spiffe_bundle(self._ca, found)
        return json_response(self._made[environment], headers={"Cache-Control": f"public, max-age={REFRESH_HINT}"})
