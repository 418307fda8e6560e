"""Open Cybersecurity Schema Framework 1.3.0, class Entity Management (3004). https://schema.ocsf.io.

Everything that a CA keeps is an entity that somebody manages. What OCSF has no attribute for stands in `unmapped`.
"""

from __future__ import annotations

import json
from typing import Any

from acme_ca.sinks.base import SealedEvent

VERSION = "1.3.0"
CATEGORY, CLASS = 3, 3004  # Identity & Access Management, Entity Management
OTHER = 99
ACTIVITIES = {
    "created": (1, "Create"),
    "issued": (1, "Create"),
    "admitted": (1, "Create"),
    "changed": (3, "Update"),
    "updated": (3, "Update"),
    "key_changed": (3, "Update"),
    "deleted": (4, "Delete"),
    "revoked": (9, "Disable"),
    "deactivated": (11, "Deactivate"),
    "valid": (10, "Activate"),
}
INFORMATIONAL, LOW = (1, "Informational"), (2, "Low")
SUCCESS, FAILURE = (1, "Success"), (2, "Failure")


def render(event: SealedEvent) -> str:
    """Return the event on one line."""
    activity, activity_name = ACTIVITIES.get(event.verb, (OTHER, event.verb))
    severity, severity_name = LOW if event.failed else INFORMATIONAL
    status, status_name = FAILURE if event.failed else SUCCESS
    document: dict[str, Any] = {
        "category_uid": CATEGORY,
        "category_name": "Identity & Access Management",
        "class_uid": CLASS,
        "class_name": "Entity Management",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Entity Management: {activity_name}",
        "severity_id": severity,
        "severity": severity_name,
        "status_id": status,
        "status": status_name,
        "time": int(event.at.timestamp() * 1000),
        "message": f"{event.event} {event.subject}",
        "metadata": {
            "version": VERSION,
            "uid": str(event.seq),
            "sequence": event.seq,
            "event_code": event.event,
            "product": {"name": "acme-ca", "vendor_name": "acme-ca"},
        },
        "actor": {"user": {"uid": event.actor}},
        "entity": {"type": event.noun, "uid": event.subject},
        "unmapped": {
            "environment": event.environment,
            "account": event.account_id,
            "hash": event.hash,
            "details": dict(event.details),
        },
    }
    if event.reason:
        document["status_detail"] = event.reason
    return json.dumps(document, separators=(",", ":"))
