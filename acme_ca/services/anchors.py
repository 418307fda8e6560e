"""Roots are published ahead of the first issuer below them: whoever verifies has to have them by then.

Each change of the published roots is a version (`versions.py`); since when one is published follows from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection

from acme_ca import clock
from acme_ca.authority import Environment
from acme_ca.config import Config, Issuer
from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models.version import VERSIONS, Version
from acme_ca.problems import ServiceUnavailable
from acme_ca.secret import SecretUnavailableError

ROOTS = "roots"  # the kind of versions

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unannounced:
    """An issuer whose root was not published for long enough; `since` is None when it is not published at all."""

    issuer: str
    root: str
    since: datetime | None

    def __str__(self) -> str:
        published = "is not published" if self.since is None else f"is published since {clock.rfc3339(self.since)} only"
        return f"root {self.root} of issuer {self.issuer} {published}"


def published_since(connection: Connection, environment: str) -> dict[str, datetime | None]:
    """Return since when the newest roots are published, by their PEM; None for those that were from the beginning."""
    statement = base.select(Version, VERSIONS.c.environment == environment, VERSIONS.c.kind == ROOTS)
    found: dict[str, datetime | None] = {}
    for version in base.find(connection, Version, statement.order_by(VERSIONS.c.number)):
        since = None if version.number == 1 else version.created_at
        found = {pem: found.get(pem, since) for pem in version.document["roots"]}
    return found


def unannounced(
    database: Database, environment: str, roots: Iterable[tuple[str, x509.Certificate]], ahead: int, now: datetime
) -> Iterator[Unannounced]:
    """Yield the issuers, given with their roots, that are too early: a root is to be published `ahead` seconds before.

    While nothing was ever published, nothing is too early.
    """
    with database.read() as connection:
        published = published_since(connection, environment)
    for issuer, root in roots if published else ():
        pem = root.public_bytes(Encoding.PEM).decode()
        since = published.get(pem)
        if pem not in published or (since is not None and since + timedelta(seconds=ahead) > now):
            yield Unannounced(issuer, root.subject.rfc4514_string(), since)


def look(config: Config, environment: str, issuers: Iterable[Issuer], now: datetime) -> Sequence[Unannounced]:
    """Return which configured issuers are too early, without an Authority; nothing when that cannot be known."""
    try:
        opened = Database(config.database.url, config.database.reveal_password(), only_look=True)
    except SecretUnavailableError:
        return ()
    try:
        opened.require_current()
        roots = [(one.name, x509.load_pem_x509_certificate(one.root.read_bytes())) for one in issuers]
        return list(unannounced(opened, environment, roots, config.environment[environment].publish_ahead, now))
    except (ServiceUnavailable, RuntimeError, OSError, ValueError):
        return ()
    finally:
        opened.close()


def tell(database: Database, environment: Environment) -> None:
    """Log which issuers are too early."""
    roots = ((issuer.id, issuer.root) for issuer in environment.all_issuers)
    for found in unannounced(database, environment.name, roots, environment.settings.publish_ahead, clock.now()):
        log.warning("root.not_announced", environment=environment.name, issuer=found.issuer, reason=str(found))
