"""Health: `/livez` says that the process answers, `/readyz` that the CA can do its work, and if not, why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from http import HTTPStatus

from flask import Flask, Response

from acme_ca import clock, web
from acme_ca.authority import Authority, Environment
from acme_ca.models import base
from acme_ca.models.environment import EnvironmentKey
from acme_ca.problems import ServiceUnavailable
from acme_ca.services import crls, listener, responders

GOOD = "ok"


def install(app: Flask, ca: Authority) -> None:
    """Add `/livez` and `/readyz`."""
    app.add_url_rule("/livez", "livez", _livez, provide_automatic_options=False)
    app.add_url_rule("/readyz", "readyz", partial(_readyz, ca), provide_automatic_options=False)


def _livez() -> Response:
    return web.json_response({"status": GOOD}, headers={"Cache-Control": "no-store"})


def _readyz(ca: Authority) -> Response:
    found = {name: _outcome(check) for name, check in _checks(ca)}
    is_good = all(outcome == GOOD for outcome in found.values())
    return web.json_response(
        {"status": GOOD if is_good else "not ready", "checks": found},
        HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE,
        {"Cache-Control": "no-store"},
    )


def _checks(ca: Authority) -> Iterator[tuple[str, Callable[[], str | None]]]:
    yield "database", partial(_database, ca)
    for environment in ca.environments.values():
        yield f"issuer of {environment.name}", partial(_issuer, environment)
    yield "revocation lists", partial(_crls, ca)
    if responders.responding(ca):
        yield "OCSP responders", partial(_responders, ca)
    yield "listener certificate", partial(listener.check, ca.config)


def _outcome(check: Callable[[], str | None]) -> str:
    try:
        return check() or GOOD
    except ServiceUnavailable as problem:
        return problem.detail


def _database(ca: Authority) -> str | None:
    with ca.database.read() as connection:
        for name in ca.environments:
            if base.get(connection, EnvironmentKey, name) is None:
                return f"it does not have the nonce key of environment {name}"
    return None


def _crls(ca: Authority) -> str | None:
    overdue = crls.overdue(ca)
    return f"never made or past their nextUpdate: {', '.join(overdue)}" if overdue else None


def _responders(ca: Authority) -> str | None:
    missing = responders.missing(ca)
    return f"without a certificate of this host: {', '.join(missing)}" if missing else None


def _issuer(environment: Environment) -> None:
    profile = environment.profiles[environment.settings.default_profile]
    environment.issuer(clock.now(), timedelta(seconds=profile.lifetime), profile)
