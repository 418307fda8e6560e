"""Operators over HTTP: who they are, and what they sign in with."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from datetime import timedelta
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, StringConstraints

from acme_ca.admin.calls import Answered, Asked, Call, Model, Note, Page, Paged, Text, Time
from acme_ca.models.admin import PERMISSIONS, Admin, AdminCertificate, AdminToken, Permission
from acme_ca.pki.csr import DECODING_ERRORS
from acme_ca.problems import BadCsr
from acme_ca.services import admins
from acme_ca.services.admins import Wanted
from acme_ca.vocabulary import Role

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")]
AnyRole = Annotated[Role, Field(strict=False)]
DAYS_MAX = 366


class NewAdmin(Model):
    """Who is to be enrolled."""

    name: Name
    """What the audit calls them: up to 63 of A-Z, a-z, 0-9, '.', '_', '@' and '-'."""
    role: AnyRole
    """What they may do."""
    environments: tuple[Text, ...] = ()
    """The environments that they have to do with; none: all of them."""
    note: Note | None = None
    """Who they are, or why they are there."""


class AdminState(Model):
    """What an operator shall be from now on."""

    role: AnyRole
    """What they may do."""
    environments: tuple[Text, ...] = ()
    """The environments that they have to do with; none: all of them."""
    note: Note | None = None
    """Who they are, or why they are there."""
    disabled: bool = False
    """Whether nothing of theirs signs in."""


class AdminView(Model):
    """An operator."""

    name: str
    role: Role
    environments: tuple[str, ...]
    note: str | None
    created_at: Time
    disabled_at: Time | None


class CertificateView(Model):
    """A certificate that an operator signs in with. `fingerprint` is the SHA-256 of its DER, in hexadecimal."""

    fingerprint: str
    created_at: Time
    not_after: Time
    used_at: Time | None
    revoked_at: Time | None
    pem: str | None = None
    """The certificate in PEM, when it was just issued."""


class TokenView(Model):
    """An API token."""

    id: str
    label: str
    role: Role
    environments: tuple[str, ...]
    created_at: Time
    expires_at: Time
    used_at: Time | None
    revoked_at: Time | None
    token: str | None = None
    """What it is, when it was just made: nobody can tell it again."""


class Credentials(Model):
    """What an operator signs in with."""

    certificates: tuple[CertificateView, ...]
    tokens: tuple[TokenView, ...]


class NewCertificate(Model):
    """A key that a certificate is wanted for."""

    csr: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    """A certificate signing request in PEM, or the base64 of its DER; only the key in it counts."""


class NewToken(Model):
    """A token that is wanted."""

    label: Text
    """What it is for."""
    role: AnyRole
    """What it may do: no more than its owner, whatever becomes of them."""
    environments: tuple[Text, ...] = ()
    """The environments that it is for; none: those of its owner."""
    days: Annotated[float, Field(gt=0, le=DAYS_MAX)] = 30
    """How long it is good for."""


class Myself(Model):
    """Who asks."""

    by: str
    """What the audit calls them."""
    role: Role
    environments: tuple[str, ...]
    permissions: tuple[Permission, ...]


def _me(asked: Asked) -> Myself:
    who = asked.operator
    return Myself(
        by=who.by,
        role=who.role,
        environments=asked.environments,
        permissions=tuple(permission for permission in Permission if permission in PERMISSIONS[who.role]),
    )


def _list(asked: Asked) -> Page[AdminView]:
    found, following = admins.page(asked.ca, asked.query.after, asked.query.limit)
    return Page[AdminView](items=tuple(_admin(admin) for admin in found), next=following)


def _create(asked: Asked) -> Answered:
    wanted = Wanted(asked.body.role, asked.body.environments, asked.body.note)
    made = admins.create(asked.ca, asked.body.name, wanted, by=asked.operator.by)
    return Answered(_admin(made), etag=str(made.version), location=f"/admins/{made.name}")


def _get(asked: Asked) -> Answered:
    found = admins.get(asked.ca, asked.path["name"])
    return Answered(_admin(found), etag=str(found.version))


def _change(asked: Asked) -> Answered:
    name, body = asked.path["name"], asked.body
    wanted = Wanted(body.role, body.environments, body.note, body.disabled)
    changed = admins.change(
        asked.ca, name, wanted, by=asked.operator.by, require=lambda admin: asked.require_match(str(admin.version))
    )
    return Answered(_admin(changed), etag=str(changed.version))


def _credentials(asked: Asked) -> Credentials:
    certificates, tokens = admins.credentials(asked.ca, asked.path["name"])
    return Credentials(
        certificates=tuple(_certificate(line) for line in certificates),
        tokens=tuple(_token(token) for token in tokens),
    )


def _certify(asked: Asked) -> CertificateView:
    line, der = admins.certify(asked.ca, asked.path["name"], _csr(asked.body.csr), by=asked.operator.by)
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    return _certificate(line).model_copy(update={"pem": pem})


def _revoke_certificate(asked: Asked) -> CertificateView:
    path = asked.path
    return _certificate(admins.revoke_certificate(asked.ca, path["name"], path["fingerprint"], by=asked.operator.by))


def _make_token(asked: Asked) -> TokenView:
    body = asked.body
    wanted = Wanted(body.role, body.environments)
    lifetime = timedelta(days=body.days)
    token, text = admins.make_token(asked.ca, asked.path["name"], body.label, wanted, lifetime, by=asked.operator)
    return _token(token).model_copy(update={"token": text})


def _revoke_token(asked: Asked) -> TokenView:
    return _token(admins.revoke_token(asked.ca, asked.path["name"], asked.path["id"], by=asked.operator.by))


def _csr(text: str) -> bytes:
    if "-----BEGIN" in text:
        try:
            return x509.load_pem_x509_csr(text.encode()).public_bytes(Encoding.DER)
        except DECODING_ERRORS as error:
            raise BadCsr("csr is no certificate signing request in PEM") from error
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise BadCsr("csr is neither PEM nor the base64 of DER") from error


def _admin(admin: Admin) -> AdminView:
    return AdminView(
        name=admin.name,
        role=Role(admin.role),
        environments=tuple(admin.environments),
        note=admin.note,
        created_at=admin.created_at,
        disabled_at=admin.disabled_at,
    )


def _certificate(line: AdminCertificate) -> CertificateView:
    return CertificateView(
        fingerprint=line.fingerprint,
        created_at=line.created_at,
        not_after=line.not_after,
        used_at=line.used_at,
        revoked_at=line.revoked_at,
    )


def _token(token: AdminToken) -> TokenView:
    return TokenView(
        id=token.id,
        label=token.label,
        role=Role(token.role),
        environments=tuple(token.environments),
        created_at=token.created_at,
        expires_at=token.expires_at,
        used_at=token.used_at,
        revoked_at=token.revoked_at,
    )


READ, ADMIN = Permission.READ, Permission.ADMIN
CALLS = (
    Call(method="GET", path="/me", permission=READ, summary="Tell who asks", work=_me, answer=Myself),
    Call(
        method="GET",
        path="/admins",
        permission=ADMIN,
        everywhere=True,
        summary="List operators",
        work=_list,
        query=Paged,
        answer=Page[AdminView],
    ),
    Call(
        method="POST",
        path="/admins",
        permission=ADMIN,
        everywhere=True,
        summary="Enroll an operator",
        work=_create,
        body=NewAdmin,
        answer=AdminView,
        status=201,
        acts=True,
        dry_run="undone",
    ),
    Call(
        method="GET",
        path="/admins/{name}",
        permission=ADMIN,
        everywhere=True,
        summary="Show an operator",
        work=_get,
        answer=AdminView,
    ),
    Call(
        method="PUT",
        path="/admins/{name}",
        permission=ADMIN,
        everywhere=True,
        summary="Change an operator",
        work=_change,
        body=AdminState,
        answer=AdminView,
        edits=True,
        dry_run="undone",
    ),
    Call(
        method="GET",
        path="/admins/{name}/credentials",
        permission=ADMIN,
        everywhere=True,
        summary="List what an operator signs in with",
        work=_credentials,
        answer=Credentials,
    ),
    Call(
        method="POST",
        path="/admins/{name}/certificates",
        permission=ADMIN,
        everywhere=True,
        summary="Issue a certificate for an operator",
        work=_certify,
        body=NewCertificate,
        answer=CertificateView,
        status=201,
        acts=True,
    ),
    Call(
        method="DELETE",
        path="/admins/{name}/certificates/{fingerprint}",
        permission=ADMIN,
        everywhere=True,
        summary="Revoke a certificate of an operator",
        work=_revoke_certificate,
        answer=CertificateView,
        dry_run="undone",
    ),
    Call(
        method="POST",
        path="/admins/{name}/tokens",
        permission=ADMIN,
        everywhere=True,
        summary="Make an API token for an operator",
        work=_make_token,
        body=NewToken,
        answer=TokenView,
        status=201,
        acts=True,
    ),
    Call(
        method="DELETE",
        path="/admins/{name}/tokens/{id}",
        permission=ADMIN,
        everywhere=True,
        summary="Revoke an API token",
        work=_revoke_token,
        answer=TokenView,
        dry_run="undone",
    ),
)
