"""Which policy is in force in an environment: one small row that every process looks at once a second."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from acme_ca.models import base
from acme_ca.models.base import Record, table_of
from acme_ca.models.prepared import Prepared


@dataclass(kw_only=True)
class AppliedPolicy(Record):
    """The numbers of the versions that were applied; None for `number` while the configuration file says what holds.

    `shadow` is the version that is evaluated beside it, None without one.
    """

    environment: str
    number: int | None = None
    shadow: int | None = None
    changed_at: datetime

    def put_in_force(self, number: int, now: datetime) -> None:
        """Let a version count from now on."""
        self.number = number
        self.changed_at = now

    def put_beside(self, number: int | None, now: datetime) -> None:
        """Let a version be evaluated beside the one in force, or none any more."""
        self.shadow = number
        self.changed_at = now


APPLIED_POLICIES = table_of(AppliedPolicy, "applied_policies")
_ALL = Prepared(base.select(AppliedPolicy))


def applied_policies(connection: Connection) -> dict[str, tuple[int | None, int | None]]:
    """Return what is applied, and what is in the shadow, for each environment of which something ever was."""
    return {found.environment: (found.number, found.shadow) for found in base.find(connection, AppliedPolicy, _ALL)}
