"""Issuers that operators distrust: what is begun in a hurry is easily left half done."""

from __future__ import annotations

from collections.abc import Iterator

from acme_ca.db import Database
from acme_ca.doctor.findings import Finding, Host
from acme_ca.models.distrusted_issuer import distrusted_issuers
from acme_ca.problems import ServiceUnavailable
from acme_ca.secret import SecretUnavailableError


def distrusted(host: Host) -> Iterator[Finding]:
    """Tell of each that is still configured. What of the database cannot be read, another check tells."""
    try:
        opened = Database(host.config.database.url, host.config.database.reveal_password(), only_look=True)
    except SecretUnavailableError:
        return
    try:
        opened.require_current()
        with opened.read() as connection:
            rows = distrusted_issuers(connection)
    except (ServiceUnavailable, RuntimeError):
        return
    finally:
        opened.close()
    for row in rows:
        if row.environment in host.environments and row.issuer_id in _names(host, row.environment):
            seen = f"distrusted since {row.created_at:%Y-%m-%d %H:%M:%S} UTC: {row.reason}"
            yield Finding("ISS007", f"issuer {row.environment}/{row.issuer_id}", seen, "no issuer that is distrusted")


def _names(host: Host, environment: str) -> set[str]:
    return {issuer.name for issuer in host.config.environment[environment].all_issuers}
