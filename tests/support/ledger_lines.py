"""Ledger lines as issuance leaves them, without the signature: to search, revoke and replace among many."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from acme_ca import clock
from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models import certificate as ledger
from acme_ca.models.certificate import Certificate, CertificateStatus

KEY = b"k" * 32


def line(names: tuple[str, ...] = ("dns:a.test.localhost",), **changes: Any) -> Certificate:  # noqa: ANN401 - columns
    """An issued certificate of the environment `test`, valid for an hour; `created_at` decides its id."""
    now: datetime = changes.pop("created_at", clock.now())
    values = {
        "id": base.first_id(now)[:13] + f"{secrets.randbits(52):013x}",
        "serial": f"{secrets.randbits(127):034x}",
        "environment": "test",
        "account_id": "0" * 26,
        "order_id": secrets.token_hex(13),
        "issuer_id": "test-1",
        "authority_key_id": b"a" * 20,
        "status": CertificateStatus.ISSUED.value,
        "profile": "server-1h",
        "policy_version": "p",
        "names": list(names),
        "key_sha256": secrets.token_bytes(32),
        "not_before": now,
        "not_after": now + timedelta(hours=1),
        "created_at": now,
        "der": b"-",
    }
    return Certificate(**{**values, **changes})


def put(database: Database, *lines: Certificate) -> None:
    """Write lines with their terms."""
    with database.write() as connection:
        for one in lines:
            ledger.add(connection, one)


def revoked(database: Database) -> set[str]:
    """The ids of what is revoked."""
    with database.read() as connection:
        statement = base.select(Certificate, ledger.CERTIFICATES.c.revoked_at.is_not(None))
        return {found.id for found in base.find(connection, Certificate, statement)}
