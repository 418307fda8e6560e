"""What the worker does about issuers of which the next generation is due: make it, or tell the operators by when."""

from __future__ import annotations

from datetime import date, datetime

import structlog

from acme_ca import clock, metrics
from acme_ca.authority import Authority
from acme_ca.ceremony import rotation
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.issuers.lines import Line
from acme_ca.keys import KeyAway, KeyUnavailableError
from acme_ca.problems import Conflict, Contended, Malformed
from acme_ca.services import generations

log = structlog.get_logger(__name__)

_told: dict[tuple[str, str], date] = {}
"""On which day this process told of a line last."""


def follow(ca: Authority) -> int:
    """Make the next issuers that are due, if the root's key is here; else tell operators. Return how many were made."""
    now, made = clock.now(), 0
    for name, environment in ca.environments.items():
        for line in generations.lines(ca.database, ca.config, name):
            due_at = line.rules.due_at(line.newest)
            metrics.ISSUER_ROTATION_DUE.labels(name, line.settings.name).set(due_at.timestamp())
            if due_at <= now or generations.is_distrusted(environment, line):
                made += _follow(ca, line, now)
    if made:
        ca.see_issuers()
    return made


def _follow(ca: Authority, line: Line, now: datetime) -> bool:
    settings = ca.config.environment[line.environment].rotation
    try:
        if not settings.automatic or settings.root_key is None or not settings.root_key.exists():
            _tell(line, now, "the root's key is not here")
            return False
        plan = rotation.plan(ca.config, ca.database, line, settings.root_key)
        rotation.rotate(ca.config, ca.database, plan, ca.processes.own, by="system")
    except (Conflict, Contended, Malformed):
        return False  # another worker is at it, or was
    except (CeremonyError, KeyUnavailableError, KeyAway, OSError, ValueError) as error:
        _tell(line, now, str(error))
        return False
    return True


def _tell(line: Line, now: datetime, reason: str) -> None:
    """Tell operators, once a day, what they have to do by when."""
    key = (line.environment, line.settings.name)
    if _told.get(key) == now.date():
        return
    _told[key] = now.date()
    log.warning(
        "issuer.rotation_due",
        environment=line.environment,
        issuer=line.newest.id,
        deadline=clock.rfc3339(line.rules.deadline(line.newest)),
        reason=reason,
        to_do=f"acme-ca issuer rotate {line.environment} {line.settings.name}: docs/how-to/rotation.md",
    )
