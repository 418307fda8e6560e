"""What kind of certificate is issued: lifetime, usages and keys. Names are policy's business. RFC 5280 §4.2."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acme_ca.vocabulary import AuthoritySignature, KeyType

Usage = Literal["serverAuth", "clientAuth"]

HOUR, DAY = 3_600, 86_400  # seconds
LONGEST_UNREVOCABLE = DAY  # longer ones need a way to be revoked; a day is what "short-lived" stands for here
LONGEST_LIFETIME = 825 * DAY  # what Apple's platforms accept from CAs that their owner installed


class Profile(BaseModel):
    """A kind of leaf, valid from `backdate` seconds before now until `lifetime` seconds after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    lifetime: Annotated[int, Field(ge=60, le=LONGEST_LIFETIME)]
    backdate: Annotated[int, Field(ge=0, le=HOUR)] = 60
    extended_key_usages: Annotated[tuple[Usage, ...], Field(min_length=1)]
    key_types: Annotated[tuple[KeyType, ...], Field(min_length=1)] = (
        "ec-p256",
        "ec-p384",
        "ed25519",
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
    )
    revocation: Literal["none", "crl"]  # "none" says so in the certificate: noRevAvail, RFC 9608
    subject: Literal["empty", "common-name"] = "empty"
    may_carry_uri: bool = False
    signed_by: tuple[AuthoritySignature, ...] = ()
    """What its certificates may be signed with: of an environment's issuers only those that do; none named: all."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Profile:
        if self.revocation == "none" and self.lifetime > LONGEST_UNREVOCABLE:
            raise ValueError(
                f'revocation = "none" with a lifetime of {self.lifetime} s: expected at most {LONGEST_UNREVOCABLE} s, '
                'or revocation = "crl"'
            )
        if len(set(self.extended_key_usages)) < len(self.extended_key_usages):
            raise ValueError(f"extended_key_usages {list(self.extended_key_usages)} names a usage twice")
        if self.may_carry_uri and set(self.extended_key_usages) != {"serverAuth", "clientAuth"}:
            # SPIFFE X509-SVID §4.4: where the extension is used, both have to be in it.
            raise ValueError("may_carry_uri expects both serverAuth and clientAuth in extended_key_usages")
        return self


BUILTIN: Mapping[str, Profile] = MappingProxyType(
    {
        "server-1h": Profile(
            description="TLS server, one hour",
            lifetime=HOUR,
            extended_key_usages=("serverAuth",),
            revocation="none",
        ),
        "client-1h": Profile(
            description="TLS client, one hour",
            lifetime=HOUR,
            extended_key_usages=("clientAuth",),
            revocation="none",
        ),
        "workload-1h": Profile(
            description="TLS server and client with a workload's identity, one hour",
            lifetime=HOUR,
            extended_key_usages=("serverAuth", "clientAuth"),
            revocation="none",
            may_carry_uri=True,
        ),
        "server-8h": Profile(
            description="TLS server, eight hours: for clients that renew by the clock, such as cert-manager",
            lifetime=8 * HOUR,
            extended_key_usages=("serverAuth",),
            revocation="none",
        ),
        "server-7d": Profile(
            description="TLS server, seven days and revocable: for clients that renew once a day",
            lifetime=7 * DAY,
            extended_key_usages=("serverAuth",),
            revocation="crl",
        ),
    }
)
