"""Structured logs: one JSON object a line, each with the id of the request that it belongs to.

Modules log through `structlog.get_logger()` or the standard library's `logging`; both end here. What is logged are
events with fields, never whole bodies or configuration, and secrets never.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO, Literal, Protocol

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "(hidden)"
# Names under which a secret could slip in. A nonce, a token or a key authorization is none: all of them are public.
SECRET_FIELDS = frozenset(
    {"authorization", "cookie", "hmac_key", "passphrase", "password", "pin", "private_key", "secret"}
)

_request: ContextVar[Mapping[str, object]] = ContextVar("request", default={})  # noqa: B039 - never changed in place


class LogSettings(Protocol):
    """The [log] table of the configuration."""

    @property
    def level(self) -> Literal["debug", "info", "warning", "error"]:
        """The least severe level that is written."""

    @property
    def format(self) -> Literal["json", "console"]:
        """For machines or for people."""


def configure(settings: LogSettings, stream: BinaryIO | None = None) -> None:
    """Send everything logged in this process to `stream`, by default standard output; may be called again."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[_add_request, _hide_secrets, *_renderers(settings.format)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(stream or sys.stdout.buffer),
        cache_logger_on_first_use=False,  # a configuration that is read again changes the level of every logger
    )
    global _requests  # noqa: PLW0603 - one for the process, made anew with the settings
    _requests = structlog.get_logger().bind()
    logging.basicConfig(handlers=[_ToStructlog()], level=level, force=True)


_requests: Any = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _ForPeople:
    level: Literal["warning"] = "warning"
    format: Literal["console"] = "console"


@contextmanager
def on_standard_error() -> Iterator[None]:
    """Send warnings and worse to standard error while the block lasts: what a command prints is its answer."""
    global _requests  # noqa: PLW0603 - as in `configure`
    before, requests = structlog.get_config(), _requests
    configure(_ForPeople(), sys.stderr.buffer)
    try:
        yield
    finally:
        structlog.configure(**before)
        _requests = requests


def request(**fields: object) -> None:
    """Log the line of a request that was answered; `get_logger` alone would be bound anew for each."""
    _requests.info("request", **fields)


def bind_request(request_id: str, **fields: object) -> None:
    """Let every line logged from here on in this context carry the request's id, and forget the request before it."""
    _request.set({"request_id": request_id, **fields})


def forget_request() -> None:
    """Let lines logged from here on in this context belong to no request."""
    _request.set({})


def request_id() -> str | None:
    """Return the id of the request at hand, which its problem document repeats."""
    found = _request.get().get("request_id")
    return None if found is None else str(found)


def _renderers(form: Literal["json", "console"]) -> list[Processor]:
    if form == "json":
        return [_add_time, structlog.processors.format_exc_info, _render_json]
    stamp = structlog.processors.TimeStamper("%H:%M:%S", utc=False, key="timestamp")
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # rich's would show the variables of each frame: secrets
    )
    return [_add_level, stamp, renderer, _encode]


def _add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**_request.get(), **event}


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event.keys() & SECRET_FIELDS:
        event[name] = HIDDEN
    return event


def _add_level(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["level"] = "error" if method == "exception" else method
    return event


def _add_time(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    moment = time.time()
    stamp = f"{_second(int(moment))}.{int(moment % 1 * 1000):03}Z"
    return {"time": stamp, "level": "error" if method == "exception" else method, **event}


@lru_cache(maxsize=2)
def _second(moment: int) -> str:
    """Format whole seconds: many lines share theirs."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _in_json(value: object) -> str:
    # Bytes are keys, CSRs and signatures here: nothing to read, and sometimes nothing that anybody may read.
    return f"({len(value)} bytes)" if isinstance(value, bytes | bytearray | memoryview) else str(value)


# ASCII only: what a client sent cannot play tricks on the terminal that shows the log, and breaks no line.
_encoder = json.JSONEncoder(separators=(",", ":"), default=_in_json, check_circular=False)


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return _encoder.encode(event).encode()


def _encode(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return str(event).encode(errors="backslashreplace")  # the renderer before this one made a str of the event


class _ToStructlog(logging.Handler):
    """Lets what libraries log through `logging` take the same way as our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)  # the levels that structlog knows
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger().log(level, record.getMessage(), logger=record.name, **fields)
