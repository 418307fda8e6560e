"""Where audit events are sent: one module for each kind of sink, and its name in the union below."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from acme_ca.sinks.base import DeliveryFailedError as DeliveryFailedError
from acme_ca.sinks.base import SealedEvent as SealedEvent
from acme_ca.sinks.base import Sink as Sink
from acme_ca.sinks.file import File
from acme_ca.sinks.syslog import Syslog
from acme_ca.sinks.webhook import Webhook

AnySink = Annotated[File | Syslog | Webhook, Field(discriminator="type")]
"""The registry of sinks: one that is not in this union does not exist."""
