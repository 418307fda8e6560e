"""`[environment.NAME.pause]`: accounts that have to wait with a name."""

from __future__ import annotations

from pydantic import Field

from acme_ca.config.base import DAY, HOUR, Settings


class Pause(Settings):
    """When an account has to wait with a name that it keeps failing at, or renews far too often."""

    failures: int = Field(default=500, ge=0)
    """Failed validations in a row, without a success in between, after which the name is paused; 0: never."""
    forgotten_after: int = Field(default=7 * DAY, ge=60, le=90 * DAY)
    """Seconds without a failure after which earlier ones count no more."""
    duration: int = Field(default=6 * HOUR, ge=60, le=90 * DAY)
    """How many seconds a pause lasts. After it, the next failure begins another one, until there is a success."""
    renewals: int = Field(default=0, ge=0)
    """Certificates for one name within `renewals_within`, after which it is paused; renewals that say what they replace
    (ARI) are exempt. 0: never."""
    renewals_within: int = Field(default=DAY, ge=60, le=90 * DAY)
    """The seconds in which certificates are counted."""
