"""Keys for external account binding. RFC 8555 §7.3.4."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from acme_ca.models.base import Base
from acme_ca.problems import Unauthorized


class ExternalKey(Base):
    """A MAC key handed to a client out of band; single-use unless `reusable`. `label` is what policy rules select."""

    __tablename__ = "external_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str]
    mac_key: Mapped[bytes]
    label: Mapped[str | None]
    reusable: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    def require_usable(self, now: datetime) -> None:
        """Raise Unauthorized when the key is revoked, expired, or spent."""
        reason = None
        if self.revoked_at is not None:
            reason = "is revoked"
        elif self.expires_at is not None and self.expires_at <= now:
            reason = f"expired at {self.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        elif self.used_at is not None and not self.reusable:
            reason = "was used before and is good for one account only"
        if reason:
            raise Unauthorized(f"the external account key {self.kid} {reason}; ask the operators for a new one")

    def use(self, now: datetime) -> None:
        """Spend the key on an account."""
        self.require_usable(now)
        self.used_at = now
