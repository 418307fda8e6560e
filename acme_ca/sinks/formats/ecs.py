"""Elastic Common Schema (ECS) 8.17. https://www.elastic.co/docs/reference/ecs.

What ECS has no field for stands below `acme_ca`, where custom fields may be.
"""

from __future__ import annotations

import json

from acme_ca.sinks.base import SealedEvent
from acme_ca.sinks.formats.native import document

VERSION = "8.17.0"
CONFIGURATION = frozenset({"policy", "workload-policy", "bundle"})  # nouns that are settings
# The types that ECS expects of the categories `iam` and `configuration` alike.
TYPES = {
    "created": "creation",
    "issued": "creation",
    "admitted": "creation",
    "deleted": "deletion",
    "revoked": "deletion",
}
INFORMATION = frozenset({"refused", "refusals_counted", "abandoned", "invalid"})


def render(event: SealedEvent) -> str:
    """Return the event on one line."""
    native = document(event)
    kind = "info" if event.verb in INFORMATION else TYPES.get(event.verb, "change")
    return json.dumps(
        {
            "@timestamp": native["time"],
            "ecs": {"version": VERSION},
            "message": f"{event.event} {event.subject}",
            "event": {
                "id": str(event.seq),
                "sequence": event.seq,
                "hash": event.hash,
                "kind": "event",
                "category": ["configuration" if event.noun in CONFIGURATION else "iam"],
                "type": [kind],
                "action": event.event,
                "outcome": "failure" if event.failed else "success",
                "module": "acme_ca",
                "dataset": "acme_ca.audit",
                "provider": "acme-ca",
                **({"reason": event.reason} if event.reason else {}),
            },
            "service": {"type": "acme-ca", "environment": event.environment},
            "user": {"id": event.actor},
            "acme_ca": {
                key: native[key] for key in ("environment", "account", "subject", "details") if native[key] is not None
            },
        },
        separators=(",", ":"),
    )
