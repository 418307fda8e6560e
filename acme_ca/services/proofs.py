"""A workload proves itself at a challenge: one proof decides every authorization of the order that policy maps.

docs/workload-identity-00.md §5. The proof is checked with no transaction open, and in the request: nothing of it is
stored, so nobody could go on with it later. What a provider that is away leaves is a pending challenge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from acme_ca import clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.db import AlreadyThereError
from acme_ca.models import base
from acme_ca.models.account import Signer, acting_account, owned
from acme_ca.models.authorization import (
    AUTHORIZATIONS,
    Authorization,
    AuthorizationStatus,
)
from acme_ca.models.binding import Binding
from acme_ca.models.owner import adopt_waiting, claim_evidence, lock_subject
from acme_ca.policy.grants import Grant
from acme_ca.problems import Contended, Malformed, NotFound, Problem, ServiceUnavailable
from acme_ca.services import audit
from acme_ca.workload import WORKLOAD_CHALLENGE, Expected, Proof, Workload, refusal

MAX_TRIES = 3  # of a token that is too old or too new: a client may have read a stale file
REPEATABLE = ("token_expired", "token_not_yet_valid")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proved:
    """A proof that was accepted, and what it entitles to."""

    proof: Proof
    workload: Workload
    grant: Grant


def prove(
    ca: Authority, environment: Environment, signer: Signer, authorization_id: str, proof: Proof | None, url: str
) -> Authorization:
    """Decide the authorization, and its siblings of the same order, by a proof; a decided one is returned as it is.

    `proof` is None for an account whose workload was proved before and is still believed. `url` is the challenge's.
    Raises the proof's refusal, which makes the challenge invalid unless it may be repeated; provider_unavailable and
    malformed proofs leave it pending.
    """
    now = clock.now()
    with ca.database.read() as connection:
        acting_account(connection, environment.name, signer)
        authorization = owned(connection, Authorization, environment.name, signer.account_id, authorization_id)
    if WORKLOAD_CHALLENGE not in authorization.shown or environment.workloads is None:
        raise NotFound(f"authorization {authorization_id} has no challenge {WORKLOAD_CHALLENGE}")
    if not authorization.is_undecided(now):
        return authorization
    if proof is None:
        return _by_binding(ca, environment, signer, authorization, now)
    expected = Expected(environment.audience, url, f"{authorization.token}.{signer.thumbprint}")
    try:
        workload = environment.identify(proof, expected, now)
        grant = environment.workloads.grant(workload)
        grant.require_covers(authorization.name, workload.subject)
        return _accept(ca, environment, signer, authorization, Proved(proof, workload, grant), now)
    except (ServiceUnavailable, Malformed):
        raise
    except Problem as problem:
        _refuse(ca, environment, signer, authorization, problem, now)
        raise


def _by_binding(
    ca: Authority, environment: Environment, signer: Signer, authorization: Authorization, now: datetime
) -> Authorization:
    _adopt(ca, environment, signer, now)
    bound = ca.bound(environment, signer.account_id, now)
    if bound is None:
        raise refusal("evidence_malformed", "the payload has no proof, and the account is bound to no workload")
    bound.grant.require_covers(authorization.name, bound.binding.subject)
    with ca.database.write() as connection:
        acting_account(connection, environment.name, signer, lock=True)
        fresh = base.get_one(connection, Authorization, authorization.id, lock=True)
        if fresh.is_undecided(now):
            _decide(connection, environment, fresh, bound.binding, now)
    return fresh


def _adopt(ca: Authority, environment: Environment, signer: Signer, now: datetime) -> None:
    """Take what was proved for the account's key, now that the account itself asks for it."""
    with ca.database.write(durable=True) as connection:
        acting_account(connection, environment.name, signer, lock=True)
        for binding in adopt_waiting(connection, environment.name, signer.thumbprint, signer.account_id, now):
            audit.bound(connection, binding)


def _accept(
    ca: Authority,
    environment: Environment,
    signer: Signer,
    authorization: Authorization,
    proved: Proved,
    now: datetime,
) -> Authorization:
    """Record whose the proof is, and make valid what it decides."""
    try:
        with ca.database.write(durable=True) as connection:
            # Locked, so that the account's key is not changed before what it owns is recorded.
            acting_account(connection, environment.name, signer, lock=True)
            fresh = base.get_one(connection, Authorization, authorization.id, lock=True)
            if not fresh.is_undecided(now):
                return fresh
            lock_subject(connection, environment.name, signer.thumbprint, proved.workload, now)
            claim_evidence(connection, environment.name, proved.proof, proved.workload, signer.thumbprint, now)
            binding = _binding(environment, signer, proved, now)
            base.insert(connection, binding)
            _audit_proof(connection, environment, signer, binding, proved)
            for one in (fresh, *_siblings(connection, fresh)):
                if proved.grant.covers(one.name) and one.is_undecided(now):
                    _decide(connection, environment, one, binding, now)
    except AlreadyThereError as error:  # the same token was shown at the same moment
        raise Contended from error
    return fresh


def _binding(environment: Environment, signer: Signer, proved: Proved, now: datetime) -> Binding:
    return Binding.of(
        environment.name,
        proved.workload,
        claims=environment.kept_claims(proved.workload),
        grant=proved.grant.document(),
        evidence_sha256=proved.proof.sha256,
        account_id=signer.account_id,
        account_jkt=signer.thumbprint,
        renewable=False,
        now=now,
        lifetime=timedelta(seconds=environment.settings.order_lifetime),
    )


def _siblings(connection: Connection, authorization: Authorization) -> list[Authorization]:
    """Return the other authorizations of the same order that are still undecided."""
    if authorization.group_id is None:
        return []
    statement = base.select(
        Authorization,
        AUTHORIZATIONS.c.group_id == authorization.group_id,
        AUTHORIZATIONS.c.account_id == authorization.account_id,
        AUTHORIZATIONS.c.id != authorization.id,
        AUTHORIZATIONS.c.status == AuthorizationStatus.PENDING.value,
    )
    return base.find(connection, Authorization, statement.with_for_update())


def _decide(
    connection: Connection, environment: Environment, authorization: Authorization, binding: Binding, now: datetime
) -> None:
    authorization.prove_by(binding, now)
    base.update(connection, authorization)
    audit.authorized(connection, authorization)
    metrics.VALIDATIONS.labels(environment.name, WORKLOAD_CHALLENGE, authorization.status).inc()


def _audit_proof(
    connection: Connection, environment: Environment, signer: Signer, binding: Binding, proved: Proved
) -> None:
    audit.record(
        connection,
        environment.name,
        "workload.proved",
        binding.id,
        account_id=signer.account_id,
        provider=binding.provider,
        workload=binding.subject,
        mode=binding.mode,
        rule=f"{binding.rule}@{binding.policy_version}",
        evidence=binding.evidence_sha256.hex(),
        checks=list(proved.workload.checks),
    )


def _refuse(
    ca: Authority,
    environment: Environment,
    signer: Signer,
    authorization: Authorization,
    problem: Problem,
    now: datetime,
) -> None:
    """Make the challenge invalid, or count the try where the client may simply have been early or late."""
    with ca.database.write() as connection:
        fresh = base.get_one(connection, Authorization, authorization.id, lock=True)
        if problem.extra.get("workloadError") in REPEATABLE:
            fresh.count_proof(now, problem, MAX_TRIES)
        else:
            fresh.refuse_proof(now, problem)
        base.update(connection, fresh)
        audit.record(
            connection,
            environment.name,
            "workload.refused",
            authorization.id,
            account_id=signer.account_id,
            identifier=str(authorization.name),
            error=problem.document(),
        )
    metrics.VALIDATIONS.labels(environment.name, WORKLOAD_CHALLENGE, fresh.status).inc()
