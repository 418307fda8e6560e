"""`[signer]`: the process that holds the issuers' keys, so that those who answer the network have none."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from acme_ca.config.base import Settings
from acme_ca.paths import AnchoredPath


class Signer(Settings):
    """A process that holds the issuers' keys, and looks again at all that it signs."""

    socket: AnchoredPath | None = None
    """The Unix socket that it is asked at; when left out, `signer.sock` in `state`."""
    start: bool = True
    """Whether `acme-ca serve` starts it. If not, `acme-ca signer` is run apart, best as a user of its own."""
    users: tuple[str, ...] = ()
    """Users, by name or number, that may ask it beside its own one."""
    mode: Literal["0600", "0660", "0666"] = "0600"
    """The mode of the socket. Who may connect and is none of `users` is turned away nevertheless."""
    timeout: int = Field(default=10, ge=1, le=60)
    """How many seconds a signature is waited for."""
    connections: int = Field(default=256, ge=8, le=4096)
    """Connections at the same time; each thread that signs keeps one for each issuer."""
