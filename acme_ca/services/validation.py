"""Challenges: a client submits one, the server looks at the proof. RFC 8555 §7.5.1, §8.2.

A submission is claimed with a lease and worked on at once in the process that took it; whoever finds the lease run
out takes the work over. A definite answer decides; silence is asked again with backoff for the environment's patience.
"""

from collections.abc import Mapping
from concurrent.futures import TimeoutError as StillRunning
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

import structlog
from sqlalchemy import Connection, and_, select

from acme_ca import baton, clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.challenges import CHALLENGES, caa
from acme_ca.challenges.base import Attempt, Evidence, Unanswered
from acme_ca.models import base
from acme_ca.models.account import Account, Signer, acting_account, owned
from acme_ca.models.authorization import AUTHORIZATIONS, Authorization, AuthorizationStatus
from acme_ca.problems import Contended, NotFound, Problem, ServerInternal
from acme_ca.services import audit, pauses, rate_limits

LEASE_MARGIN = 5.0  # seconds that a claim outlives the deadline of the attempt itself
BACKOFF_FIRST, BACKOFF_MAX = 1.0, 15.0  # seconds between attempts, doubling
DUE_BATCH = 32  # authorizations taken over at a time

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The work on one authorization: the row as it was committed, and what it takes to validate, as values."""

    environment: Environment
    authorization: Authorization
    challenge: str
    attempt: Attempt


def submit(
    ca: Authority, environment: Environment, signer: Signer, authorization_id: str, challenge: str, *, wait: float
) -> Authorization:
    """Start to validate the challenge, once; a repeated submission finds its present state. §7.5.1.

    Waits up to `wait` seconds for the outcome, so that most clients need not poll.
    """
    with ca.database.write() as connection:
        acting_account(connection, environment.name, signer)
        authorization = owned(
            connection, Authorization, environment.name, signer.account_id, authorization_id, lock=True
        )
        _require_offered(authorization, challenge)
        now = clock.now()
        if authorization.is_undecided(now):
            rate_limits.require_validations(connection, environment, signer.account_id, (str(authorization.name),), now)
        started = authorization.submit(challenge, now, now + _lease(environment), ca.processes.own)
        base.update(connection, authorization)
    if not started:
        return authorization
    future = ca.background(run, ca, _claim(environment, authorization, signer.thumbprint))
    try:
        with baton.aside():
            return future.result(timeout=wait)
    except StillRunning:
        return authorization


def view(
    ca: Authority, environment: Environment, signer: Signer, authorization_id: str, challenge: str
) -> Authorization:
    """Return the authorization whose challenge a client reads. §7.5.1 (POST-as-GET)."""
    with ca.database.read() as connection:
        acting_account(connection, environment.name, signer)
        authorization = owned(connection, Authorization, environment.name, signer.account_id, authorization_id)
    _require_offered(authorization, challenge)
    return authorization


def resume_due(ca: Authority) -> int:
    """Take over the validations whose time has come: retries, and claims of processes that died; return how many."""
    claims = _claim_due(ca)
    for future in [ca.background(run, ca, claim) for claim in claims]:
        future.result()
    return len(claims)


def run(ca: Authority, claim: Claim) -> Authorization:
    """Make one attempt and record its outcome; return the authorization as it then stands."""
    started = perf_counter()
    try:
        outcome: Evidence | Problem | Unanswered = _attempt(claim)
    except (Problem, Unanswered) as answer:
        outcome = answer
    except Exception:
        log.exception("validation.crashed", authorization_id=claim.authorization.id, challenge=claim.challenge)
        outcome = Unanswered(ServerInternal("the server failed while it looked at the challenge; it will look again"))
    metrics.VALIDATION_SECONDS.labels(claim.environment.name, claim.challenge).observe(perf_counter() - started)
    return _record(ca, claim, outcome)


def _require_offered(authorization: Authorization, challenge: str) -> None:
    if challenge not in authorization.shown:
        raise NotFound(f"authorization {authorization.id} has no challenge {challenge}")


def _lease(environment: Environment) -> timedelta:
    return timedelta(seconds=environment.settings.validation.timeout + LEASE_MARGIN)


def _claim(environment: Environment, authorization: Authorization, thumbprint: str) -> Claim:
    return Claim(
        environment=environment,
        authorization=authorization,
        challenge=authorization.challenge or "",
        attempt=Attempt(
            identifier=authorization.name,
            token=authorization.token,
            thumbprint=thumbprint,
            account_url=environment.account_url(authorization.account_id),
            network=environment.settings.validation,
            caa_identities=environment.settings.caa_identities,
        ),
    )


def _claim_due(ca: Authority) -> list[Claim]:
    now, environments = clock.now(), ca.environments
    due = and_(AUTHORIZATIONS.c.due_at <= now, AUTHORIZATIONS.c.environment.in_(environments))
    with ca.database.read() as connection:  # a look first, so that an idle worker never takes the write turn
        if connection.scalar(select(AUTHORIZATIONS.c.id).where(due).limit(1)) is None:
            return []
    statement = base.select(Authorization, due).order_by(AUTHORIZATIONS.c.due_at).limit(DUE_BATCH)
    statement = statement.with_for_update(skip_locked=True)
    claims = []
    with ca.database.write() as connection:
        for authorization in base.find(connection, Authorization, statement):
            environment = environments[authorization.environment]
            authorization.claim(now + _lease(environment), ca.processes.own)
            base.update(connection, authorization)
            account = base.get_one(connection, Account, authorization.account_id)
            claims.append(_claim(environment, authorization, account.thumbprint))
    return claims


def _attempt(claim: Claim) -> Evidence:
    """Look at the proof, then at CAA, which is fresh for the issuance that follows. RFC 8659, RFC 8657."""
    attempt = claim.attempt
    evidence = CHALLENGES[claim.challenge].validate(attempt)
    caa_found = caa.check(
        attempt.network, attempt.identifier, claim.challenge, attempt.account_url, attempt.caa_identities
    )
    return replace(evidence, summary=f"{evidence.summary}; {caa_found}")


def _record(ca: Authority, claim: Claim, outcome: Evidence | Problem | Unanswered) -> Authorization:
    """Save what the attempt decided; what somebody else decided in the meantime stands."""
    authorization = claim.authorization.copy()  # the request that waits for us may be reading the claim's
    try:
        with baton.held(), ca.database.write() as connection:
            _decide(claim.environment, authorization, outcome, clock.now())
            base.update(connection, authorization)
            if authorization.status != AuthorizationStatus.PROCESSING:
                _audit(connection, claim, authorization)
            if authorization.status == AuthorizationStatus.INVALID:
                rate_limits.count_failure(
                    connection, claim.environment, authorization.account_id, str(authorization.name), clock.now()
                )
    except Contended:
        with ca.database.read() as connection:
            return base.get(connection, Authorization, authorization.id) or authorization
    if authorization.status != AuthorizationStatus.PROCESSING:
        metrics.VALIDATIONS.labels(claim.environment.name, claim.challenge, authorization.status).inc()
    if authorization.status == AuthorizationStatus.INVALID:
        pauses.count_failure(ca, claim.environment, authorization.account_id, authorization.name)
    return authorization


def _audit(connection: Connection, claim: Claim, authorization: Authorization) -> None:
    audit.record(
        connection,
        claim.environment.name,
        f"authorization.{authorization.status}",
        authorization.id,
        account_id=authorization.account_id,
        identifier=str(claim.attempt.identifier),
        challenge=claim.challenge,
        evidence=_without_token(authorization.evidence, claim.attempt),
        error=_without_token(authorization.error, claim.attempt),
    )


def _without_token(seen: Any, attempt: Attempt) -> Any:  # noqa: ANN401 - JSON
    """Return what was seen without the token and what is made of it: sinks send events to whoever reads logs."""
    if isinstance(seen, Mapping):
        return {name: _without_token(value, attempt) for name, value in seen.items()}
    if isinstance(seen, list | tuple):
        return [_without_token(value, attempt) for value in seen]
    if not isinstance(seen, str):
        return seen
    return seen.replace(attempt.key_authorization, "KEY-AUTHORIZATION").replace(attempt.token, "TOKEN")


def _decide(
    environment: Environment, authorization: Authorization, outcome: Evidence | Problem | Unanswered, now: datetime
) -> None:
    settings = environment.settings
    waited = now - (authorization.submitted_at or now)
    if isinstance(outcome, Evidence):
        evidence = {"summary": outcome.summary, "records": [dict(record) for record in outcome.records]}
        expires_at = now + timedelta(seconds=settings.authorization_lifetime or settings.order_lifetime)
        authorization.succeed(now, min(expires_at, outcome.expires_at or expires_at), evidence)
    elif isinstance(outcome, Problem):
        authorization.fail(outcome)
    elif waited.total_seconds() >= settings.patience:
        authorization.fail(_out_of_patience(authorization, outcome.problem, settings.patience))
    else:
        backoff = min(BACKOFF_FIRST * 2 ** len(authorization.attempts), BACKOFF_MAX)
        seen = {"at": clock.rfc3339(now), "detail": outcome.problem.detail}
        authorization.postpone(seen, now + timedelta(seconds=backoff))


def _out_of_patience(authorization: Authorization, last: Problem, patience: float) -> Problem:
    seen = [f"{attempt['at']}: {attempt['detail']}" for attempt in authorization.attempts]
    tried = "; ".join([*seen, f"last: {last.detail}"])
    return type(last)(f"no definite answer in {len(seen) + 1} attempts over {patience:.0f} seconds: {tried}")
