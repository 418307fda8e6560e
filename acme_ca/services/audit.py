"""The audit trail: every fact leaves an event in its own transaction."""

from typing import Any

from sqlalchemy.orm import Session

from acme_ca import clock
from acme_ca.models.audit_event import AuditEvent


def record(
    session: Session,
    environment: str,
    event: str,
    subject: str,
    *,
    account_id: str | None = None,
    **details: Any,  # noqa: ANN401 - whatever JSON carries
) -> None:
    """Add the event `noun.verb` about `subject`; details never hold secrets or personal data."""
    session.add(
        AuditEvent(
            at=clock.now(),
            environment=environment,
            event=event,
            subject=subject,
            account_id=account_id,
            details=details,
        )
    )
