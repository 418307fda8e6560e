"""dns-account-01: dns-01 at a name of the account's own. draft-ietf-acme-dns-account-label-02 §3.

Several accounts can so prove control of one name at the same time, each by its own CNAME.
"""

from __future__ import annotations

import base64
import hashlib
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from acme_ca.challenges.base import EXTENSION, Attempt, Challenge, Evidence
from acme_ca.challenges.dns01 import find_digest

_LABEL_OCTETS = 10  # of the hash: 16 characters of base32, no padding


@dataclass(frozen=True, config=EXTENSION)
class DnsAccount01(Challenge):
    """Look for the key authorization's digest below the account's label. draft-ietf-acme-dns-account-label §3.2."""

    type: Literal["dns-account-01"] = "dns-account-01"
    wildcards: ClassVar[bool] = True

    def validate(self, attempt: Attempt) -> Evidence:
        """Return the record that proved control; raises IncorrectResponse, DnsFailed, Unanswered."""
        return find_digest(attempt, f"{account_label(attempt.account_url)}._acme-challenge.{attempt.identifier.base}")


def account_label(account_url: str) -> str:
    """Return the label of an account: an underscore and 16 characters of base32 in lower case."""
    digest = hashlib.sha256(account_url.encode()).digest()
    return "_" + base64.b32encode(digest[:_LABEL_OCTETS]).decode().lower()
