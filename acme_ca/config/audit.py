"""`[audit]`: how the audit trail is sealed, and where it is sent."""

from __future__ import annotations

from pydantic import Field, field_validator

from acme_ca.config.base import Settings
from acme_ca.config.fields import Key, PemFile
from acme_ca.config.mistakes import refuse
from acme_ca.sinks import AnySink


class Audit(Settings):
    """How the audit trail is sealed, and where it is sent."""

    key: Key | None = None
    """The EC P-256 key that signs checkpoints; `acme-ca init` makes it. Without one no checkpoint is signed."""
    former_keys: tuple[PemFile, ...] = ()
    """Public keys (PEM) that signed earlier checkpoints: `acme-ca audit verify` accepts them too."""
    checkpoint_events: int = Field(default=10_000, ge=1, le=10_000_000)
    """A checkpoint is signed once so many events were sealed since the last one."""
    checkpoint_interval: int = Field(default=300, ge=1, le=86_400)
    """A checkpoint is signed so many seconds after the last one, if anything was sealed since."""
    fail_closed: int | None = Field(default=None, ge=1)
    """Nothing is ordered or issued while more events than this wait to be sealed, or to be taken by a sink."""
    sink: tuple[AnySink, ...] = ()
    """Where sealed events are sent: each sink gets all of them, in order, at least once."""

    @field_validator("sink", mode="after")
    @classmethod
    def _of_one_name(cls, sinks: tuple[AnySink, ...]) -> tuple[AnySink, ...]:
        names = [sink.name for sink in sinks]
        twice = "there is another sink of this name; each remembers by its name how far it got"
        refuse("sink", (((number, "name"), twice) for number, name in enumerate(names) if name in names[:number]))
        return sinks
