"""The doctor: checks of a CA from its own host, that change nothing. docs/doctor.md."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from acme_ca.doctor import anchors, distrust, keeping, network, roots, serving
from acme_ca.doctor.findings import CODES as CODES
from acme_ca.doctor.findings import Finding as Finding
from acme_ca.doctor.findings import Host as Host


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at. `what` completes "looking at …"."""

    what: str
    work: Callable[[Host], Iterator[Finding]]


CHECKS = (
    Check("resolvers", network.resolvers),
    Check("validation targets", network.targets),
    Check("the ACME listener", serving.listener),
    Check("listeners' addresses", serving.exposure),
    Check("keys and issuers", keeping.issuers),
    Check("file modes", keeping.modes),
    Check("the database", keeping.database),
    Check("the last issuance", keeping.issued),
    Check("lifetimes", keeping.lifetimes),
    Check("CRLs", serving.crls),
    Check("CRLs of roots", roots.crls),
    Check("published roots", anchors.published),
    Check("distrusted issuers", distrust.distrusted),
    Check("providers", network.providers),
    Check("the clock", network.clocks),
)


def examine(check: Check, host: Host, seconds: float) -> Sequence[Finding]:
    """Return what a check finds; one that does not end in so many seconds is left to itself, and what it found told."""
    found: list[Finding] = []
    thread = threading.Thread(target=_attempt, args=(check, host, found), daemon=True)
    thread.start()
    thread.join(seconds)
    is_late = thread.is_alive()
    late = [Finding("CHK001", check.what, "no end", f"an end within {seconds:g} seconds")] if is_late else []
    return [*found, *late]


def _attempt(check: Check, host: Host, found: list[Finding]) -> None:
    try:
        found.extend(check.work(host))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is told, and the other checks go on
        found.append(Finding("CHK002", check.what, f"{type(error).__name__}: {error}", "a result"))
