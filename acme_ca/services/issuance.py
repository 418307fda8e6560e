"""Issuance: a ready order and a CSR become one certificate. RFC 8555 §7.4.

Claim, work, record: the order and a serial in the ledger are claimed in one transaction, the key signs with none
open, and the certificate is recorded durably before anybody sees it. A claim whose process died is taken over by
`resume_due`: its serial is abandoned for good, the order is issued under a new one.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select

from acme_ca import baton, clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.challenges import caa
from acme_ca.challenges.base import Unanswered
from acme_ca.models import base, evidence
from acme_ca.models import certificate as ledger
from acme_ca.models.account import Account, Signer, acting_account, owned
from acme_ca.models.audit_event import SYSTEM
from acme_ca.models.authorization import Authorization
from acme_ca.models.binding import Binding
from acme_ca.models.certificate import Certificate, CertificateStatus, by_serial, serial_text
from acme_ca.models.order import ORDERS, Order, OrderStatus, OrderView, authorizations_of
from acme_ca.pki import ari
from acme_ca.pki import csr as requests
from acme_ca.pki.csr import Csr
from acme_ca.pki.issuer import Issuer, new_serial
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.validity import validity
from acme_ca.policy.grants import Grant
from acme_ca.problems import Contended, NotFound, Problem, ServiceUnavailable, Unauthorized
from acme_ca.public_keys import spki_sha256
from acme_ca.services import audit, audit_lag, entitlements, refusals

LEASE = timedelta(seconds=30)  # how long one issuance may take before another process takes it over
CAA_FRESH = timedelta(hours=8)  # RFC 8659 checks older than this are repeated
DUE_BATCH = 16
ID_SHOWN = 64  # characters of an order's identifier, which a client may make up

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """An order claimed for issuance and its line in the ledger, as they were committed, and what is to be signed.

    Whoever takes the claim over abandons the line first, so that nobody else can record it any more.
    """

    environment: Environment
    order: Order
    line: Certificate
    issuer: Issuer
    leaf: LeafRequest
    stale_caa: tuple[tuple[str, str], ...]  # authorization id and the challenge type that proved it


def finalize(ca: Authority, environment: Environment, signer: Signer, order_id: str, csr_der: bytes) -> OrderView:
    """Issue the certificate of a ready order; asked again with the same CSR, answer how the order stands.

    Raises OrderNotReady, BadCsr and policy's refusals, which leave the order as it was; Caa, which ends it; and
    ServiceUnavailable for passing trouble, after which the order is ready again.
    """
    audit_lag.require_kept_up(ca)
    csr = requests.parse(csr_der)  # what is no CSR at all is no decision, and not told
    with refusals.told(ca, environment.name, signer.account_id, "certificate.refused", order_id[:ID_SHOWN]):
        claimed = _claimed(ca, environment, signer, order_id, csr_der, csr)
    return claimed if isinstance(claimed, OrderView) else _issue(ca, claimed)


def _claimed(
    ca: Authority, environment: Environment, signer: Signer, order_id: str, csr_der: bytes, csr: Csr
) -> Claim | OrderView:
    """Claim the order for issuance; of one that was claimed with the same CSR before, return how it stands."""
    with ca.database.write() as connection:
        account = acting_account(connection, environment.name, signer)
        order = owned(connection, Order, environment.name, account.id, order_id, lock=True)
        authorizations = authorizations_of(connection, order)
        if order.status in (OrderStatus.PROCESSING, OrderStatus.VALID) and order.csr == csr_der:
            return order.view(clock.now(), authorizations)
        _start(ca, order, authorizations, csr_der)
        return _claim(connection, environment, account, order, authorizations, csr)


def certificate(ca: Authority, environment: Environment, signer: Signer, certificate_id: str) -> tuple[bytes, Issuer]:
    """Return one of the signer's certificates in DER, and its issuer. §7.4.2."""
    with ca.database.read() as connection:
        acting_account(connection, environment.name, signer)
        line = base.get(connection, Certificate, certificate_id)
    if line is None or line.environment != environment.name or line.der is None:
        raise NotFound(f"there is no certificate {certificate_id}")
    if line.account_id != signer.account_id:
        raise Unauthorized(f"certificate {certificate_id} belongs to another account")
    issuer = next((issuer for issuer in environment.generations if issuer.id == line.issuer_id), None)
    if issuer is None:
        raise NotFound(f"issuer {line.issuer_id} of certificate {certificate_id} is retired; order a new certificate")
    return line.der, issuer


def resume_due(ca: Authority) -> int:
    """Take over the issuances whose process died; return how many were."""
    due_now = select(ORDERS.c.id).where(ORDERS.c.due_at <= clock.now(), ORDERS.c.environment.in_(ca.environments))
    with ca.database.read() as connection:
        due = connection.scalars(due_now.limit(DUE_BATCH)).all()
    for order_id in due:
        claim = _claim_again(ca, order_id)
        if claim is not None:
            try:
                _issue(ca, claim)
            except Problem as problem:
                log.warning("issuance.resumed_in_vain", order_id=order_id, detail=problem.detail)
    return len(due)


def abandon(
    connection: Connection,
    line: Certificate,
    error: Mapping[str, Any] | None = None,
    *,
    by: str = SYSTEM,
    **details: str,
) -> None:
    """Give a serial up for good: whoever signs it cannot record it, and the order goes on under another one.

    `error` is the problem document of what went wrong, unless the process died.
    """
    line.abandon()
    base.update(connection, line)
    audit.record(
        connection,
        line.environment,
        "certificate.abandoned",
        line.id,
        account_id=line.owner,
        by=by,
        order=line.order_id,
        serial=line.serial,
        error=error,
        **details,
    )


def _start(ca: Authority, order: Order, authorizations: Sequence[Authorization], csr_der: bytes) -> None:
    now = clock.now()
    order.start_processing(now, authorizations, csr_der, now + LEASE, ca.processes.own)


def _claim(
    connection: Connection,
    environment: Environment,
    account: Account,
    order: Order,
    authorizations: Sequence[Authorization],
    csr: Csr,
) -> Claim:
    """Save the order's claim and claim a serial, after every check that decides whether this certificate may be."""
    now = clock.now()
    binding, grant = entitlements.proved_workload(connection, environment, authorizations, now)
    applicant = entitlements.applicant(connection, environment, account, order, csr, (binding, grant), now)
    entitlement = environment.entitle(entitlements.petition(applicant, order, authorizations, csr, grant))
    order.profile, decision, uris = entitlement.profile, entitlement.decision, entitlement.uris
    profile = environment.profiles[order.profile]
    names = tuple(name for name in order.names if name.type != "uri")
    requests.check_names(csr, names, uris)
    entitlements.check_key(connection, environment, decision, account, order, csr)
    not_before, not_after = validity(
        profile, now, decision.max_lifetime, order.not_before, order.not_after, asked_at=order.created_at
    )
    issuer = environment.issuer(now, not_after - now, profile)
    leaf = LeafRequest(
        identifiers=names,
        uris=uris,
        public_key=csr.public_key,
        profile=profile,
        serial=new_serial(),
        not_before=not_before,
        not_after=not_after,
    )
    line = _ledger_line(environment, order, issuer, leaf, binding, grant, now)
    line.eab_kid, line.evidence = account.eab_kid, evidence.pack(order, authorizations, decision.rules)
    line.key_type = csr.key_type
    ledger.add(connection, line)
    base.update(connection, order)
    stale_caa = tuple(
        (authorization.id, authorization.challenge or "")
        for authorization in authorizations
        if (authorization.caa_checked_at or authorization.created_at) <= now - CAA_FRESH
    )
    return Claim(environment=environment, order=order, line=line, issuer=issuer, leaf=leaf, stale_caa=stale_caa)


def _ledger_line(
    environment: Environment,
    order: Order,
    issuer: Issuer,
    leaf: LeafRequest,
    binding: Binding | None,
    grant: Grant | None,
    now: datetime,
) -> Certificate:
    return Certificate(
        serial=serial_text(leaf.serial),
        environment=environment.name,
        account_id=order.account_id,
        order_id=order.id,
        issuer_id=issuer.id,
        authority_key_id=issuer.key_id,
        profile=order.profile,
        policy_version=environment.policy.version,
        names=[*(f"uri:{uri}" for uri in leaf.uris), *(str(name) for name in leaf.identifiers)],
        key_sha256=spki_sha256(leaf.public_key),
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        created_at=now,
        binding_id=binding.id if binding is not None else None,
        workload_rule=f"{grant.rule}@{grant.policy_version}" if grant is not None else None,
        crl_shard=issuer.shard_of(leaf.serial),
        ocsp_due_at=now if issuer.ocsp_url is not None and leaf.profile.revocation == "crl" else None,
        workload_provider=binding.provider if binding is not None else None,
        workload_subject=binding.subject if binding is not None else None,
        replaces=serial_text(ari.parse(order.replaces).serial) if order.replaces is not None else None,
        signature=issuer.signs_with,
    )


def _claim_again(ca: Authority, order_id: str) -> Claim | None:
    """Claim an order whose issuance died, under a new serial; None when there is nothing more to do."""
    environments = ca.environments  # which may ask the database for the policies: not in the transaction
    with ca.database.write() as connection:
        now = clock.now()
        order = base.get(connection, Order, order_id, lock=True)
        if order is None or order.due_at is None or order.due_at > now or order.environment not in environments:
            return None
        csr_der, environment = order.csr or b"", environments[order.environment]
        _abandon_all(connection, order)
        order.release()
        base.update(connection, order)
        account = base.get_one(connection, Account, order.account_id)
        authorizations = authorizations_of(connection, order)
        try:
            account.require_valid()
            _start(ca, order, authorizations, csr_der)
            return _claim(connection, environment, account, order, authorizations, requests.parse(csr_der))
        except ServiceUnavailable:
            return None  # the order is released: its client may finalize again
        except Problem as problem:
            order.refuse(problem)
            base.update(connection, order)
            return None


def _issue(ca: Authority, claim: Claim) -> OrderView:
    """Sign what was claimed and record it; passing trouble releases the claim."""
    started = perf_counter()
    try:
        _repeat_caa(ca, claim)
        certificate = claim.issuer.issue(claim.leaf)
    except Problem as problem:
        _give_up(ca, claim, problem)
        raise
    except Exception:
        _give_up(ca, claim, ServiceUnavailable("the issuer could not sign"))
        raise
    metrics.ISSUANCE_SECONDS.labels(claim.environment.name).observe(perf_counter() - started)
    return _record(ca, claim, certificate)


def _record(ca: Authority, claim: Claim, certificate: x509.Certificate) -> OrderView:
    order, line = claim.order, claim.line
    line.issue(certificate.public_bytes(Encoding.DER))
    order.complete(line.id)
    with ca.database.write(durable=True) as connection:
        base.update(connection, line)  # raises Contended if we were so slow that the claim was taken over
        base.update(connection, order)
        if order.replaces is not None:
            _mark_replaced(connection, order)
        audit.record(
            connection,
            order.environment,
            "certificate.issued",
            line.id,
            account_id=order.account_id,
            order=order.id,
            serial=line.serial,
            names=line.names,
            profile=line.profile,
            issuer=line.issuer_id,
            issuer_key=line.authority_key_id.hex(),
            tbs_sha256=sha256(certificate.tbs_certificate_bytes).hexdigest(),
            policy=line.policy_version,
            binding=line.binding_id,
            workload_rule=line.workload_rule,
        )
    metrics.CERTIFICATES_ISSUED.labels(order.environment, line.profile).inc()
    return order.view(clock.now(), ())


def _mark_replaced(connection: Connection, order: Order) -> None:
    """Remember which order replaced the certificate; the first one counts. RFC 9773 §5."""
    replaced = ari.parse(order.replaces or "")
    line = by_serial(connection, order.environment, replaced.serial, lock=True)
    if line is not None and line.replaced_by is None:
        line.replaced_by = order.id
        base.update(connection, line)


def _give_up(ca: Authority, claim: Claim, problem: Problem) -> None:
    """Abandon the serial; release the order after passing trouble, end it after a refusal."""
    with suppress(Contended), ca.database.write() as connection:  # contended: the claim was taken over
        abandon(connection, claim.line, problem.document())
        if isinstance(problem, ServiceUnavailable):
            claim.order.release()
        else:
            claim.order.fail(problem)
        base.update(connection, claim.order)


def _abandon_all(connection: Connection, order: Order) -> None:
    columns = Certificate.table.c
    claimed = base.select(Certificate, columns.order_id == order.id, columns.status == CertificateStatus.CLAIMED.value)
    for line in base.find(connection, Certificate, claimed):
        abandon(connection, line)


def _repeat_caa(ca: Authority, claim: Claim) -> None:
    """Look at CAA again for every name whose last look is too old. RFC 8659."""
    settings = claim.environment.settings
    account_url = claim.environment.account_url(claim.order.account_id)
    for authorization_id, challenge in claim.stale_caa:
        with ca.database.read() as connection:
            name = base.get_one(connection, Authorization, authorization_id).name
        try:
            with baton.aside():
                caa.check(settings.validation, name, challenge, account_url, settings.caa_identities)
        except Unanswered as silence:
            raise ServiceUnavailable(f"CAA for {name.value}: {silence.problem.detail}") from silence
        with ca.database.write() as connection:
            authorization = base.get_one(connection, Authorization, authorization_id)
            authorization.caa_checked_at = clock.now()
            base.update(connection, authorization)
