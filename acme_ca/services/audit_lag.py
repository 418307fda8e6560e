"""Fail closed: while the audit trail cannot keep up, nothing is ordered or issued that it would have to tell of.

The event itself is in the transaction of its fact anyway. This is about what comes after: sealing, and the sinks.
"""

from __future__ import annotations

import threading
import time
from weakref import WeakKeyDictionary

from acme_ca import metrics
from acme_ca.authority import Authority
from acme_ca.problems import ServiceUnavailable
from acme_ca.services import audit_export, audit_seal

LOOK_EVERY = 1.0  # seconds that what was found is believed
RETRY_AFTER = 30  # seconds


_lock = threading.Lock()
_seen: WeakKeyDictionary[Authority, tuple[float, str | None]] = WeakKeyDictionary()
"""When a process looked last, and who was behind then."""


def require_kept_up(ca: Authority) -> None:
    """Raise ServiceUnavailable while more events than `fail_closed` wait to be sealed or to be taken by a sink."""
    limit = ca.config.audit.fail_closed
    if limit is None:
        return
    now = time.monotonic()
    with _lock:
        looked_at, behind = _seen.get(ca, (now - LOOK_EVERY, None))
    if now - looked_at >= LOOK_EVERY:
        behind = next((who for who, count in lags(ca).items() if count > limit), None)
        with _lock:
            _seen[ca] = (now, behind)
    if behind is not None:
        raise ServiceUnavailable(
            f"the audit trail cannot keep up ({behind}), and nothing is done that it does not tell of; try again later",
            retry_after=RETRY_AFTER,
        )


def lags(ca: Authority) -> dict[str, int]:
    """Return how many events wait for the sealer, and of those that are sealed for each sink, by name."""
    with ca.database.read() as connection:
        sinks = {f"sink {sink.name}": audit_export.lag(connection, sink) for sink in ca.config.audit.sink}
        return {"sealer": audit_seal.unsealed(connection), **sinks}


def show(ca: Authority) -> None:
    """Set the gauge of what is not sealed yet."""
    with ca.database.read() as connection:
        metrics.AUDIT_UNSEALED.set(audit_seal.unsealed(connection))
