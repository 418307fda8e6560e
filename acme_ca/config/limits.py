"""How often clients may ask: the table [environment.NAME.limits]. RFC 8555 §6.6."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from acme_ca.config.fields import Link

_HOUR = 3600
_DAY = 24 * _HOUR


class Limit(BaseModel):
    """So many at once, and then one more whenever `seconds` / `count` have passed (a token bucket)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    count: int = Field(ge=1, le=1_000_000)
    """How many may come at once."""
    seconds: int = Field(ge=1, le=30 * _DAY)
    """How long it takes until as many may come at once again."""


LimitOrOff = Limit | Literal["off"]


class Limits(BaseModel):
    """How often clients may ask. Each limit is a table of `count` and `seconds`, or "off", which costs nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    new_account_per_address: LimitOrOff = Limit(count=1000, seconds=_HOUR)
    """New accounts from one client address: an IPv4 address, or an IPv6 network of 64 bits."""
    new_account_per_environment: LimitOrOff = "off"
    """New accounts of the environment."""
    new_order_per_account: LimitOrOff = "off"
    """Orders of one account."""
    new_order_per_name: LimitOrOff = "off"
    """Orders of one account for one name."""
    new_order_per_address: LimitOrOff = "off"
    """Orders from one client address, as above."""
    new_order_per_environment: LimitOrOff = "off"
    """Orders of the environment."""
    failed_validation_per_name: LimitOrOff = Limit(count=10, seconds=600)
    """Failed validations of one account for one name; when they are used up, no challenge for it is looked at."""
    failed_validation_per_account: LimitOrOff = "off"
    """Failed validations of one account."""
    help: Link | None = None
    """A page that tells clients about these limits; refusals link to it."""
