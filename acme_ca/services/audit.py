"""The audit trail: every fact leaves an event in its own transaction."""

from typing import Any

from sqlalchemy import Connection, insert

from acme_ca import clock
from acme_ca.models.audit_event import AUDIT_EVENTS

_RECORD = insert(AUDIT_EVENTS)


def record(
    connection: Connection,
    environment: str,
    event: str,
    subject: str,
    *,
    account_id: str | None = None,
    **details: Any,  # noqa: ANN401 - whatever JSON carries
) -> None:
    """Add the event `noun.verb` about `subject`; details never hold secrets or personal data."""
    connection.execute(
        _RECORD,
        {
            "at": clock.now(),
            "environment": environment,
            "event": event,
            "subject": subject,
            "account_id": account_id,
            "details": details,
        },
    )
