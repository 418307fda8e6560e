"""Operators whom an OpenID Connect issuer signs in: who they are stands in their token, and is kept nowhere."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from acme_ca import baton, clock
from acme_ca.authority import Authority
from acme_ca.config import OidcIssuer
from acme_ca.models.admin import Operator
from acme_ca.services import audit
from acme_ca.workload.base import Expected, Proof, Workload
from acme_ca.workload.identify import asking

REMEMBERED = 1000  # tokens of which this process remembers that it audited their use

_audited: OrderedDict[bytes, None] = OrderedDict()


def operator(ca: Authority, token: str) -> Operator | None:
    """Return whom a token signs in, None when nobody trusted made it, or it tells no group of operators.

    Raises what the token is refused with, and provider_unavailable. Asks the network: hold no transaction.
    """
    listener = ca.config.listener.admin
    proof = Proof("jwt", token)
    for issuer in () if listener is None else listener.oidc:
        provider = issuer.provider()
        if provider.claims_proof(proof):
            with baton.aside(), asking(provider):
                workload = provider.verify(proof, Expected(issuer.audience, "", None), clock.now())
            found = _grouped(issuer, workload)
            if found is not None:
                _audit_once(ca, proof.sha256, found)
            return found
    return None


def _grouped(issuer: OidcIssuer, workload: Workload) -> Operator | None:
    value = _at(workload.claims, issuer.claim)
    values = value if isinstance(value, list) else [value]
    for group in issuer.group:
        if group.value in values:
            return Operator(f"oidc:{issuer.name}:{workload.subject}", group.role, group.environments)
    return None


def _at(claims: Mapping[str, Any], path: str) -> object:
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _audit_once(ca: Authority, token: bytes, found: Operator) -> None:
    """Record the first use of a token in this process."""
    if token in _audited:
        return
    with ca.database.write() as connection:
        audit.record(connection, audit.EVERYWHERE, "admin.signed_in", found.by, by=found.by, credential="oidc")
    _audited[token] = None
    while len(_audited) > REMEMBERED:
        _audited.popitem(last=False)
