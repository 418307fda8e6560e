r"""ArcSight Common Event Format, version 0 of the header; keys are those of the extension dictionary (CEF 0.1).

In the header `\` and `|` are escaped, in the extension `\`, `=` and line breaks.
"""

from __future__ import annotations

import json
from importlib.metadata import version

from acme_ca.sinks.base import SealedEvent

VERSION = version("acme-ca")
SEVERITY, SEVERITY_FAILED = 3, 5  # of 0 to 10: low, and medium
LONGEST = 1023  # characters of `msg`, by the dictionary


def render(event: SealedEvent) -> str:
    """Return the event on one line."""
    severity = SEVERITY_FAILED if event.failed else SEVERITY
    head = ("acme-ca", "acme-ca", VERSION, event.event, f"{event.noun} {event.verb.replace('_', ' ')}", str(severity))
    fields = {
        "rt": str(int(event.at.timestamp() * 1000)),  # milliseconds since 1970
        "externalId": str(event.seq),
        "suid": event.actor,
        "act": event.event,
        "outcome": "failure" if event.failed else "success",
        "reason": event.reason,
        "cs1Label": "environment",
        "cs1": event.environment,
        "cs2Label": "subject",
        "cs2": event.subject,
        "cs3Label": "hash",
        "cs3": event.hash,
        "cs4Label": "account" if event.account_id else None,
        "cs4": event.account_id,
        "cs5Label": "details",
        "cs5": json.dumps(dict(event.details), separators=(",", ":")),
        "msg": f"{event.event} {event.subject}"[:LONGEST],
    }
    extension = " ".join(f"{key}={_value(value)}" for key, value in fields.items() if value is not None)
    return f"CEF:0|{'|'.join(_head(part) for part in head)}|{extension}"


def _head(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r", "\\r").replace("\n", "\\n")
