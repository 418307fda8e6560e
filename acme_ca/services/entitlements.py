"""What finalize checks before a serial is claimed: whose proofs they are, which names and which key they entitle to."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection

from acme_ca.authority import Environment
from acme_ca.jose import jwk_from_public_key
from acme_ca.models import base
from acme_ca.models.account import Account
from acme_ca.models.authorization import Authorization
from acme_ca.models.binding import Binding, live_binding
from acme_ca.models.certificate import is_blocked
from acme_ca.models.order import Order
from acme_ca.pki.csr import Csr
from acme_ca.pki.profile import Profile
from acme_ca.policy.engine import Applicant, Decision
from acme_ca.policy.grants import Grant
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
    if grant is None and environment.providers and environment.policy.is_about_workloads:
        binding = live_binding(connection, account.id, now)
        with suppress(Problem):  # whose rule is gone has no workload any more
            grant = None if binding is None else environment.grant(binding)
    return environment.applicant(account, binding, grant, profile=order.requested_profile, key_type=csr.key_type)


def wanted_uris(order: Order, csr: Csr, grant: Grant | None) -> tuple[str, ...]:
    """Return the SPIFFE ID that the order names, or else the CSR, if policy grants just that one; at most one."""
    ordered = [name.value for name in order.names if name.type == "uri"]
    granted = [uri for uri in csr.uris if grant is not None and grant.allows_uri(uri)]
    return tuple(ordered or granted[:1])


def added_uris(profile: Profile, grant: Grant | None) -> tuple[str, ...]:
    """Return the SPIFFE ID that the rule always adds, where the profile carries one."""
    if grant is None or grant.add != "always" or grant.spiffe_id is None or not profile.may_carry_uri:
        return ()
    return (grant.spiffe_id,)


def check_proofs(decision: Decision, authorizations: Sequence[Authorization]) -> None:
    """Refuse a name that was proved by a challenge type which policy, configured anew, does not allow for it."""
    for authorization in authorizations:
        if authorization.challenge not in decision.challenges[authorization.name]:
            raise OrderNotReady(
                f"{authorization.name} was proved by {authorization.challenge}, which is no longer allowed for it; "
                "order the certificate anew"
            )


def check_key(
    connection: Connection, environment: Environment, decision: Decision, account: Account, order: Order, csr: Csr
) -> None:
    """Refuse keys that profile or policy do not allow, the account's own (§11.1), and compromised ones."""
    allowed = environment.profiles[order.profile].key_types
    if csr.key_type not in allowed:
        raise BadCsr(f"profile {order.profile} takes {', '.join(allowed)} keys, the CSR has {csr.key_type}")
    environment.policy.check_key(decision, csr.key_type)
    if jwk_from_public_key(csr.public_key).thumbprint == account.thumbprint:
        raise BadCsr("the CSR has the account's own key; a certificate needs a key of its own (RFC 8555 §11.1)")
    if is_blocked(connection, csr.public_key):
        raise BadCsr("the key was reported compromised; make a new one")
