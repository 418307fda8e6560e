"""Keys for external account binding. RFC 8555 §7.3.4."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from acme_ca.models.base import Record, table_of
from acme_ca.problems import Unauthorized

MAC_KEY_SIZE = 32  # bytes; HS256 wants no more
HYPHEN = 62  # its value in base64url, RFC 4648 §5


@dataclass(kw_only=True)
class ExternalKey(Record):
    """A MAC key handed to a client out of band; single-use unless `reusable`. `label` is what policy rules select.

    A reusable key is good for `uses_left` accounts more, or for any number. `scope` is what it is for
    (`policy/scope.py`), unless that is everything the rules allow.
    `binding_id` is the workload whose proof it was exchanged for. The MAC key of a spent key is forgotten.
    """

    kid: str
    environment: str
    mac_key: bytes
    label: str | None = None
    reusable: bool = False
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    binding_id: str | None = None
    uses_left: int | None = None
    scope: dict[str, Any] | None = None

    def is_usable(self, now: datetime) -> bool:
        """Whether the key can bind an account now."""
        return self._obstacle(now) is None

    def require_usable(self, now: datetime) -> None:
        """Raise Unauthorized when the key is revoked, expired, or spent."""
        if (reason := self._obstacle(now)) is not None:
            raise Unauthorized(f"the external account key {self.kid} {reason}; ask the operators for a new one")

    def _obstacle(self, now: datetime) -> str | None:
        reason = None
        if self.revoked_at is not None:
            reason = "is revoked"
        elif self.expires_at is not None and self.expires_at <= now:
            reason = f"expired at {self.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        elif self._is_spent:
            reason = "was used before and is good for no further account"
        return reason

    def standing(self, now: datetime) -> Literal["usable", "used", "expired", "revoked"]:
        """Return how the key stands: revoked, expired, used or usable."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "used" if self._is_spent else "usable"

    def use(self, now: datetime) -> None:
        """Spend the key on an account."""
        self.require_usable(now)
        self.used_at = now
        if self.uses_left is not None:
            self.uses_left -= 1
        if self._is_spent:
            self.mac_key = b""

    @property
    def _is_spent(self) -> bool:
        return self.uses_left == 0 if self.reusable else self.used_at is not None


def new_mac_key() -> bytes:
    """Return 32 random bytes whose base64url does not begin with a hyphen: clients would take it for an option."""
    while (found := secrets.token_bytes(MAC_KEY_SIZE))[0] >> 2 == HYPHEN:
        pass
    return found


table_of(ExternalKey, "external_keys")
