"""Challenge types: how control of an identifier is proved. RFC 8555 §8, RFC 8737, RFC 8738, and two drafts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from acme_ca.challenges.base import Challenge
from acme_ca.challenges.base import ChallengeType as ChallengeType
from acme_ca.challenges.dns01 import Dns01
from acme_ca.challenges.dnsaccount01 import DnsAccount01
from acme_ca.challenges.dnspersist01 import DnsPersist01
from acme_ca.challenges.http01 import Http01
from acme_ca.challenges.tlsalpn01 import TlsAlpn01

AnyChallenge = Annotated[Http01 | Dns01 | TlsAlpn01 | DnsAccount01 | DnsPersist01, Field(discriminator="type")]
"""The registry of challenge types: one that is not in this union does not exist."""

_ALL: tuple[Challenge, ...] = (Http01(), Dns01(), TlsAlpn01(), DnsAccount01(), DnsPersist01())

CHALLENGES: Mapping[str, Challenge] = MappingProxyType({challenge.type: challenge for challenge in _ALL})
"""Each challenge type with its defaults, by name."""
