"""Authorizations: made ahead of an order, read, given up. RFC 8555 §7.4.1, §7.5, §7.5.2."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from acme_ca import clock, identifiers
from acme_ca.authority import Authority, Environment
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.account import Signer, acting_account, owned
from acme_ca.models.authorization import Authorization, pending_authorizations, reusable
from acme_ca.policy.petitions import Petition, decide
from acme_ca.problems import Malformed
from acme_ca.services import audit, audit_lag, pauses, rate_limits, refusals


def create(
    ca: Authority, environment: Environment, signer: Signer, identifier: tuple[str, str], address: str | None = None
) -> tuple[Authorization, bool]:
    """Return an authorization for one name, and whether it is new: a valid or pending one is given again. §7.4.1.

    A new one counts as an order does; `address` is the client's IP address. What policy refuses is told in the audit.
    """
    audit_lag.require_kept_up(ca)
    name = identifiers.parse(*identifier)
    if name.wildcard:
        raise Malformed(f"newAuthz cannot authorize a wildcard; order a certificate for {name.value} instead (§7.4.1)")
    with refusals.told(
        ca, environment.name, signer.account_id, "authorization.refused", signer.account_id, names=[str(name)]
    ):
        return _create(ca, environment, signer, name, address)


def _create(
    ca: Authority, environment: Environment, signer: Signer, name: Identifier, address: str | None
) -> tuple[Authorization, bool]:
    now = clock.now()
    bound = ca.bound(environment, signer.account_id, now)
    with ca.database.write() as connection:
        account = acting_account(connection, environment.name, signer)
        if account.paused:
            pauses.require_none(connection, account, (name,), now)
        binding, grant = (None, None) if bound is None else (bound.binding, bound.grant)
        covered = frozenset(() if bound is None else bound.covered((name,)))
        # What a workload proves is good for the order that it is proved for: it cannot be done ahead.
        petition = Petition(environment.applicant(account, binding, grant), (name,), covered, grant, may_prove=False)
        challenges = decide(environment.policy, environment.terms, petition).challenges
        if (held := _held(connection, environment, account.id, name, challenges, now)) is not None:
            return held, False
        authorization = Authorization(
            environment=environment.name,
            account_id=account.id,
            identifier_type=name.type,
            identifier=name.value,
            challenges=list(challenges[name]),
            created_at=now,
            expires_at=now + timedelta(seconds=environment.settings.pending_lifetime),
        )
        if bound is not None and covered:
            authorization.prove_by(bound.binding, now)
        base.insert(connection, authorization)
        rate_limits.count_order(connection, environment, account.id, (str(name),), address, now)
        if authorization.binding_id is not None:
            audit.authorized(connection, authorization)
    return authorization, True


def _held(
    connection: Connection,
    environment: Environment,
    account_id: str,
    name: Identifier,
    challenges: Mapping[Identifier, Sequence[str]],
    now: datetime,
) -> Authorization | None:
    """Return an authorization that the account has already: valid, or pending with the challenges of now."""
    valid = reusable(connection, account_id, challenges, now) if environment.reuses else {}
    if name in valid:
        return valid[name]
    pending = pending_authorizations(connection, account_id, name, now)
    return next((one for one in pending if one.challenges == list(challenges[name])), None)


def get(ca: Authority, environment: Environment, signer: Signer, authorization_id: str) -> Authorization:
    """Return one of the signer's authorizations."""
    with ca.database.read() as connection:
        return _own(connection, environment, signer, authorization_id)


def deactivate(ca: Authority, environment: Environment, signer: Signer, authorization_id: str) -> Authorization:
    """Give an authorization up; it never comes back. §7.5.2."""
    with ca.database.write() as connection:
        authorization = _own(connection, environment, signer, authorization_id, lock=True)
        authorization.deactivate(clock.now())
        base.update(connection, authorization)
        audit.record(
            connection, environment.name, "authorization.deactivated", authorization.id, account_id=signer.account_id
        )
    return authorization


def _own(
    connection: Connection, environment: Environment, signer: Signer, authorization_id: str, *, lock: bool = False
) -> Authorization:
    acting_account(connection, environment.name, signer)
    return owned(connection, Authorization, environment.name, signer.account_id, authorization_id, lock=lock)
