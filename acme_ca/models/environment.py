"""An environment's secrets, shared by all nodes."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from acme_ca.models.base import Base


class EnvironmentKey(Base):
    """The key under which an environment's nonces are authenticated: 32 random bytes."""

    __tablename__ = "environment_keys"

    environment: Mapped[str] = mapped_column(primary_key=True)
    nonce_key: Mapped[bytes]
    created_at: Mapped[datetime]


class SpentNonce(Base):
    """A used nonce on databases that several hosts share: its time and random part, 16 bytes. RFC 8555 §6.5."""

    __tablename__ = "spent_nonces"

    nonce: Mapped[bytes] = mapped_column(primary_key=True)
