"""What all sinks share: the events they get, the format they write them in, and how they fail.

A sink is a frozen model: its fields are its configuration, its `type` literal the name in the file, its one method the
work. It gets events in the order of the chain, and those again of which it did not say that it has them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class DeliveryFailedError(Exception):
    """A sink did not take the events. The message says which one was asked and what happened."""


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event with its place in the chain. `hash` is the hash of that place in hexadecimal; `at` is in UTC.

    One that is not sealed yet has the place 0 and no hash; sinks never get it.
    """

    seq: int
    hash: str
    id: int
    at: datetime
    environment: str
    event: str
    actor: str
    account_id: str | None
    subject: str
    details: Mapping[str, Any]

    @property
    def noun(self) -> str:
        """What it is about: `order` of `order.created`."""
        return self.event.partition(".")[0]

    @property
    def verb(self) -> str:
        """What happened to it: `created` of `order.created`."""
        return self.event.partition(".")[2]

    @property
    def reason(self) -> str | None:
        """Why something was refused or failed, in words."""
        error = self.details.get("error")
        found = error.get("detail") if isinstance(error, Mapping) else self.details.get("reason")
        return found if isinstance(found, str) else None

    @property
    def failed(self) -> bool:
        """Whether somebody did not get what was wanted."""
        return self.verb in {"refused", "invalid", "abandoned", "failed", "denied"}


SinkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]


class Sink(BaseModel, ABC):
    """A place that gets all events. Subclasses add `type`, a literal that names them in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: SinkName
    """Names the sink in metrics; by it the CA remembers how far the sink got. A new name starts at the first event."""
    batch: int = Field(default=500, ge=1, le=5000)
    """Events that are sent at once, at most."""

    @abstractmethod
    def deliver(self, events: Sequence[SealedEvent]) -> None:
        """Return when the sink has the events; raises DeliveryFailedError. It never takes longer than 30 seconds."""
