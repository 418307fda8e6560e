"""How an audit event is written: one module for each format, each a function from an event to one line of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from acme_ca.sinks.base import SealedEvent
from acme_ca.sinks.formats import cef, ecs, native, ocsf
from acme_ca.vocabulary import FormatName

FORMATS: Mapping[FormatName, Callable[[SealedEvent], str]] = {
    "native": native.render,
    "ecs": ecs.render,
    "ocsf": ocsf.render,
    "cef": cef.render,
}
"""The registry of formats. All but CEF are JSON objects without line breaks."""
