"""What servers answer, as frozen models: decoded once, at the door; unknown members are ignored.

RFC 8555 §7.1, RFC 9773 §4.2, docs/workload-identity-00.md.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

CHALLENGE = "workload-identity-00"


class _Acme(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class WorkloadMeta(_Acme):
    """The member workloadIdentity of the directory's meta."""

    version: str
    audience: str
    exchange: str
    nonce: str
    formats: tuple[str, ...] = ()
    trust_domain: str | None = None
    bundle: str | None = None


class Meta(_Acme):
    """The directory's meta. §7.1.1."""

    workload_identity: WorkloadMeta | None = None


class Directory(_Acme):
    """The directory. §7.1.1."""

    new_nonce: str
    new_account: str
    new_order: str
    renewal_info: str | None = None
    meta: Meta = Meta()


class Identifier(_Acme):
    """An identifier. §9.7.7."""

    type: str
    value: str


class Challenge(_Acme):
    """A challenge; `audience` is of workload-identity-00 alone."""

    type: str
    url: str
    status: str = "pending"
    token: str = ""
    audience: str | None = None
    error: dict[str, Any] | None = None


class Authorization(_Acme):
    """An authorization. §7.1.4."""

    status: str
    identifier: Identifier
    challenges: tuple[Challenge, ...] = ()

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it is not valid, as far as a challenge tells."""
        return next((challenge.error for challenge in self.challenges if challenge.error is not None), None)


class Order(_Acme):
    """An order. §7.1.3."""

    status: str
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None = None
    error: dict[str, Any] | None = None


class Window(_Acme):
    """When to renew. RFC 9773 §4.2."""

    start: AwareDatetime
    end: AwareDatetime


class RenewalInfo(_Acme):
    """An answer of renewalInfo."""

    suggested_window: Window


class ExchangeNonce(_Plain):
    """A nonce for the exchange, and the audience that a token for it has to have."""

    nonce: str
    audience: str


class Identity(_Plain):
    """What policy grants to the workload; `lifetime` in seconds."""

    spiffe_id: str | None = None
    dns: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    lifetime: int | None = None


class Exchanged(_Plain):
    """What the exchange gives: a key for external account binding, unless none was asked for."""

    kid: str | None = None
    hmac_key: str | None = Field(default=None, repr=False)
    hmac_alg: str | None = None
    expires: datetime | None = None
    binding_expires: datetime | None = None
    directory: str | None = None
    identity: Identity = Identity()


class BundleKey(_Plain):
    """A key of a SPIFFE bundle."""

    use: str | None = None
    x5c: Annotated[tuple[str, ...], Field(max_length=8)] = ()


class Bundle(_Plain):
    """A SPIFFE bundle; the hint in seconds."""

    keys: tuple[BundleKey, ...]
    spiffe_refresh_hint: int | None = None
