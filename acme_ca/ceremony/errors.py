"""What stops a ceremony."""

from __future__ import annotations


class CeremonyError(Exception):
    """Something has to be there first, must not be there, or does not fit. The message says what to do."""
