"""What goes wrong for a workload, and how it is told: what was asked, what was seen, what to do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from acme_ca.problems import URN

TOO_MANY_REQUESTS = 429
UNAVAILABLE = 503
STALE = ("token_expired", "token_not_yet_valid")
"""Codes by which the server lets a client read its token again and repeat the proof."""

_MAX_SHOWN = 2000  # characters of a server's text in one message


class AgentError(Exception):
    """Something did not work. The message is for the person who runs the helper, and carries no secret."""


class UnreachableError(AgentError):
    """A server gave no answer, or none that can be read."""


class CredentialError(AgentError):
    """The platform gave no credential."""


class RefusedError(AgentError):
    """The server answered with a problem document (RFC 9457) or with an error status.

    `type` is the name behind the URN; `workload_error` the stable code of a refused proof; `retry_after` seconds.
    """

    def __init__(
        self, what: str, document: Mapping[str, object], status: int, retry_after: float | None = None
    ) -> None:
        self.type = _text(document.get("type")).removeprefix(URN) or "about:blank"
        self.detail = _text(document.get("detail"))
        self.workload_error = _text(document.get("workloadError")) or None
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"{what} was refused with status {status}, {self._told(document)}")

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in {TOO_MANY_REQUESTS, UNAVAILABLE}

    def _told(self, document: Mapping[str, object]) -> str:
        told = f"{self.type}: {self.detail or 'no detail'}"
        if self.workload_error is not None:
            told += f" (workloadError {self.workload_error})"
        subproblems = document.get("subproblems")
        for problem in subproblems if isinstance(subproblems, list) else []:
            if isinstance(problem, dict):
                told += f"\n  {_named(problem.get('identifier'))}{_text(problem.get('detail'))}"
        return told


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After field, which may hold a time; None if there is none. RFC 9110 §10.2.3."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def printable(text: str) -> str:
    """Return a foreign text such that it plays no tricks on a terminal, bounded."""
    return "".join(character if character.isprintable() else "?" for character in text[:_MAX_SHOWN])


def _named(identifier: object) -> str:
    return f"{_text(identifier.get('value'))}: " if isinstance(identifier, dict) else ""


def _text(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""
