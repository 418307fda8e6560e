"""Numbered versions of what is in force: the policies of an environment, its roots and its SPIFFE bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from acme_ca.models import base
from acme_ca.models.base import Record, table_of


@dataclass(kw_only=True)
class Version(Record):
    """One version. `key` is ENVIRONMENT/KIND/NUMBER; numbers count from 1 and never go back.

    `created_by` is the operator who applied it, None for what came from a configuration file.
    """

    key: str
    environment: str
    kind: str
    number: int
    digest: str
    document: dict[str, Any]
    created_at: datetime
    created_by: str | None = None
    comment: str | None = None


VERSIONS = table_of(Version, "versions")


def newest(connection: Connection, environment: str, kind: str) -> Version | None:
    """Return the newest version there is, or None."""
    statement = base.select(Version, VERSIONS.c.environment == environment, VERSIONS.c.kind == kind)
    found = base.find(connection, Version, statement.order_by(VERSIONS.c.number.desc()).limit(1))
    return found[0] if found else None


def numbered(connection: Connection, environment: str, kind: str, number: int) -> Version | None:
    """Return the version of a number, or None."""
    return base.get(connection, Version, f"{environment}/{kind}/{number}")


def digest_of(document: Mapping[str, Any]) -> str:
    """Return SHA-256 of a document in hexadecimal, equal for equal ones."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def next_version(
    before: Version | None,
    environment: str,
    kind: str,
    document: Mapping[str, Any],
    now: datetime,
    *,
    created_by: str | None = None,
    comment: str | None = None,
) -> Version:
    """Return the version that comes after another one, or is the first."""
    number = 1 if before is None else before.number + 1
    return Version(
        key=f"{environment}/{kind}/{number}",
        environment=environment,
        kind=kind,
        number=number,
        digest=digest_of(document),
        document=dict(document),
        created_at=now,
        created_by=created_by,
        comment=comment,
    )
