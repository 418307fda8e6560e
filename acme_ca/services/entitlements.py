"""What finalize checks before a serial is claimed: whose proofs they are, which names and which key they entitle to."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection

from acme_ca.authority import Environment
from acme_ca.jose import thumbprint_of
from acme_ca.models import base
from acme_ca.models.account import Account
from acme_ca.models.authorization import Authorization
from acme_ca.models.binding import Binding, live_binding
from acme_ca.models.certificate import is_blocked
from acme_ca.models.order import Order
from acme_ca.pki.csr import Csr
from acme_ca.policy.engine import Applicant, Decision
from acme_ca.policy.grants import Grant
from acme_ca.policy.petitions import Petition
from acme_ca.problems import BadCsr, OrderNotReady, Problem


def proved_workload(
    connection: Connection, environment: Environment, authorizations: Sequence[Authorization], now: datetime
) -> tuple[Binding | None, Grant | None]:
    """Return the workload that proved names of the order, and what policy grants it now; raises binding_expired."""
    bindings = {authorization.binding_id for authorization in authorizations if authorization.binding_id is not None}
    if not bindings:
        return None, None
    if len(bindings) > 1:
        raise OrderNotReady("the names of the order were proved by different proofs; order anew and prove them at once")
    binding = base.get_one(connection, Binding, bindings.pop())
    binding.require_live(now)
    grant = environment.grant(binding)
    for authorization in authorizations:
        if authorization.binding_id is not None:
            grant.require_covers(authorization.name, binding.subject)
    return binding, grant


def applicant(
    connection: Connection,
    environment: Environment,
    account: Account,
    order: Order,
    csr: Csr,
    proved: tuple[Binding | None, Grant | None],
    now: datetime,
) -> Applicant:
    """Return what policy sees of the account: its workload too, where rules ask for it and the order does not say."""
    binding, grant = proved
    if grant is None and environment.providers and environment.looks_at_workloads:
        binding = live_binding(connection, account.id, now)
        with suppress(Problem):  # whose rule is gone has no workload any more
            grant = None if binding is None else environment.grant(binding)
    return environment.applicant(account, binding, grant, profile=order.requested_profile, key_type=csr.key_type)


def petition(
    applicant: Applicant, order: Order, authorizations: Sequence[Authorization], csr: Csr, grant: Grant | None
) -> Petition:
    """Return what policy is asked: the whole order, its proofs, and what the CSR has."""
    return Petition(
        applicant=applicant,
        names=order.names,
        covered=frozenset(found.name for found in authorizations if found.binding_id is not None),
        grant=grant,
        requested=order.requested_profile,
        uris=csr.uris,
        proofs={found.name: found.challenge for found in authorizations},
        lifetime=order.wanted_lifetime,
    )


def check_key(
    connection: Connection, environment: Environment, decision: Decision, account: Account, order: Order, csr: Csr
) -> None:
    """Refuse keys that profile or policy do not allow, the account's own (§11.1), and compromised ones."""
    allowed = environment.profiles[order.profile].key_types
    if csr.key_type not in allowed:
        raise BadCsr(f"profile {order.profile} takes {', '.join(allowed)} keys, the CSR has {csr.key_type}")
    environment.policy.check_key(decision, csr.key_type)
    if thumbprint_of(csr.public_key) == account.thumbprint:
        raise BadCsr("the CSR has the account's own key; a certificate needs a key of its own (RFC 8555 §11.1)")
    if is_blocked(connection, csr.public_key):
        raise BadCsr("the key was reported compromised; make a new one")
