"""The policies of this process: what operators applied last, or what the configuration says while they never did.

A process looks at two small tables once a second at most, before a request, never in its transaction. So a policy is in
force everywhere a second after it was applied, and each request is decided by one policy from its beginning to its end.
The same goes for which issuers are distrusted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection

from acme_ca import baton, metrics
from acme_ca import config as configuration
from acme_ca.config.policies import CONDITION, misfits_of
from acme_ca.db import Database
from acme_ca.models.applied_policy import applied_policies
from acme_ca.models.distrusted_issuer import publication
from acme_ca.models.version import numbered
from acme_ca.policy.document import Document
from acme_ca.policy.engine import Policy
from acme_ca.policy.petitions import Petition, Terms
from acme_ca.policy.verdicts import differences
from acme_ca.problems import ServiceUnavailable
from acme_ca.shadow_notes import Noter

POLICY, SHADOW_POLICY = "policy", "shadow-policy"
PACE = 1.0  # seconds between two looks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A policy that is evaluated beside the one in force. It changes no answer, whatever becomes of it."""

    environment: str
    number: int
    policy: Policy
    noter: Noter

    def watch(self, present: Policy, terms: Terms, petition: Petition) -> None:
        """Note what this policy would have decided otherwise."""
        try:
            self._compare(present, terms, petition)
        except Exception:
            metrics.SHADOW_ERRORS.labels(self.environment).inc()
            log.exception("policy.shadow_failed", environment=self.environment, version=self.number)

    def _compare(self, present: Policy, terms: Terms, petition: Petition) -> None:
        account_id = petition.applicant.account_id
        for found in differences(present, self.policy, terms, petition):
            metrics.SHADOW_DIFFERENCES.labels(self.environment, found.outcome).inc()
            if self.noter.add(self.environment, self.number, found, account_id):
                log.info(
                    "policy.shadow",
                    environment=self.environment,
                    version=self.number,
                    would=found.outcome,
                    name=found.name,
                    rule=found.rule,
                    reason=found.reason,
                    account_id=account_id,
                )


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds in one environment. `number` is None for the policy of the configuration file."""

    policy: Policy
    number: int | None
    shadow: Shadow | None


class PoliciesInForce:
    """The policies of all environments.

    An applied policy that cannot be read is not put in force: the one before stays, and where there is none, nobody
    gets anything. What one names that this process does not have, it does not give. `distrusted` are the keys of
    issuers, as SHA-256 of the SubjectPublicKeyInfo, and of each whether it is still published.
    """

    def __init__(self, database: Database, config: configuration.Config) -> None:
        self.noter = Noter(database)
        self._database = database
        self._config = config
        self._lock = threading.Lock()
        self._found: dict[str, InForce] = {}
        self._unreadable: dict[str, str] = {}
        with database.read() as connection:
            self._applied, self.distrusted = applied_policies(connection), publication(connection)
            self._read(connection, self._applied)
        self._look_again = monotonic() + PACE
        self._complain()

    def require_usable(self) -> None:
        """Raise ValueError when one that was applied cannot be read, or does not fit the configuration."""
        misfits = [text for name in self._config.environment for text in self._misfits(name, also_mistakes=False)]
        if found := [*self._unreadable.values(), *misfits]:
            raise ValueError("; ".join(found))

    def __getitem__(self, environment: str) -> InForce:
        """Return what holds in an environment."""
        return self._found[environment]

    def look(self, *, now: bool = False) -> bool:
        """Look again if it is time, or `now`; return whether anything changed. Without the database nothing does."""
        if not now and monotonic() < self._look_again:
            return False
        if not self._lock.acquire(blocking=False):
            with baton.aside():
                self._lock.acquire()
        try:
            return (now or monotonic() >= self._look_again) and self._look()
        finally:
            self._lock.release()

    def _look(self) -> bool:
        self._look_again = monotonic() + PACE
        try:
            with self._database.read() as connection:
                applied, distrusted = applied_policies(connection), publication(connection)
                if (applied, distrusted) == (self._applied, self.distrusted):
                    return False
                self._read(connection, applied)
        except ServiceUnavailable:
            return False
        self._tell(policies=applied != self._applied, issuers=distrusted != self.distrusted)
        self._applied, self.distrusted = applied, distrusted
        self._complain()
        return True

    def _tell(self, *, policies: bool, issuers: bool) -> None:
        if issuers:
            log.info("issuer.distrust_changed")
        for name, found in self._found.items() if policies else ():
            log.info("policy.in_force", environment=name, number=found.number, version=found.policy.version)

    def _complain(self) -> None:
        for name in self._config.environment:
            metrics.POLICY_UNUSABLE.labels(name).set(name in self._unreadable)
            if name in self._unreadable:
                log.error("policy.unusable", environment=name, reason=self._unreadable[name])
            for text in self._misfits(name):
                log.error("policy.misfit", environment=name, reason=text)

    def _read(self, connection: Connection, applied: Mapping[str, tuple[int | None, int | None]]) -> None:
        """Find out what holds; one policy that cannot be read is in no other environment's way."""
        found, unreadable = dict(self._found), dict[str, str]()
        for name, settings in self._config.environment.items():
            number, shadow = applied.get(name, (None, None))
            try:
                found[name] = self._in_force(connection, name, number, shadow)
            except ValueError as error:
                unreadable[name] = f"the applied policy of environment {name} (version {number}): {error}"
                found.setdefault(name, InForce(policy_of(name, settings, Document(rules=())), number, None))
        self._found, self._unreadable = found, unreadable

    def _in_force(self, connection: Connection, name: str, number: int | None, shadow: int | None) -> InForce:
        settings = self._config.environment[name]
        document = Document(rules=settings.policy) if number is None else _stored(connection, name, POLICY, number)
        return InForce(
            policy=policy_of(name, settings, document), number=number, shadow=self._shadow(connection, name, shadow)
        )

    def _shadow(self, connection: Connection, name: str, number: int | None) -> Shadow | None:
        if number is None:
            return None
        try:
            document = _stored(connection, name, SHADOW_POLICY, number)
            return Shadow(name, number, policy_of(name, self._config.environment[name], document), self.noter)
        except ValueError:
            log.exception("policy.shadow_unusable", environment=name, number=number)
            return None

    def _misfits(self, name: str, *, also_mistakes: bool = True) -> Iterator[str]:
        found = self._found[name]
        if found.number is None:
            return
        for location, text in misfits_of(found.policy.rules, self._config.environment[name]):
            if also_mistakes or location[-1] != CONDITION:
                rule = found.policy.rules[int(location[0])].name
                yield f"the applied policy of environment {name} (version {found.number}), rule {rule}: {text}"


def policy_of(name: str, settings: configuration.Environment, document: Document) -> Policy:
    """Return the policy of an environment that a document says."""
    return Policy(name, document.rules, settings.challenges, settings.profiles)


def document_of(stored: Mapping[str, Any]) -> Document:
    """Return the document that a version has; raises ValueError for one of another program's making."""
    try:
        return Document.from_json({"rules": stored["rules"]})
    except (KeyError, ValidationError) as error:
        raise ValueError(f"the stored policy cannot be read: {error}") from error


def _stored(connection: Connection, environment: str, kind: str, number: int) -> Document:
    found = numbered(connection, environment, kind, number)
    if found is None:
        raise ValueError(f"version {number} of the {kind} of environment {environment} is gone")
    return document_of(found.document)
