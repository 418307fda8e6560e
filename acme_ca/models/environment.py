"""What all nodes of an environment share: to recognise nonces (RFC 8555 §6.5), and how long certificates lived."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, update

from acme_ca.models import base
from acme_ca.models.base import Record, table_of

MARGIN = timedelta(hours=2)  # what a notAfter that was asked for may be later (an hour), and hosts' clocks may differ


@dataclass
class EnvironmentKey(Record):
    """The key under which an environment's nonces are authenticated: 32 random bytes.

    `longest` is the longest lifetime in seconds that a profile of the environment, or its sub-CAs, ever had.
    """

    environment: str
    nonce_key: bytes
    created_at: datetime
    longest: int = 0


@dataclass
class SpentNonce(Record):
    """A used nonce on databases that several hosts share: its time and random part, 16 bytes."""

    nonce: bytes


ENVIRONMENT_KEYS = table_of(EnvironmentKey, "environment_keys")
table_of(SpentNonce, "spent_nonces")


def raise_longest(connection: Connection, environment: str, longest: int) -> None:
    """Remember a lifetime in seconds if it is longer than all that were."""
    columns = ENVIRONMENT_KEYS.c
    is_less = update(ENVIRONMENT_KEYS).where(columns.environment == environment, columns.longest < longest)
    connection.execute(is_less.values(longest=longest))


def oldest_claim(connection: Connection, environment: str, moment: datetime) -> datetime | None:
    """Return when a certificate that is valid at a moment was claimed at the earliest; None if it is not known."""
    found = base.get(connection, EnvironmentKey, environment)
    return None if found is None else moment - timedelta(seconds=found.longest) - MARGIN
