"""The life of a workload's certificate: had, published, renewed in time, through outages of the CA.

One loop in one thread. Every failure is logged with the time that the certificate still lasts, and tried again; what
was obtained but could not be published is published later and not obtained anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from acme_ca.agent import bundles, issuance, material, renewal
from acme_ca.agent.client import Account, Server
from acme_ca.agent.errors import AgentError, RefusedError
from acme_ca.agent.issuance import Issued, Wish
from acme_ca.agent.material import Material
from acme_ca.agent.outlets import Outlet, Status
from acme_ca.agent.proofs import Prover
from acme_ca.agent.renewal import Plan
from acme_ca.agent.transport import Transport
from acme_ca.clock import now, rfc3339

LONGEST_SLEEP = 30.0  # seconds: a machine that was suspended notices, and the status file stays fresh
_UNAUTHORIZED = 401

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Settings:
    """What to obtain, from whom, and where it goes.

    `publish` take what changed. `after` are told of it afterwards; while one fails, it is told again, and the
    certificate is kept fresh all the same: the files are good.
    """

    directory_url: str
    ca_file: Path | None
    wish: Wish
    prover: Prover
    account_key: Path
    out: Path
    publish: Sequence[Outlet]
    after: Sequence[Outlet] = ()
    status_file: Path | None = None


@dataclass
class Agent:
    """A workload's certificate, and what is known of it."""

    settings: Settings
    material: Material | None = None
    plan: Plan | None = None
    last_error: str | None = None
    _failures: int = 0
    _waiting: list[Outlet] = field(default_factory=list)
    _untold: list[Outlet] = field(default_factory=list)
    _bundle_at: datetime | None = None

    def once(self) -> Material:
        """Obtain a certificate, publish it and tell of it; raises AgentError."""
        try:
            found = self._issue(self._server(), now())
            self._publish()
        except AgentError as error:
            self.last_error = str(error)
            raise
        finally:
            self._report()
        if self._untold:
            raise AgentError(f"the certificate is published, but {self.last_error}")
        return found

    def forever(self) -> NoReturn:
        """Keep the certificate fresh until a signal raises SystemExit."""
        self.adopt()
        while True:
            pause = self.turn()
            self._report()
            time.sleep(pause)

    def adopt(self) -> None:
        """Go on with the certificate that a run before this one left, if it is what is wanted and still good."""
        found = material.load(self.settings.out)
        moment = now()
        if found is None or not self.settings.wish.is_met_by(found.issued.leaf):
            return
        if not _is_issued_below(found) or found.issued.leaf.not_valid_after_utc <= moment:
            return
        self.material = found
        self.plan = replace(renewal.fallback(found.issued.leaf, moment), check_at=moment)
        self._changed()  # the run before may have ended before all knew
        log.info("certificate.found", not_after=rfc3339(found.issued.leaf.not_valid_after_utc))

    def turn(self) -> float:
        """Do what is due, and return the seconds until something may be due again."""
        self.last_error = None
        try:
            pause = self._do_due(now())
        except AgentError as error:
            self._failures += 1
            self.last_error = str(error)
            pause = self._pause_after(error)
            log.error(  # noqa: TRY400 - the message says what a traceback would not
                "renewal.failed",
                reason=str(error),
                attempts=self._failures,
                certificate_seconds_left=self._seconds_left(),
                next_attempt_seconds=round(pause, 1),
            )
            return pause
        self._failures = 0
        return pause

    def _do_due(self, moment: datetime) -> float:
        self._publish()
        if self.material is not None and self.plan is not None and moment >= self.plan.check_at:
            self.plan = self._planned(self.material, moment, self.plan)
        if self.material is None or self.plan is None or moment >= self.plan.renew_at:
            self._issue(self._server(), moment)
            self._publish()
        elif self._bundle_at is None or moment >= self._bundle_at:
            self._refresh_bundle(self.material, moment)
        return self._until_due()

    def _server(self) -> Server:
        return Server(Transport(self.settings.ca_file), self.settings.directory_url)

    def _issue(self, server: Server, moment: datetime) -> Material:
        anchors = self._anchors(server, moment)  # before the order: without them a certificate could not be published
        before = None if self.material is None else self.material.issued.leaf
        issued = self._obtained(server, before)
        found = Material(issued, anchors)
        self.material = found
        self._changed()
        self.plan = renewal.plan(server, issued.leaf, moment)
        log.info(
            "certificate.issued",
            serial=f"{issued.leaf.serial_number:x}",
            spiffe_id=found.spiffe_id,
            not_after=rfc3339(issued.leaf.not_valid_after_utc),
            renew_at=rfc3339(self.plan.renew_at),
        )
        return found

    def _obtained(self, server: Server, before: x509.Certificate | None) -> Issued:
        settings = self.settings
        account = Account(server, material.account_key(settings.account_key))
        try:
            return issuance.obtain(account, settings.wish, settings.prover, before)
        except RefusedError as error:
            if error.status != _UNAUTHORIZED:
                raise
            # RFC 8555 §7.3.6: the account was ended, which happens to those that slept for long. The key is spent.
            log.warning("account.ended", reason=str(error))
        account = Account(server, material.new_account_key(settings.account_key))
        return issuance.obtain(account, settings.wish, settings.prover, before)

    def _planned(self, found: Material, moment: datetime, before: Plan) -> Plan:
        try:
            return renewal.plan(self._server(), found.issued.leaf, moment, before)
        except AgentError as error:
            log.warning("renewal.no_advice", reason=str(error))
            return renewal.fallback(found.issued.leaf, moment, before)

    def _anchors(self, server: Server, moment: datetime) -> tuple[x509.Certificate, ...]:
        """Return the present trust anchors, or those from before when they cannot be had."""
        try:
            anchors = bundles.fetch(server)
        except AgentError as error:
            if self.material is None:
                raise
            log.warning("bundle.failed", reason=str(error))
            self._bundle_at = moment + timedelta(seconds=bundles.REFRESH)
            return self.material.bundle
        self._bundle_at = moment + timedelta(seconds=anchors.refresh)
        return anchors.certificates

    def _refresh_bundle(self, found: Material, moment: datetime) -> None:
        self._bundle_at = moment + timedelta(seconds=bundles.REFRESH)  # also if the server cannot be reached
        try:
            anchors = self._anchors(self._server(), moment)
        except AgentError as error:
            log.warning("bundle.failed", reason=str(error))
            return
        if set(anchors) != set(found.bundle):
            log.info("bundle.changed", anchors=len(anchors))
            self.material = Material(found.issued, anchors)
            self._changed()
            if self.plan is not None and not _is_issued_below(self.material):
                log.warning("bundle.without_issuer", reason="peers believe this certificate no more; it is renewed")
                self.plan = replace(self.plan, renew_at=moment)
            self._publish()

    def _changed(self) -> None:
        self._waiting, self._untold = list(self.settings.publish), list(self.settings.after)

    def _publish(self) -> None:
        """Give the material to all outlets that wait for it; one that fails keeps its place in the queue."""
        if self.material is None:
            return
        while self._waiting:
            self._waiting[0].take(self.material)
            del self._waiting[0]
        self._untold = [outlet for outlet in self._untold if not self._is_told(outlet, self.material)]

    def _is_told(self, outlet: Outlet, found: Material) -> bool:
        try:
            outlet.take(found)
        except AgentError as error:
            self.last_error = str(error)
            log.error("hook.failed", reason=str(error))  # noqa: TRY400 - a traceback of ours tells nothing of it
            return False
        return True

    def _until_due(self) -> float:
        moments = [self._bundle_at] + ([] if self.plan is None else [self.plan.renew_at, self.plan.check_at])
        earliest = min(moment for moment in moments if moment is not None)
        return min(max((earliest - now()).total_seconds(), 0.1), LONGEST_SLEEP)

    def _pause_after(self, error: AgentError) -> float:
        pause = renewal.pause(self._failures, timedelta(seconds=self._seconds_left()))
        wished = error.retry_after if isinstance(error, RefusedError) else None
        return max(pause, min(wished or 0.0, renewal.LONGEST_PAUSE))

    def _seconds_left(self) -> int:
        if self.material is None:
            return 0
        return max(0, int((self.material.issued.leaf.not_valid_after_utc - now()).total_seconds()))

    def _report(self) -> None:
        if self.settings.status_file is None:
            return
        not_after = None if self.material is None else self.material.issued.leaf.not_valid_after_utc
        renew_at = None if self.plan is None else self.plan.renew_at
        try:
            Status(not_after, self._seconds_left(), renew_at, self.last_error).write(self.settings.status_file)
        except AgentError as error:
            log.error("status.failed", reason=str(error))  # noqa: TRY400 - the message says it


def _is_issued_below(found: Material) -> bool:
    """Tell whether a chain ends at one of the trust anchors that were kept with it."""
    top = found.issued.chain[-1]
    for anchor in found.bundle:
        if anchor in found.issued.chain:
            return True
        try:
            top.verify_directly_issued_by(anchor)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False
