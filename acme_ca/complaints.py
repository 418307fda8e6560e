"""What pydantic found wrong with data, in words for whoever sent it."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

TIME = "expected a time with its zone, such as 2026-01-31T12:00:00Z"
NETWORK = "expected a network such as 10.0.0.0/8, with no bits beyond it"
SAID = {"datetime_parsing": TIME, "datetime_from_date_parsing": TIME}
UNION = "lax-or-strict["  # how pydantic names a member of the union of networks: the same place, tried twice


def complaints_of(error: ValidationError) -> list[tuple[str, str]]:
    """Return each place, dots between its members, and what is wrong there; values stay out, they may be secrets."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return list(dict.fromkeys(map(_complaint, found)))


def _complaint(one: ErrorDetails) -> tuple[str, str]:
    parts = [str(part) for part in one["loc"]]
    reason = SAID.get(one["type"]) or one["msg"].removeprefix("Value error, ")
    if parts and parts[-1].startswith(UNION):
        parts, reason = parts[:-1], NETWORK
    return ".".join(parts), reason


def lines(error: ValidationError) -> list[str]:
    """Return them as text; what concerns the whole has no place."""
    return [f"{place}: {reason}" if place else reason for place, reason in complaints_of(error)]
