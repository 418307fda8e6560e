"""What the policy in the shadow found: reported to operators, and told to the audit once for each name and hour."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.db import Database
from acme_ca.models import base
from acme_ca.models.applied_policy import AppliedPolicy
from acme_ca.models.shadow_finding import SHADOW_FINDINGS, ShadowFinding
from acme_ca.models.version import Version, newest
from acme_ca.policies_in_force import SHADOW_POLICY
from acme_ca.problems import NotFound
from acme_ca.services import audit

BATCH = 200  # events in one transaction


@dataclass(frozen=True, slots=True)
class Report:
    """A page of what a shadow found. `totals` counts orders by what would have become of a name of theirs."""

    version: Version
    running: bool
    totals: dict[str, int]
    findings: tuple[ShadowFinding, ...]
    next: str | None


def report(database: Database, environment: str, after: str | None, limit: int) -> Report:
    """Return what the newest shadow of an environment found; raises NotFound when there never was one."""
    columns = SHADOW_FINDINGS.c
    with database.read() as connection:
        found = newest(connection, environment, SHADOW_POLICY)
        if found is None:
            raise NotFound(f"environment {environment} never had a policy in the shadow")
        row = base.get(connection, AppliedPolicy, environment)
        own = (columns.environment == environment, columns.number == found.number)
        totals = connection.execute(
            select(columns.outcome, func.sum(columns.count)).where(*own).group_by(columns.outcome)
        )
        statement = base.select(ShadowFinding, *own).order_by(columns.key).limit(limit + 1)
        if after is not None:
            statement = statement.where(columns.key > after)
        counted = {str(outcome): int(times) for outcome, times in totals}
        findings = base.find(connection, ShadowFinding, statement)
    return Report(
        version=found,
        running=row is not None and row.shadow == found.number,
        totals=counted,
        findings=tuple(findings[:limit]),
        next=findings[limit - 1].key if len(findings) > limit else None,
    )


def tell(ca: Authority) -> int:
    """Add the audit events that are due; return how many."""
    now, columns = clock.now(), SHADOW_FINDINGS.c
    due = base.select(ShadowFinding, columns.audit_due_at <= now, columns.environment.in_(ca.environments))
    with ca.database.read() as connection:
        if not base.find(connection, ShadowFinding, due.limit(1)):
            return 0
    with ca.database.write() as connection:
        found = base.find(connection, ShadowFinding, due.order_by(columns.key).limit(BATCH).with_for_update())
        for finding in found:
            finding.audited(now)
            base.update(connection, finding)
            audit.record(
                connection,
                finding.environment,
                "policy.shadow_differed",
                f"{finding.environment}/{SHADOW_POLICY}/{finding.number}",
                account_id=finding.account_id,
                would=finding.outcome,
                name=finding.name,
                rule=finding.rule,
                reason=finding.reason,
                count=finding.count,
            )
    return len(found)
