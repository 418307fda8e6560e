"""Sub-CAs: an operator has the CSR of a mesh's CA signed under a named rule. RFC 5280 §4.2.

Claim, work, record, as for leafs: the serial is in the ledger before the key signs, and the certificate, the ledger's
line and the audit event are one durable transaction. `abandon_dead` gives up the serials of calls that died.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection

from acme_ca import baton, clock, metrics, public_keys
from acme_ca.authority import Authority, Environment
from acme_ca.config import SubCaRule
from acme_ca.models import base
from acme_ca.models import certificate as ledger
from acme_ca.models.base import new_id
from acme_ca.models.certificate import CERTIFICATES, SUB_CA, Certificate, CertificateStatus, serial_text
from acme_ca.pki import csr as requests
from acme_ca.pki import sub_ca_signing as pki
from acme_ca.pki.ca import name_below
from acme_ca.pki.csr import AuthorityCsr
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.signing import new_serial
from acme_ca.pki.sub_ca import SubCaRequest
from acme_ca.pki.sub_ca_lint import unsuitable
from acme_ca.problems import BadCsr, Conflict, Contended, Malformed, NotFound, Problem, ServiceUnavailable
from acme_ca.public_keys import spki_sha256
from acme_ca.services import audit, audit_lag, issuance

LEASE = timedelta(minutes=5)  # how long one signature may take; the key of an HSM that is away is waited for less
BACKDATE = timedelta(minutes=5)  # hosts of the mesh whose clock is behind accept it too
SHORTEST = timedelta(minutes=10)
VERSION = 16  # hexadecimal digits of a rule's digest: which words it had


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for: a CSR in DER signed under a rule, for so many seconds if not as long as it says."""

    csr: bytes
    rule: str
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be signed, and by whom."""

    environment: Environment
    issuer: Issuer
    rule: SubCaRule
    request: SubCaRequest

    @property
    def version(self) -> str:
        """Which words the rule has: a digest of them."""
        return sha256(self.rule.model_dump_json().encode()).hexdigest()[:VERSION]


def plan(ca: Authority, environment: Environment, wish: Wish) -> Plan:
    """Return what would be signed, after every check but the issuer's own signature: for a dry run, and before one.

    Raises BadCsr, Malformed, NotFound, Conflict when the issuer may not sign what the rule says, and
    ServiceUnavailable when it does not live long enough.
    """
    issuer, rule = _issuer(environment), _rule(environment, wish.rule)
    csr = requests.parse_authority(wish.csr)
    _check_csr(csr, rule)
    lifetime = _lifetime(rule, wish.lifetime)
    reason = unsuitable(issuer, rule.dns, rule.ip, rule.path_length)
    if name_below(issuer.certificate, rule.subject) == issuer.certificate.subject:
        reason = f"the common name {rule.subject!a} is the issuer's own"
    if reason is not None:
        raise Conflict(f"rule: issuer {issuer.id} cannot sign under {rule.name}: {reason}; make it another issuer")
    now = clock.now().replace(microsecond=0)
    if not issuer.can_sign(now, lifetime):
        ends = clock.rfc3339(issuer.ends_at)
        raise ServiceUnavailable(
            f"issuer {issuer.id} ends at {ends}, too early to sign for {lifetime}; ask for less, or renew it"
        )
    planned = Plan(environment, issuer, rule, _request(issuer, rule, csr, now, lifetime))
    with ca.database.read() as connection:
        _check_key(connection, planned)
    pki.rehearse(issuer, planned.request)
    return planned


def sign(ca: Authority, environment: Environment, wish: Wish, *, by: str) -> Certificate:
    """Have a CSR signed; return its line in the ledger. Raises what `plan` does."""
    audit_lag.require_kept_up(ca)
    planned = plan(ca, environment, wish)
    line = _claim(ca, planned, by, sha256(wish.csr).hexdigest())
    try:
        with baton.aside():
            certificate = pki.sign(planned.issuer, planned.request)
    except Problem as problem:
        _give_up(ca, line, problem)
        raise
    except Exception:
        _give_up(ca, line, ServiceUnavailable("the issuer could not sign"))
        raise
    _record(ca, planned, line, certificate, by)
    return line


def abandon_dead(ca: Authority) -> int:
    """Give up the serials whose call died before it had a certificate; return how many."""
    columns = CERTIFICATES.c
    claimed = base.select(
        Certificate,
        columns.account_id == SUB_CA,
        columns.status == CertificateStatus.CLAIMED.value,
        columns.created_at < clock.now() - LEASE,
    )
    with ca.database.read() as connection:
        dead = base.find(connection, Certificate, claimed)
    for line in dead:
        _give_up(ca, line, None)
    return len(dead)


def _issuer(environment: Environment) -> Issuer:
    if not environment.sub_cas:
        place = f"environment.{environment.name}.sub_ca"
        raise NotFound(f"environment {environment.name} signs no sub-CAs; [{place}] in the configuration says who does")
    issuer = environment.sub_cas[0]
    if not environment.trusts(issuer):
        raise Conflict(f"issuer {issuer.id} is distrusted (`acme-ca issuer distrusted`); configure another one")
    return issuer


def _rule(environment: Environment, name: str) -> SubCaRule:
    rules = () if environment.settings.sub_ca is None else environment.settings.sub_ca.rule
    found = next((rule for rule in rules if rule.name == name), None)
    if found is None:
        known = ", ".join(rule.name for rule in rules) or "none"
        raise Malformed(
            f"rule: environment {environment.name} has no rule {name[:64]!a} for sub-CAs; there are: {known}"
        )
    return found


def _lifetime(rule: SubCaRule, asked: int | None) -> timedelta:
    lifetime = timedelta(seconds=rule.lifetime if asked is None else asked)
    if not SHORTEST <= lifetime <= timedelta(seconds=rule.lifetime):
        allowed = f"{SHORTEST.total_seconds():.0f} to {rule.lifetime} seconds"
        raise Malformed(f"lifetime: rule {rule.name} allows {allowed}, not {lifetime.total_seconds():.0f}")
    return lifetime


def _check_csr(csr: AuthorityCsr, rule: SubCaRule) -> None:
    """Refuse a key of another kind, and names that the certificate would not have: its CA would look for them."""
    if csr.key_type not in rule.key_types:
        raise BadCsr(f"csr: rule {rule.name} takes {', '.join(rule.key_types)} keys, the CSR has {csr.key_type}")
    others = [name for name in csr.common_names if name != rule.subject]
    if others:
        raise BadCsr(
            f"csr: the common name is {others[0][:64]!a}; rule {rule.name} says {rule.subject!a}, or leave it out"
        )
    own = {*(f"uri:{uri}" for uri in rule.uris), *(f"dns:{name}" for name in rule.dns_names)}
    strange = sorted(set(csr.names) - own)
    if strange:
        allowed = ", ".join(sorted(own)) or "none"
        raise BadCsr(f"csr: it asks for the name {strange[0]}; rule {rule.name} gives the sub-CA itself: {allowed}")


def _request(issuer: Issuer, rule: SubCaRule, csr: AuthorityCsr, now: datetime, lifetime: timedelta) -> SubCaRequest:
    return SubCaRequest(
        common_name=rule.subject,
        dns_names=rule.dns_names,
        uris=rule.uris,
        permitted_dns=rule.dns,
        permitted_ips=rule.ip,
        path_length=rule.path_length,
        extended_key_usages=rule.extended_key_usages,
        public_key=csr.public_key,
        serial=new_serial(),
        not_before=max(now - BACKDATE, issuer.begins_at),
        not_after=now + lifetime,
    )


def _check_key(connection: Connection, planned: Plan) -> None:
    """Refuse a key that is blocked, that of a CA above, and one that does other work: a CA's key signs and no more."""
    key, above = planned.request.public_key, planned.issuer
    if ledger.is_blocked(connection, key):
        raise BadCsr("csr: the key is blocked, as compromised or by an operator; make a new one")
    if any(key == one.public_key() for one in (above.certificate, *above.chain, above.root)):
        raise BadCsr("csr: the key is that of a CA above; make a new one")
    columns = CERTIFICATES.c
    others = base.select(
        Certificate,
        columns.key_sha256 == spki_sha256(key),
        columns.status != CertificateStatus.ABANDONED.value,
        columns.profile != _profile(planned.rule),
    )
    for line in base.find(connection, Certificate, others.limit(1)):
        raise BadCsr(f"csr: the key is already that of certificate {line.serial} ({line.profile}); make a new one")


def _profile(rule: SubCaRule) -> str:
    """Return what the ledger has for a profile: no profile of the configuration can have the name."""
    return f"{SUB_CA}:{rule.name}"


def _claim(ca: Authority, planned: Plan, by: str, csr_sha256: str) -> Certificate:
    request, issuer, rule = planned.request, planned.issuer, planned.rule
    names = [f"dns:{zone}" for zone in (*rule.dns, *rule.dns_names)]
    names += [f"ip:{network}" for network in rule.ip]
    document = {"sub_ca": {"ordered_by": by, "csr_sha256": csr_sha256, "rule": rule.model_dump(mode="json")}}
    line = Certificate(
        serial=serial_text(request.serial),
        environment=planned.environment.name,
        account_id=SUB_CA,
        order_id=new_id(),
        issuer_id=issuer.id,
        authority_key_id=issuer.key_id,
        profile=_profile(rule),
        policy_version=planned.version,
        names=list(dict.fromkeys([*(f"uri:{uri}" for uri in request.uris), *names])),
        key_sha256=spki_sha256(request.public_key),
        not_before=request.not_before,
        not_after=request.not_after,
        created_at=clock.now(),
        key_type=public_keys.check(request.public_key),
        signature=issuer.signs_with,
        workload_rule=f"{rule.name}@{planned.version}",
        evidence=json.dumps(document, separators=(",", ":")).encode(),
    )
    with ca.database.write(durable=True) as connection:
        _check_key(connection, planned)
        ledger.add(connection, line)
    return line


def _record(ca: Authority, planned: Plan, line: Certificate, certificate: x509.Certificate, by: str) -> None:
    line.issue(certificate.public_bytes(Encoding.DER))
    with ca.database.write(durable=True) as connection:
        base.update(connection, line)  # raises Contended if it was abandoned in the meantime
        audit.record(
            connection,
            line.environment,
            "sub_ca.signed",
            line.id,
            by=by,
            serial=line.serial,
            names=line.names,
            rule=line.workload_rule,
            path_length=planned.request.path_length,
            issuer=line.issuer_id,
            issuer_key=line.authority_key_id.hex(),
            key_sha256=line.key_sha256.hex(),
            not_after=clock.rfc3339(line.not_after),
            tbs_sha256=sha256(certificate.tbs_certificate_bytes).hexdigest(),
        )
    metrics.CERTIFICATES_ISSUED.labels(line.environment, line.profile).inc()


def _give_up(ca: Authority, line: Certificate, problem: Problem | None) -> None:
    with suppress(Contended), ca.database.write() as connection:  # contended: somebody else gave it up
        issuance.abandon(connection, line, None if problem is None else problem.document())
