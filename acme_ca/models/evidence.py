"""Why a certificate could be issued: how each name was proved, and which rules decided. Kept with its ledger line.

Orders and authorizations are swept a day after they end, while a certificate may live much longer. What is kept is
bounded, compressed when it is long, and only ever read by operators.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from acme_ca.clock import rfc3339
from acme_ca.models.authorization import Authorization
from acme_ca.models.order import Order

MAX_SIZE = 65_536  # octets of JSON; the transcripts of the last names are left out beyond it
SHORT = 2048  # octets of JSON that are kept as they are: to compress them costs more than they take
MAX_RECORDS = 12  # of one name: each is a request or a question of one validation
MAX_ATTEMPTS = 5  # of one name, the last ones


def pack(order: Order, authorizations: Sequence[Authorization], rules: Sequence[str]) -> bytes:
    """Return the evidence for an order: JSON, and more than SHORT of it compressed with zlib."""
    left = MAX_SIZE
    proofs = []
    for authorization in authorizations:
        proof = _proof(authorization)
        left -= len(json.dumps(proof))
        proofs.append(proof if left > 0 else {"identifier": proof["identifier"], "challenge": proof["challenge"]})
    document = {
        "order": {"created_at": rfc3339(order.created_at), "requested_profile": order.requested_profile},
        "rules": list(rules),
        "proofs": proofs,
    }
    packed = json.dumps(document, separators=(",", ":")).encode()
    return packed if len(packed) <= SHORT else zlib.compress(packed, 1)


def unpack(packed: bytes | None) -> dict[str, Any] | None:
    """Return what `pack` made; None when it is kept no more."""
    if packed is None:
        return None
    document: dict[str, Any] = json.loads(packed if packed.startswith(b"{") else zlib.decompress(packed))
    return document


def _proof(authorization: Authorization) -> dict[str, Any]:
    evidence = authorization.evidence or {}
    times = {
        "validated_at": authorization.validated_at,
        "caa_checked_at": authorization.caa_checked_at,
    }
    return {
        "identifier": str(authorization.name),
        "authorization": authorization.id,
        "challenge": authorization.challenge,
        **{name: None if moment is None else rfc3339(moment) for name, moment in times.items()},
        "summary": evidence.get("summary"),
        "records": list(evidence.get("records", ()))[:MAX_RECORDS],
        "attempts": authorization.attempts[-MAX_ATTEMPTS:],
        "binding": authorization.binding_id,
    }
