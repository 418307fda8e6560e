"""The audit trail: every fact leaves an event in its own transaction."""

from typing import Any

from sqlalchemy import Connection, insert

from acme_ca import clock
from acme_ca.models.audit_event import AUDIT_EVENTS, SYSTEM
from acme_ca.models.authorization import Authorization
from acme_ca.models.binding import Binding
from acme_ca.models.prepared import Prepared

EVERYWHERE = ""
"""The environment of events that belong to none, or are about all of them."""

_RECORD = Prepared(
    insert(AUDIT_EVENTS).inline(),
    [name for name in AUDIT_EVENTS.columns.keys() if name != "id"],  # noqa: SIM118 - columns are no dict
)


def authorized(connection: Connection, authorization: Authorization) -> None:
    """Add the event that the proof of a workload decided an authorization."""
    record(
        connection,
        authorization.environment,
        f"authorization.{authorization.status}",
        authorization.id,
        account_id=authorization.account_id,
        identifier=str(authorization.name),
        challenge=authorization.challenge,
        binding=authorization.binding_id,
    )


def bound(connection: Connection, binding: Binding) -> None:
    """Add the event that an account speaks for a workload from now on."""
    record(
        connection,
        binding.environment,
        "workload.bound",
        binding.id,
        account_id=binding.account_id,
        workload=binding.subject,
        rule=f"{binding.rule}@{binding.policy_version}",
    )


def record(
    connection: Connection,
    environment: str,
    event: str,
    subject: str,
    *,
    account_id: str | None = None,
    by: str | None = None,
    **details: Any,  # noqa: ANN401 - whatever JSON carries
) -> None:
    """Add the event `noun.verb` about `subject`; details never hold secrets or personal data.

    `by` is who did it, if not the account: "admin:NAME", "uid:0"; without either it was the CA itself.
    """
    _RECORD.change(
        connection,
        {
            "at": clock.now(),
            "environment": environment,
            "event": event,
            "subject": _line(subject),
            "account_id": account_id,
            "details": details,
            "actor": _line(by or account_id or SYSTEM),
        },
    )


def _line(text: str) -> str:
    """Return a text without line breaks and other control characters: a line of the canonical form."""
    return text if text.isprintable() else ascii(text)
