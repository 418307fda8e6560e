"""Operators of the CA: who they are, what they may do, and what they sign in with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import Index

from acme_ca.models.base import Record, new_id, table_of
from acme_ca.vocabulary import Role


class Permission(StrEnum):
    """What a call of the admin API asks for."""

    READ = "read"
    AUDIT = "audit"
    OPERATE = "operate"
    POLICY = "policy"
    ADMIN = "admin"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Permission.READ}),
        Role.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
        Role.OPERATOR: frozenset({Permission.READ, Permission.OPERATE}),
        Role.POLICY_ADMIN: frozenset({Permission.READ, Permission.POLICY}),
        Role.CA_ADMIN: frozenset(Permission),
    }
)


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks, as it was found out for one call. `by` is what the audit calls them; no environments: all of them."""

    by: str
    role: Role
    environments: tuple[str, ...] = ()

    def may(self, permission: Permission) -> bool:
        """Whether the role has a permission."""
        return permission in PERMISSIONS[self.role]

    def sees(self, environment: str) -> bool:
        """Whether the operator has to do with an environment."""
        return not self.environments or environment in self.environments


@dataclass(kw_only=True)
class Admin(Record):
    """An operator who was enrolled. `environments` is empty for all of them; `version` counts the changes."""

    name: str
    role: str
    environments: list[str] = field(default_factory=list)
    note: str | None = None
    version: int = 1
    created_at: datetime
    disabled_at: datetime | None = None

    def change(self, role: Role, environments: list[str], note: str | None, disabled_at: datetime | None) -> None:
        """Be somebody else from the next call on."""
        self.role, self.environments, self.note, self.disabled_at = role.value, environments, note, disabled_at
        self.version += 1

    def operator(self) -> Operator | None:
        """Return who the admin is in a call; None while disabled."""
        if self.disabled_at is not None:
            return None
        return Operator(f"admin:{self.name}", Role(self.role), tuple(self.environments))


@dataclass(kw_only=True)
class AdminCertificate(Record):
    """A client certificate of an operator. `fingerprint` is the SHA-256 of its DER in lower-case hexadecimal."""

    fingerprint: str
    admin: str
    created_at: datetime
    not_after: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(kw_only=True)
class AdminToken(Record):
    """An API token of an operator: `digest` is the SHA-256 of what it is. It may do less than its owner, never more."""

    id: str = field(default_factory=new_id)
    admin: str
    label: str
    digest: bytes
    role: str
    environments: list[str] = field(default_factory=list)
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None

    def operator(self, owner: Operator) -> Operator | None:
        """Return who the token is in a call: what both the token and its owner may do; None when that is nothing."""
        environments = owner.environments or tuple(self.environments)
        if owner.environments and self.environments:
            environments = tuple(name for name in self.environments if name in owner.environments)
            if not environments:
                return None
        return Operator(f"{owner.by} by token {self.id}", narrower(owner.role, Role(self.role)), environments)


@dataclass(kw_only=True)
class IdempotentCall(Record):
    """A call that came with an Idempotency-Key. `id` is a digest of the operator and the key.

    `answer` is encrypted under a key that only the Idempotency-Key gives: it may hold what is shown once.
    """

    id: str
    request: bytes
    http_status: int | None = None
    answer: bytes | None = None
    created_at: datetime


ADMINS = table_of(Admin, "admins")
ADMIN_CERTIFICATES = table_of(AdminCertificate, "admin_certificates")
Index(None, ADMIN_CERTIFICATES.c.admin)
ADMIN_TOKENS = table_of(AdminToken, "admin_tokens")
Index(None, ADMIN_TOKENS.c.admin)
IDEMPOTENT_CALLS = table_of(IdempotentCall, "idempotent_calls")
Index(None, IDEMPOTENT_CALLS.c.created_at)


def narrower(one: Role, other: Role) -> Role:
    """Return the role whose permissions both have; viewer where neither has all of the other's."""
    if PERMISSIONS[one] <= PERMISSIONS[other]:
        return one
    return other if PERMISSIONS[other] <= PERMISSIONS[one] else Role.VIEWER
