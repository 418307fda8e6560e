"""Work beside requests: validations and issuances whose process died, retries, sweeping, figures that need a look.

Each job has a thread and a pace of its own, so that none waits for another. What a job claims it claims with a lease:
any number of workers may run, on any number of hosts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from acme_ca import metrics
from acme_ca.authority import Authority
from acme_ca.ceremony import succession
from acme_ca.problems import ServiceUnavailable
from acme_ca.services import (
    audit_export,
    audit_lag,
    audit_seal,
    certificates,
    crls,
    distrust,
    generations,
    issuance,
    nonces,
    ocsp,
    orders,
    pauses,
    rate_limits,
    refusals,
    replacements,
    responders,
    revocations,
    shadows,
    sub_cas,
    takeovers,
    validation,
    versions,
    workloads,
)
from acme_ca.sinks import Sink

SOON = 0.5  # seconds between looks at what became due
PATROL_PACE = 5.0  # seconds between looks for events that were never sealed
NOW_AND_THEN = 60.0  # seconds between sweeps
BACKOFF_MAX = 60.0  # seconds between attempts of a job that fails

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do again every `pace` seconds. `work` returns how much there was to do."""

    name: str
    pace: float
    work: Callable[[Authority], int]


def show_issuers(ca: Authority) -> int:
    """Set the gauges that tell when issuers expire."""
    for environment in ca.environments.values():
        for issuer in environment.all_issuers:
            expires = issuer.certificate.not_valid_after_utc.timestamp()
            metrics.ISSUER_NOT_AFTER.labels(environment.name, issuer.id).set(expires)
    return 0


def audit_jobs(ca: Authority, stopping: threading.Event) -> tuple[Job, ...]:
    """Return the jobs of the audit trail, whose many batches end between two of them when it is time to stop.

    Each sink has one of its own, so that one which is away holds up no other. They never tell how much they did, or the
    log would be as long as the trail.
    """

    def seal(ca: Authority) -> int:
        audit_seal.seal(ca, stopping)
        audit_lag.show(ca)
        return 0

    def export(ca: Authority, sink: Sink) -> int:
        audit_export.deliver(ca, sink, stopping)
        return 0

    after = 0

    def patrol(ca: Authority) -> int:
        nonlocal after
        after = audit_seal.seal_forgotten(ca.database, after)
        return 0

    sinks = (Job(f"audit-sink-{sink.name}", SOON, partial(export, sink=sink)) for sink in ca.config.audit.sink)
    return (Job("audit-seals", SOON, seal), Job("audit-patrol", PATROL_PACE, patrol), *sinks)


JOBS = (
    Job("takeovers", SOON, takeovers.release_dead),
    Job("validations", SOON, validation.resume_due),
    Job("issuances", SOON, issuance.resume_due),
    Job("refusals", NOW_AND_THEN, refusals.close_hours),
    Job("crls", SOON, crls.publish_due),
    Job("responders", NOW_AND_THEN, responders.renew),
    Job("ocsp", SOON, ocsp.sign_ahead),
    Job("revocations", SOON, revocations.resume),
    Job("distrusted issuers", SOON, distrust.begin_replacements),
    Job("orders", NOW_AND_THEN, orders.sweep),
    Job("replacements", NOW_AND_THEN, replacements.count),
    Job("pauses", NOW_AND_THEN, pauses.sweep),
    Job("evidence", NOW_AND_THEN, certificates.sweep),
    Job("workloads", NOW_AND_THEN, workloads.sweep),
    Job("rate_limits", NOW_AND_THEN, rate_limits.sweep),
    Job("nonces", NOW_AND_THEN, nonces.forget),
    Job("shadows", NOW_AND_THEN, shadows.tell),
    Job("sub-CAs", NOW_AND_THEN, sub_cas.abandon_dead),
    Job("versions", NOW_AND_THEN, versions.keep),
    Job("crl figures", NOW_AND_THEN, crls.show),
    Job("issuers", NOW_AND_THEN, show_issuers),
    Job("generations", NOW_AND_THEN, generations.keep_up),
    Job("rotation", NOW_AND_THEN, succession.follow),
)


def run(ca: Authority, stopping: threading.Event, jobs: tuple[Job, ...] = JOBS) -> None:
    """Do the jobs until `stopping`; what a job is at then, it finishes."""
    jobs = (*jobs, *audit_jobs(ca, stopping))
    threads = [threading.Thread(target=_repeat, args=(ca, job, stopping), name=job.name) for job in jobs]
    log.info("worker.started", jobs=[job.name for job in jobs])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.info("worker.stopped")


def _repeat(ca: Authority, job: Job, stopping: threading.Event) -> None:
    pause = job.pace
    while not stopping.is_set():
        pause = next_pause(job, pause, worked=_attempt(ca, job))
        stopping.wait(pause)


def next_pause(job: Job, pause: float, *, worked: bool) -> float:
    """Return the seconds until a job is done again: its pace, or twice as long as last time while it fails."""
    return job.pace if worked else min(2 * pause, max(job.pace, BACKOFF_MAX))


def _attempt(ca: Authority, job: Job) -> bool:
    """Do a job once; whatever goes wrong is told and does not end the worker."""
    try:
        done = job.work(ca)
    except ServiceUnavailable as problem:
        log.warning("worker.waits", job=job.name, reason=problem.detail)
        return False
    except Exception:
        log.exception("worker.failed", job=job.name)
        return False
    if done:
        log.info("worker.did", job=job.name, count=done)
    return True
