"""dns-persist-01: prove control of a zone by a TXT record that stays. draft-ietf-acme-dns-persist-02.

The record names the CA and the account in the syntax of CAA. Draft 02 hashes the account's URL together with its key
and the domain; the clients of today write the URL itself, as drafts 00 and 01 had it. Both forms are taken, and the
challenge object has the members of both. A record of a parent domain proves nothing here (drafts: MAY).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from acme_ca import clock
from acme_ca.challenges import dns
from acme_ca.challenges.base import EXTENSION, Attempt, Challenge, Evidence, excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.challenges.issue_value import IssueValue
from acme_ca.problems import IncorrectResponse

MAX_ISSUERS = 10  # §3.1
_TIMESTAMP = re.compile(r"[0-9]{1,20}")
_LAST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, config=EXTENSION)
class DnsPersist01(Challenge):
    """Look for a record that names this CA and this account at `_validation-persist`. §4."""

    type: Literal["dns-persist-01"] = "dns-persist-01"
    wildcards: ClassVar[bool] = True

    def validate(self, attempt: Attempt) -> Evidence:
        """Return the record that proved control; raises IncorrectResponse, DnsFailed, Unanswered."""
        name = f"_validation-persist.{attempt.identifier.base}"
        texts = dns.texts(attempt.network, name, Deadline.after(attempt.network.timeout))
        issuers = attempt.caa_identities[:MAX_ISSUERS]
        found: list[tuple[datetime, str]] = []
        refused: list[str] = []
        for text, value in _of_issuers(texts.found, issuers):
            try:
                found.append((_valid_until(value, attempt), text))
            except ValueError as error:
                refused.append(f"{excerpt(text, 200)} {error}")
        if not found:
            seen = "; ".join(refused) or f"{len(texts.found)} TXT records, none for {' or '.join(issuers)}"
            raise IncorrectResponse(
                f'{seen}, at {name}; expected "{issuers[0] if issuers else ""}; accounturi={attempt.account_url}"'
                f" (resolver {texts.resolver})"
            )
        until, text = max(found)
        record = {"hostname": name, "resolver": texts.resolver, "record": text}
        return Evidence(f"TXT record at {name}", (record,), None if until == _FOREVER else until)

    def members(self, account_url: str, caa_identities: tuple[str, ...]) -> dict[str, Any]:
        """Return the issuers' names, one of which the record has to start with, and the account's URI. §3.1."""
        issuers = list(caa_identities[:MAX_ISSUERS])
        return {"accounturi": account_url, "issuer-domain-names": issuers, "issuerDomainNames": issuers}


def account_hash_prefix(account_url: str) -> str:
    """Return what the hashed URI of an account starts with: `accountHashPrefix` of the directory's meta. §4.1."""
    return account_url.rpartition("/")[0] + "-hash/"


def hashed_uri(account_url: str, thumbprint: str, domain: str) -> str:
    """Return the hashed URI of an account for a domain, or with `*` the one for all its domains. §4.1 item 3."""
    octets = bytes((len(domain),)) + domain.encode() + thumbprint.encode() + account_url.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(octets).digest()).rstrip(b"=").decode()
    return f"{account_hash_prefix(account_url)}sha-256/{digest}"


def _of_issuers(texts: tuple[str, ...], issuers: tuple[str, ...]) -> Iterator[tuple[str, IssueValue]]:
    """Yield the records for this CA; all others are ignored, malformed ones too. §4.3.2."""
    for text in texts:
        try:
            value = IssueValue.parse(text)
        except ValueError:
            continue
        if value.issuer in issuers:
            yield text, value


def _valid_until(value: IssueValue, attempt: Attempt) -> datetime:
    """Return when the record ends; raises ValueError saying why it does not prove control. §4.1."""
    account, thumbprint = attempt.account_url, attempt.thumbprint
    uris = (account, *(hashed_uri(account, thumbprint, domain) for domain in (attempt.identifier.base, "*")))
    accounts = value.values("accounturi")
    if len(accounts) != 1 or accounts[0] not in uris:
        raise ValueError("is for another account")
    if attempt.identifier.wildcard and [policy.lower() for policy in value.values("policy")] != ["wildcard"]:
        raise ValueError("lacks policy=wildcard")
    until = _persist_until(value.values("persistuntil"))
    if until < clock.now():
        raise ValueError("is past its persistUntil")
    return until


def _persist_until(values: tuple[str, ...]) -> datetime:
    if not values:
        return _FOREVER
    if len(values) > 1 or not _TIMESTAMP.fullmatch(values[0]):
        raise ValueError("has a persistUntil that is not one number of seconds")
    return datetime.fromtimestamp(min(int(values[0]), _LAST), UTC)
