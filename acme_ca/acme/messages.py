"""The messages clients send, as frozen models: decoded once, here; unknown members are ignored. RFC 8555 §7.3."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6}\d*)?([Zz]|[+-]\d{2}:\d{2})")


def _rfc3339(value: object) -> datetime:
    """Read a time as RFC 3339 writes it, in UTC; pydantic alone would take numbers and times without a zone too."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("not a time like 2026-01-31T12:00:00Z (RFC 3339)")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError as error:  # the zone leads out of the years 1 to 9999
        raise ValueError("not a time that there is in UTC") from error


Text = Annotated[str, Field(max_length=8192)]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
Base64Url = Annotated[str, Field(max_length=96 * 1024)]


class WireModel(BaseModel):
    """A message with camelCase members; what it does not know, or has as null, counts as absent."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore", strict=True)


class IdentifierBody(WireModel):
    """An identifier object. §7.1.3."""

    type: Text
    value: Text


class NewAccount(WireModel):
    """Body of newAccount. §7.3."""

    contact: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    terms_of_service_agreed: bool = False
    only_return_existing: bool = False
    external_account_binding: dict[str, Any] | None = None


class AccountUpdate(WireModel):
    """Body of an account update. §7.3.2, §7.3.6."""

    contact: Annotated[tuple[Text, ...] | None, Field(strict=False)] = None
    status: Text | None = None


class KeyChange(WireModel):
    """Payload of the inner JWS of keyChange. §7.3.5."""

    account: Text
    old_key: dict[str, Any]


class NewOrder(WireModel):
    """Body of newOrder. §7.4; profile: draft-ietf-acme-profiles §4; replaces: RFC 9773 §5."""

    identifiers: Annotated[tuple[IdentifierBody, ...], Field(strict=False)]
    profile: Text | None = None
    not_before: Moment | None = None
    not_after: Moment | None = None
    replaces: Text | None = None


class NewAuthz(WireModel):
    """Body of newAuthz. §7.4.1."""

    identifier: IdentifierBody


class AuthorizationUpdate(WireModel):
    """Body of an authorization's deactivation. §7.5.2."""

    status: Text


class ProofBody(WireModel):
    """Payload of the response to workload-identity-00; empty for an account whose workload is known. §4.3 there."""

    format: Text | None = None
    evidence: Any = None
    provider: Text | None = None


class Finalize(WireModel):
    """Body of finalize; `csr` is base64url of DER. §7.4."""

    csr: Base64Url


class RevokeCert(WireModel):
    """Body of revokeCert; `certificate` is base64url of DER. §7.6."""

    certificate: Base64Url
    reason: int = 0
