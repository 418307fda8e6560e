"""The one source of the present time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class Clock:
    """A clock that shows the present time, or one that is so far `ahead` of it: what takes years is tried with that."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """Return the moment that it shows, aware, in UTC."""
        return datetime.now(UTC) + self.ahead


CLOCK = Clock()
"""The clock of this process."""


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return CLOCK.now()


def rfc3339(moment: datetime) -> str:
    """Render an aware time as RFC 3339 in UTC with whole seconds, as RFC 8555 messages carry it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
