"""Claims whose process died on this host become due at once; their lease is for processes of other hosts."""

import structlog
from sqlalchemy import update

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.models.audit_sink import SINK_CURSORS
from acme_ca.models.authorization import AUTHORIZATIONS
from acme_ca.models.order import ORDERS

log = structlog.get_logger(__name__)


def release_dead(ca: Authority) -> int:
    """End the leases of processes that died; return how many validations, issuances and sinks are now due."""
    released = 0
    for process in ca.processes.dead():
        with ca.database.write() as connection:
            for table in (AUTHORIZATIONS, ORDERS, SINK_CURSORS):
                left = update(table).where(table.c.due_at.is_not(None), table.c.claimed_by == process)
                released += connection.execute(left.values(due_at=clock.now(), claimed_by=None)).rowcount
    if released:
        log.warning("claims.released", count=released)
    return released
