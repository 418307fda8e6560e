"""acme-ca's own format: an event as the audit trail has it, with its place in the chain. docs/audit.md."""

from __future__ import annotations

import json
from typing import Any

from acme_ca.sinks.base import SealedEvent


def document(event: SealedEvent) -> dict[str, Any]:
    """Return the event as a JSON object; times are RFC 3339 in UTC with six digits of the second."""
    return {
        "seq": event.seq,
        "hash": event.hash,
        "id": event.id,
        "time": event.at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z",
        "environment": event.environment,
        "event": event.event,
        "actor": event.actor,
        "account": event.account_id,
        "subject": event.subject,
        "details": dict(event.details),
    }


def render(event: SealedEvent) -> str:
    """Return the event on one line."""
    return json.dumps(document(event), separators=(",", ":"))
