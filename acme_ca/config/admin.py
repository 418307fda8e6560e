"""The tables of the admin listener: where it listens, and who signs operators in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from acme_ca.config.base import DAY, HOUR, Settings
from acme_ca.config.fields import Bind, Key, Name, PemFile
from acme_ca.vocabulary import Role
from acme_ca.workload.jwks import AnyJwks, Discovery
from acme_ca.workload.oidc import ClaimPath, Oidc
from acme_ca.workload.tokens import Algorithm


class AdminIssuer(Settings):
    """The certificate and key that sign the certificates of operators, and nothing else. Files hold PEM."""

    certificate: PemFile
    """The issuer's own certificate, self-signed: no certificate of an environment chains to it."""
    key: Key
    """Where the private key is kept."""


class OperatorGroup(Settings):
    """Operators by a value of a claim."""

    value: str = Field(min_length=1)
    """What the claim says, or one of the strings in it."""
    role: Annotated[Role, Field(strict=False)]
    """What they may do."""
    environments: tuple[str, ...] = ()
    """The environments that they have to do with; none: all of them."""


class OidcIssuer(Settings):
    """An OpenID Connect issuer whose tokens sign operators in."""

    name: Name
    """Names it in the audit."""
    issuer: str
    """The claim `iss` of its tokens."""
    audience: str = Field(min_length=1)
    """The claim `aud` that its tokens have to have, and no other."""
    jwks: AnyJwks = Discovery()
    """Where its keys come from."""
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256", "ES384"), min_length=1)
    """What it may sign with."""
    max_token_ttl: int = Field(default=HOUR, ge=60, le=DAY)
    """The longest time from `iat` to `exp` of its tokens, in seconds."""
    claim: ClaimPath = "groups"
    """The claim that tells what an operator is there for."""
    group: tuple[OperatorGroup, ...] = Field(min_length=1)
    """What its values stand for: the first that an operator has counts, and none means no."""

    @model_validator(mode="after")
    def _usable(self) -> OidcIssuer:
        self.provider()
        return self

    def provider(self) -> Oidc:
        """Return what verifies its tokens; raises ValueError."""
        return Oidc(
            name=self.name,
            issuer=self.issuer,
            jwks=self.jwks,
            algorithms=self.algorithms,
            binding="affinity",
            audiences=(self.audience,),
            max_token_ttl=self.max_token_ttl,
        )


class AdminListener(Settings):
    """The HTTPS listener with the admin API, which answers on the Unix socket `admin.sock` in `state` too."""

    bind: Bind = "127.0.0.1:8444"
    """Address and port to listen on."""
    workers: int = Field(default=1, ge=1, le=256)
    """Worker processes."""
    threads: int = Field(default=4, ge=1, le=256)
    """Threads in each worker process: the requests that it answers at the same time."""
    issuer: AdminIssuer
    """Signs the certificates by which operators sign in."""
    certificate_lifetime: int = Field(default=90 * DAY, ge=HOUR, le=366 * DAY)
    """How long an operator's certificate is good for, in seconds."""
    oidc: tuple[OidcIssuer, ...] = ()
    """Who else signs operators in."""
