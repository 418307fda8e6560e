"""dns-01: prove control of a zone by a TXT record. RFC 8555 §8.4."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from acme_ca.challenges import dns
from acme_ca.challenges.base import EXTENSION, Attempt, Challenge, Evidence, excerpt
from acme_ca.challenges.deadline import Deadline
from acme_ca.problems import IncorrectResponse

_SHOWN = 3


@dataclass(frozen=True, config=EXTENSION)
class Dns01(Challenge):
    """Look for the key authorization's digest at `_acme-challenge`. RFC 8555 §8.4."""

    type: Literal["dns-01"] = "dns-01"
    wildcards: ClassVar[bool] = True

    def validate(self, attempt: Attempt) -> Evidence:
        """Return the record that proved control; raises IncorrectResponse, DnsFailed, Unanswered."""
        return find_digest(attempt, f"_acme-challenge.{attempt.identifier.base}")


def find_digest(attempt: Attempt, name: str) -> Evidence:
    """Look for the attempt's digest among the TXT records of the name."""
    texts = dns.texts(attempt.network, name, Deadline.after(attempt.network.timeout))
    if attempt.digest in texts.found:
        return Evidence(f"TXT record at {name}", ({"hostname": name, "resolver": texts.resolver},))
    expected = f"expected {attempt.digest}"
    if not texts.found:
        raise IncorrectResponse(f"there is no TXT record at {name}, says resolver {texts.resolver}; {expected}")
    shown = ", ".join(excerpt(text) for text in texts.found[:_SHOWN])
    more = ", …" if len(texts.found) > _SHOWN else ""
    raise IncorrectResponse(
        f"{len(texts.found)} TXT records at {name}, none with the digest: {shown}{more}; {expected} "
        f"(resolver {texts.resolver})"
    )
