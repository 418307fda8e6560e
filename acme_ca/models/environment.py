"""What all nodes of an environment share to recognise nonces. RFC 8555 §6.5."""

from dataclasses import dataclass
from datetime import datetime

from acme_ca.models.base import Record, table_of


@dataclass
class EnvironmentKey(Record):
    """The key under which an environment's nonces are authenticated: 32 random bytes."""

    environment: str
    nonce_key: bytes
    created_at: datetime


@dataclass
class SpentNonce(Record):
    """A used nonce on databases that several hosts share: its time and random part, 16 bytes."""

    nonce: bytes


table_of(EnvironmentKey, "environment_keys")
table_of(SpentNonce, "spent_nonces")
