"""Operators: enrolled, changed, given certificates and tokens. Every change is in force at their next call."""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select

from acme_ca import clock, issuer_keys
from acme_ca.authority import Authority
from acme_ca.config import AdminListener
from acme_ca.db import AlreadyThereError
from acme_ca.keys.base import KeyUnavailableError
from acme_ca.models import base
from acme_ca.models.admin import (
    ADMIN_CERTIFICATES,
    ADMIN_TOKENS,
    ADMINS,
    PERMISSIONS,
    Admin,
    AdminCertificate,
    AdminToken,
    Operator,
)
from acme_ca.pki import admin_leaf
from acme_ca.pki.csr import DECODING_ERRORS
from acme_ca.problems import BadCsr, Conflict, Malformed, NotFound, ServiceUnavailable, Unauthorized
from acme_ca.public_keys import PublicKey
from acme_ca.services import audit
from acme_ca.vocabulary import Role

BACKDATE = timedelta(minutes=1)  # hosts whose clock is behind accept a new certificate too
LONGEST_TOKEN = timedelta(days=366)
SECRET_SIZE = 32  # bytes
TOKEN_PREFIX = "acme-ca_"  # noqa: S105 - by which scanners of repositories find lost tokens
SEEN_EVERY = timedelta(minutes=10)  # how often the use of a credential is written down

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator shall be. No environments: all of them."""

    role: Role
    environments: tuple[str, ...] = ()
    note: str | None = None
    disabled: bool = False


def create(ca: Authority, name: str, wanted: Wanted, *, by: str) -> Admin:
    """Enroll an operator; raises Conflict for a name that is taken, Malformed for an unknown environment."""
    _require_known(ca, wanted.environments)
    now = clock.now()
    admin = Admin(
        name=name,
        role=wanted.role.value,
        environments=list(wanted.environments),
        note=wanted.note,
        created_at=now,
        disabled_at=now if wanted.disabled else None,
    )
    try:
        with ca.database.write(durable=True) as connection:
            base.insert(connection, admin)
            _audit(connection, "admin.created", name, by, role=admin.role, environments=admin.environments)
    except AlreadyThereError as error:
        raise Conflict(f"there is an operator {name} already; change that one") from error
    return admin


def change(
    ca: Authority, name: str, wanted: Wanted, *, by: str, require: Callable[[Admin], None] | None = None
) -> Admin:
    """Make an operator what is wanted; raises NotFound, Malformed, and what `require` raises.

    `require` is given the operator as it is, in the transaction of the change.
    """
    _require_known(ca, wanted.environments)
    now = clock.now()
    with ca.database.write(durable=True) as connection:
        admin = _get(connection, name, lock=True)
        if require is not None:
            require(admin)
        disabled_at = (admin.disabled_at or now) if wanted.disabled else None
        admin.change(wanted.role, list(wanted.environments), wanted.note, disabled_at)
        base.update(connection, admin)
        _audit(
            connection,
            "admin.changed",
            name,
            by,
            role=admin.role,
            environments=admin.environments,
            disabled=wanted.disabled,
        )
    return admin


def get(ca: Authority, name: str) -> Admin:
    """Return an operator; raises NotFound."""
    with ca.database.read() as connection:
        return _get(connection, name)


def page(ca: Authority, after: str | None, limit: int) -> tuple[list[Admin], str | None]:
    """Return operators by name, and after which one the next page begins."""
    statement = base.select(Admin).order_by(ADMINS.c.name).limit(limit + 1)
    if after is not None:
        statement = statement.where(ADMINS.c.name > after)
    with ca.database.read() as connection:
        found = base.find(connection, Admin, statement)
    return found[:limit], found[limit - 1].name if len(found) > limit else None


def certify(ca: Authority, name: str, csr_der: bytes, *, by: str) -> tuple[AdminCertificate, bytes]:
    """Issue an operator's certificate for the key of a CSR; return it in DER too.

    Raises NotFound, BadCsr, BadPublicKey, and ServiceUnavailable when the issuer of such certificates cannot sign.
    """
    settings = ca.config.listener.admin
    if settings is None:
        raise NotFound("there is no [listener.admin] in the configuration, whose issuer signs such certificates")
    key = _key_of(csr_der)
    get(ca, name)
    now = clock.now()
    certificate = _signed(ca, settings, key, name, now)
    line = AdminCertificate(
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        admin=name,
        created_at=now,
        not_after=certificate.not_valid_after_utc,
    )
    with ca.database.write(durable=True) as connection:
        base.insert(connection, line)
        _audit(connection, "admin.certified", name, by, fingerprint=line.fingerprint)
    return line, certificate.public_bytes(Encoding.DER)


def revoke_certificate(ca: Authority, name: str, fingerprint: str, *, by: str) -> AdminCertificate:
    """Let a certificate sign nobody in any more; raises NotFound."""
    now = clock.now()
    with ca.database.write(durable=True) as connection:
        line = base.get(connection, AdminCertificate, fingerprint, lock=True)
        if line is None or line.admin != name:
            raise NotFound(f"operator {name} has no certificate {fingerprint}")
        if line.revoked_at is None:
            line.revoked_at = now
            base.update(connection, line)
            _audit(connection, "admin.certificate_revoked", name, by, fingerprint=fingerprint)
    return line


def make_token(
    ca: Authority, name: str, label: str, wanted: Wanted, lifetime: timedelta, *, by: Operator
) -> tuple[AdminToken, str]:
    """Make an API token for an operator; return it and what it is, which nobody can tell again.

    Raises NotFound, Malformed for a lifetime over a year, Unauthorized for more than its owner may do.
    """
    _require_known(ca, wanted.environments)
    if not timedelta() < lifetime <= LONGEST_TOKEN:
        raise Malformed(f"a token lives for {LONGEST_TOKEN.days} days at most, and longer than not at all")
    owner = get(ca, name)
    if not PERMISSIONS[wanted.role] <= PERMISSIONS[Role(owner.role)]:
        raise Unauthorized(f"operator {name} is {owner.role}; no token of theirs can be {wanted.role.value}")
    now = clock.now()
    secret = secrets.token_urlsafe(SECRET_SIZE)
    token = AdminToken(
        admin=name,
        label=label,
        digest=_digest(secret),
        role=wanted.role.value,
        environments=list(wanted.environments),
        created_at=now,
        expires_at=now + lifetime,
    )
    with ca.database.write(durable=True) as connection:
        base.insert(connection, token)
        _audit(connection, "admin.token_made", name, by.by, token=token.id, role=token.role)
    return token, f"{TOKEN_PREFIX}{token.id}_{secret}"


def revoke_token(ca: Authority, name: str, token_id: str, *, by: str) -> AdminToken:
    """Let a token sign nobody in any more; raises NotFound."""
    now = clock.now()
    with ca.database.write(durable=True) as connection:
        token = base.get(connection, AdminToken, token_id, lock=True)
        if token is None or token.admin != name:
            raise NotFound(f"operator {name} has no token {token_id}")
        if token.revoked_at is None:
            token.revoked_at = now
            base.update(connection, token)
            _audit(connection, "admin.token_revoked", name, by, token=token_id)
    return token


def credentials(ca: Authority, name: str) -> tuple[list[AdminCertificate], list[AdminToken]]:
    """Return what an operator signs in with, newest first; raises NotFound."""
    certificates = base.select(AdminCertificate, ADMIN_CERTIFICATES.c.admin == name)
    tokens = base.select(AdminToken, ADMIN_TOKENS.c.admin == name)
    with ca.database.read() as connection:
        _get(connection, name)
        return (
            base.find(connection, AdminCertificate, certificates.order_by(ADMIN_CERTIFICATES.c.created_at.desc())),
            base.find(connection, AdminToken, tokens.order_by(ADMIN_TOKENS.c.created_at.desc())),
        )


def by_certificate(ca: Authority, der: bytes) -> Operator | None:
    """Return who signs in with a certificate whose key the TLS handshake proved."""
    now = clock.now()
    with ca.database.read() as connection:
        line = base.get(connection, AdminCertificate, sha256(der).hexdigest())
        admin = None if line is None else base.get(connection, Admin, line.admin)
    if line is None or admin is None or line.revoked_at is not None or line.not_after <= now:
        return None
    operator = admin.operator()
    if operator is not None:
        _seen(ca, line, admin.name, now, "certificate")
    return operator


def by_token(ca: Authority, text: str) -> Operator | None:
    """Return who signs in with a token."""
    token_id, _, secret = text.removeprefix(TOKEN_PREFIX).partition("_")
    if not text.startswith(TOKEN_PREFIX) or not base.ID.fullmatch(token_id):
        return None
    now = clock.now()
    with ca.database.read() as connection:
        token = base.get(connection, AdminToken, token_id)
        admin = None if token is None else base.get(connection, Admin, token.admin)
    if token is None or admin is None or not hmac.compare_digest(token.digest, _digest(secret)):
        return None
    owner = admin.operator()
    if owner is None or token.revoked_at is not None or token.expires_at <= now:
        return None
    operator = token.operator(owner)
    if operator is not None:
        _seen(ca, token, admin.name, now, "token")
    return operator


def is_there_any(ca: Authority) -> bool:
    """Whether anybody was enrolled yet."""
    with ca.database.read() as connection:
        return connection.scalar(select(ADMINS.c.name).limit(1)) is not None


def _seen(ca: Authority, credential: AdminCertificate | AdminToken, name: str, now: datetime, kind: str) -> None:
    """Remember now and then that a credential is in use."""
    if credential.used_at is not None and now - credential.used_at < SEEN_EVERY:
        return
    with ca.database.write() as connection:
        credential.used_at = now
        base.update(connection, credential)
        _audit(connection, "admin.signed_in", name, f"admin:{name}", credential=kind)


def _get(connection: Connection, name: str, *, lock: bool = False) -> Admin:
    admin = base.get(connection, Admin, name, lock=lock)
    if admin is None:
        raise NotFound(f"there is no operator {name[:80]}")
    return admin


def _require_known(ca: Authority, environments: tuple[str, ...]) -> None:
    unknown = [name for name in environments if name not in ca.environments]
    if unknown:
        raise Malformed(f"there is no environment {unknown[0][:80]!a}; there are {', '.join(ca.environments)}")


def _signed(ca: Authority, settings: AdminListener, key: PublicKey, name: str, now: datetime) -> x509.Certificate:
    try:
        issuer = x509.load_pem_x509_certificate(settings.issuer.certificate.read_bytes())
        return admin_leaf.make(
            issuer,
            issuer_keys.open_key(ca.config, settings.issuer.key, issuer_keys.OPERATORS, issuer),
            key,
            name=name,
            not_before=now - BACKDATE,
            not_after=now + timedelta(seconds=settings.certificate_lifetime),
        )
    except (OSError, ValueError, KeyUnavailableError) as error:
        log.warning("admin.issuer_unavailable", error=str(error))
        raise ServiceUnavailable("the admin issuer cannot be used; the log says why") from error


def _key_of(csr_der: bytes) -> PublicKey:
    try:
        csr = x509.load_der_x509_csr(csr_der)
        is_signed = csr.is_signature_valid
        key = csr.public_key()
    except DECODING_ERRORS as error:
        raise BadCsr("this is no certificate signing request, or its key is of an unknown kind") from error
    if not is_signed:
        raise BadCsr("the signature of the CSR is not by its key")
    return key  # type: ignore[return-value]  # admin_leaf refuses keys of other kinds


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()  # of 256 random bits: nothing slower would add to them


def _audit(connection: Connection, event: str, name: str, by: str, **details: Any) -> None:  # noqa: ANN401 - whatever JSON carries
    audit.record(connection, audit.EVERYWHERE, event, name, by=by, **details)
