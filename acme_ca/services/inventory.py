"""What live certificates are made of: kinds of keys and signatures, counted where issuers and profiles are.

The ledger counts by itself. Of certificates from before it knew (migration 0015) the DER is read, while they live.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.models import base
from acme_ca.models.certificate import CERTIFICATES, Certificate
from acme_ca.models.selection import Selection, standing_at
from acme_ca.pki.signing import signature_of
from acme_ca.problems import BadPublicKey
from acme_ca.public_keys import check
from acme_ca.services.certificates import require_environment

UNKNOWN = "unknown"  # of what cannot be read
BATCH = 1000  # certificates that are read at once

Kind = tuple[str, str, str, str]
"""Issuer, profile, kind of key, signature."""


@dataclass(frozen=True, slots=True)
class Count:
    """Certificates of one kind: how many, and when the first and the last of them end."""

    kind: Kind
    count: int
    earliest: datetime
    latest: datetime

    def __add__(self, other: Count) -> Count:
        """Return both together."""
        ends = min(self.earliest, other.earliest), max(self.latest, other.latest)
        return Count(self.kind, self.count + other.count, *ends)


def take(ca: Authority, selection: Selection) -> tuple[datetime, list[Count]]:
    """Return the moment, and the certificates of a selection that are valid then, by kind; raises NotFound."""
    require_environment(ca, selection.environment)
    now, found = clock.now(), dict[Kind, Count]()
    with ca.database.read() as connection:
        living = selection.living(connection, now)
        columns = CERTIFICATES.c.issuer_id, CERTIFICATES.c.profile, CERTIFICATES.c.key_type, CERTIFICATES.c.signature
        rows = connection.execute(living.tally(*columns, condition=standing_at(now))).all()
    known = [Count((row[0], row[1], row[2], row[3]), *row[4:]) for row in rows if None not in row[2:4]]
    counts = known if len(known) == len(rows) else [*known, *_read(ca, living, now)]
    for one in counts:
        found[one.kind] = found[one.kind] + one if one.kind in found else one
    return now, sorted(found.values(), key=lambda one: one.kind)


def _read(ca: Authority, living: Selection, now: datetime) -> Iterator[Count]:
    """Yield the certificates of which the ledger does not know it, one by one."""
    before, size = None, BATCH
    conditions = standing_at(now), CERTIFICATES.c.key_type.is_(None)
    while size == BATCH:
        with ca.database.read() as connection:
            page = base.find(connection, Certificate, living.lines(*conditions, before=before).limit(BATCH))
        for line in page:
            yield Count((line.issuer_id, line.profile, *_made_of(line.der or b"")), 1, line.not_after, line.not_after)
        before, size = page[-1].id if page else None, len(page)


def _made_of(der: bytes) -> tuple[str, str]:
    try:
        certificate = x509.load_der_x509_certificate(der)
        return check(certificate.public_key()), signature_of(certificate)
    except (ValueError, UnsupportedAlgorithm, BadPublicKey):
        return UNKNOWN, UNKNOWN
