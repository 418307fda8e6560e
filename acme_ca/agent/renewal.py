"""When to renew: as the CA suggests (RFC 9773), else around half of the lifetime; how long to wait on trouble."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cryptography import x509

from acme_ca.agent.client import Server
from acme_ca.agent.errors import AgentError, retry_after
from acme_ca.agent.issuance import certificate_id
from acme_ca.agent.messages import RenewalInfo, Window

CHECK_BOUNDS = (60.0, 86_400.0)  # seconds between two questions, RFC 9773 §4.3.2
CHECK = 300.0
FIRST_PAUSE = 2.0  # seconds after the first failure
LONGEST_PAUSE = 300.0
_SHARE = 20  # a pause takes at most this part of the time that is left
_SHORTEST_LONG = 10.0  # seconds that a pause may take however little time is left

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """The moment at which to renew, when to ask for advice again, and the window that the moment was picked from."""

    renew_at: datetime
    check_at: datetime
    window: Window | None = None


def plan(server: Server, certificate: x509.Certificate, now: datetime, before: Plan | None = None) -> Plan:
    """Return when to renew. The moment stays as it was picked `before` as long as the CA's window is the same."""
    name = certificate_id(certificate)
    if name is None or server.directory.renewal_info is None:
        return fallback(certificate, now, before)
    try:
        url = f"{server.directory.renewal_info.rstrip('/')}/{name}"
        answer = server.transport.get(url, "renewalInfo")
        window = answer.read(RenewalInfo).suggested_window
    except AgentError as error:
        log.warning("renewal.no_advice", reason=str(error))
        return fallback(certificate, now, before)
    check_at = now + timedelta(seconds=_bounded(retry_after(answer.headers)))
    if before is not None and before.window == window:
        return Plan(before.renew_at, check_at, window)
    return Plan(_moment(window, certificate), check_at, window)


def fallback(certificate: x509.Certificate, now: datetime, before: Plan | None = None) -> Plan:
    """Return a plan without advice: what was planned before, or half of the lifetime, a tenth of it to and fro."""
    check_at = now + timedelta(seconds=CHECK)
    if before is not None:
        return Plan(before.renew_at, check_at, before.window)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    share = random.uniform(0.45, 0.55)  # noqa: S311 - so that not all renew at once
    return Plan(certificate.not_valid_before_utc + lifetime * share, check_at)


def pause(failures: int, left: timedelta) -> float:
    """Return the seconds to wait after so many failures in a row, with so much time left of the certificate.

    It grows twofold, with jitter, but leaves room for many more attempts before the certificate ends.
    """
    grown = FIRST_PAUSE * 2.0 ** min(failures - 1, 20)
    longest = min(LONGEST_PAUSE, max(left.total_seconds() / _SHARE, _SHORTEST_LONG))
    return min(grown, longest) * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all come back at once


def _moment(window: Window, certificate: x509.Certificate) -> datetime:
    """Pick a moment in the window, if it is one in which a renewal is of use. RFC 9773 §4.2."""
    start, end = window.start, max(window.start, window.end)
    picked = start + (end - start) * random.random()  # noqa: S311 - so that not all renew at once
    return min(picked, certificate.not_valid_after_utc)


def _bounded(seconds: float | None) -> float:
    return CHECK if seconds is None else min(max(seconds, CHECK_BOUNDS[0]), CHECK_BOUNDS[1])
