"""Authorizations: made ahead of an order, read, given up. RFC 8555 §7.4.1, §7.5, §7.5.2."""

from datetime import timedelta

from sqlalchemy import Connection

from acme_ca import clock, identifiers
from acme_ca.authority import Authority, Environment
from acme_ca.models import base
from acme_ca.models.account import Signer, acting_account, owned
from acme_ca.models.authorization import Authorization, reusable
from acme_ca.policy.petitions import Petition, decide
from acme_ca.problems import Malformed
from acme_ca.services import audit


def create(
    ca: Authority, environment: Environment, signer: Signer, identifier: tuple[str, str]
) -> tuple[Authorization, bool]:
    """Return an authorization for one name, and whether it is new: a valid one is given again. §7.4.1."""
    name = identifiers.parse(*identifier)
    if name.wildcard:
        raise Malformed(f"newAuthz cannot authorize a wildcard; order a certificate for {name.value} instead (§7.4.1)")
    now = clock.now()
    bound = ca.bound(environment, signer.account_id, now)
    with ca.database.write() as connection:
        account = acting_account(connection, environment.name, signer)
        binding, grant = (None, None) if bound is None else (bound.binding, bound.grant)
        covered = frozenset(() if bound is None else bound.covered((name,)))
        # What a workload proves is good for the order that it is proved for: it cannot be done ahead.
        petition = Petition(environment.applicant(account, binding, grant), (name,), covered, grant, may_prove=False)
        decision = decide(environment.policy, environment.terms, petition)
        held = reusable(connection, account.id, decision.challenges, now) if environment.reuses else {}
        if name in held:
            return held[name], False
        authorization = Authorization(
            environment=environment.name,
            account_id=account.id,
            identifier_type=name.type,
            identifier=name.value,
            challenges=list(decision.challenges[name]),
            created_at=now,
            expires_at=now + timedelta(seconds=environment.settings.pending_lifetime),
        )
        if bound is not None and covered:
            authorization.prove_by(bound.binding, now)
        base.insert(connection, authorization)
        if authorization.binding_id is not None:
            audit.authorized(connection, authorization)
    return authorization, True


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
