"""The audit trail: every fact leaves an event in its own transaction."""

from typing import Any

from sqlalchemy import Connection, insert

from acme_ca import clock
from acme_ca.models.audit_event import AUDIT_EVENTS
from acme_ca.models.prepared import Prepared

_RECORD = Prepared(
    insert(AUDIT_EVENTS).inline(),
    [name for name in AUDIT_EVENTS.columns.keys() if name != "id"],  # noqa: SIM118 - columns are no dict
)


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
    _RECORD.change(
        connection,
        {
            "at": clock.now(),
            "environment": environment,
            "event": event,
            "subject": subject,
            "account_id": account_id,
            "details": details,
        },
    )
