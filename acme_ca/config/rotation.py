"""How issuers follow each other: [environment.NAME.rotation]. docs/how-to/rotation.md."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from acme_ca.config.base import DAY, HOUR, Settings
from acme_ca.keys import AnyKey
from acme_ca.pki.generations import Rules

LONGEST = 20 * 366 * DAY  # seconds


class Rotation(Settings):
    """When the next issuer takes over from the present one. Durations are in seconds."""

    automatic: bool = True
    """Whether the worker makes the next issuer when it is due; it needs `root_key`, and without it tells operators."""
    before: int = Field(default=60 * DAY, ge=HOUR, le=LONGEST)
    """How long before the present issuer can sign no more the next one signs in its place."""
    publish_ahead: int = Field(default=7 * DAY, ge=HOUR, le=365 * DAY)
    """How long the next issuer is published before it signs: trust bundles are read again in this time."""
    lifetime: int = Field(default=5 * 365 * DAY, ge=2 * HOUR, le=LONGEST)
    """How long the next issuer lives, if the root is here: not longer than the root."""
    root_key: AnyKey | None = None
    """The root's key, where it is kept online, as for trying things out; most keep it offline and leave this out."""

    def rules(self, longest: timedelta) -> Rules:
        """Return the times, with the longest lifetime of a leaf."""
        return Rules(longest, timedelta(seconds=self.before), timedelta(seconds=self.publish_ahead))
