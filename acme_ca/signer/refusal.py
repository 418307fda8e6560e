"""How the signer says no."""

from __future__ import annotations


class Refused(Exception):
    """What was asked for is not signed. The message says what was seen and expected; it goes to log and asker."""


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise Refused unless something holds."""
    if not holds:
        raise Refused(otherwise)
