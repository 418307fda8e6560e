"""How calls say which certificates they mean, and what they show of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from acme_ca.admin.calls import Asked, Model, Query, Text, Time
from acme_ca.models.certificate import Certificate
from acme_ca.models.selection import Selection
from acme_ca.services.certificates import standing_of
from acme_ca.services.selecting import Expected
from acme_ca.vocabulary import SELECTORS


class SelectorFields(BaseModel):
    """What certificates are selected by, in bodies and queries alike."""

    name: Text | None = Field(default=None, description=SELECTORS["name"])
    below: Text | None = Field(default=None, description=SELECTORS["below"])
    serial: Text | None = Field(default=None, description=SELECTORS["serial"])
    account_id: Text | None = Field(default=None, description=SELECTORS["account_id"])
    eab_kid: Text | None = Field(default=None, description=SELECTORS["eab_kid"])
    key_sha256: Text | None = Field(default=None, description=SELECTORS["key_sha256"])
    issuer_id: Text | None = Field(default=None, description=SELECTORS["issuer_id"])
    profile: Text | None = Field(default=None, description=SELECTORS["profile"])
    binding_id: Text | None = Field(default=None, description=SELECTORS["binding_id"])
    subject: Text | None = Field(default=None, description=SELECTORS["subject"])
    provider: Text | None = Field(default=None, description=SELECTORS["provider"])
    rule: Text | None = Field(default=None, description=SELECTORS["rule"])
    since: Time | None = Field(default=None, description=SELECTORS["since"])
    until: Time | None = Field(default=None, description=SELECTORS["until"])


class Selectors(SelectorFields, Model):
    """Certificates for which everything holds that is there."""


class SelectorQuery(SelectorFields, Query):
    """The same in a query."""


class Expectation(Model):
    """What is selected, and what it is expected to be: an act on more than one certificate needs to be."""

    selection: Selectors
    """Which certificates."""
    expect: Annotated[int, Field(ge=0)] | None = None
    """How many valid ones they are."""
    as_of: Annotated[Time, Field(strict=False)] | None = None
    """When a dry run counted them; what came later is left alone."""
    digest: Text | None = None
    """The digest of the dry run: they are just those that it counted."""

    @property
    def expected(self) -> Expected:
        """The expectation alone."""
        return Expected(self.expect, self.as_of, self.digest)


class CertificateView(Model):
    """A certificate of the ledger. `key_sha256` is of its SubjectPublicKeyInfo, hexadecimal."""

    id: str
    serial: str
    environment: str
    standing: str
    """valid, revoked or expired; claimed or abandoned when it was never issued."""
    names: tuple[str, ...]
    """Each with its type before a colon."""
    account_id: str
    eab_kid: str | None
    order_id: str
    issuer_id: str
    profile: str
    policy_version: str
    key_sha256: str
    not_before: Time
    not_after: Time
    revoked_at: Time | None
    revocation_reason: int | None
    """A code of RFC 5280 §5.3.1."""
    binding_id: str | None
    subject: str | None
    provider: str | None
    rule: str | None


def selection_of(asked: Asked, selectors: Selectors | SelectorQuery) -> Selection:
    """Return what a call selects in its environment; raises Malformed, naming what cannot be."""
    return Selection.of(asked.environment.name, **{name: getattr(selectors, name) for name in Selectors.model_fields})


def certificate_view(line: Certificate) -> CertificateView:
    """Return what calls show of a certificate."""
    return CertificateView(
        id=line.id,
        serial=line.serial,
        environment=line.environment,
        standing=standing_of(line),
        names=tuple(line.names),
        account_id=line.account_id,
        eab_kid=line.eab_kid,
        order_id=line.order_id,
        issuer_id=line.issuer_id,
        profile=line.profile,
        policy_version=line.policy_version,
        key_sha256=line.key_sha256.hex(),
        not_before=line.not_before,
        not_after=line.not_after,
        revoked_at=line.revoked_at,
        revocation_reason=line.revocation_reason,
        binding_id=line.binding_id,
        subject=line.workload_subject,
        provider=line.workload_provider,
        rule=line.workload_rule,
    )
