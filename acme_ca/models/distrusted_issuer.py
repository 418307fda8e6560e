"""Issuers that operators distrust: few rows, or none, that every process looks at once a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Index

from acme_ca.models import base
from acme_ca.models.base import Record, table_of
from acme_ca.models.prepared import Prepared


@dataclass(kw_only=True)
class DistrustedIssuer(Record):
    """An issuer that signs no certificate any more. `key_sha256` is of the SubjectPublicKeyInfo of its certificate.

    What is distrusted is the key: an issuer of the same name with another key is another one. Its certificates have
    their turn to be replaced within `spread` seconds, which the worker begins as `replacement_id`. It is out of the
    SPIFFE bundle from `unpublished_at` on.
    """

    key_sha256: bytes
    environment: str
    issuer_id: str
    serial: str
    reason: str
    spread: int
    explanation_url: str | None = None
    ordered_by: str
    created_at: datetime
    replacement_id: str | None = None
    unpublished_at: datetime | None = None


DISTRUSTED_ISSUERS = table_of(DistrustedIssuer, "distrusted_issuers")
Index("ix_distrusted_issuers_environment", DISTRUSTED_ISSUERS.c.environment, DISTRUSTED_ISSUERS.c.issuer_id)
_ALL = Prepared(base.select(DistrustedIssuer).order_by(DISTRUSTED_ISSUERS.c.created_at))


def distrusted_issuers(connection: Connection) -> list[DistrustedIssuer]:
    """Return all of them, the first that was distrusted first."""
    return base.find(connection, DistrustedIssuer, _ALL)


def publication(connection: Connection) -> Mapping[bytes, bool]:
    """Return the distrusted keys, and of each whether bundles still have it."""
    return {one.key_sha256: one.unpublished_at is None for one in distrusted_issuers(connection)}
