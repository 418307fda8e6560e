"""The listening sockets. The supervisor opens them and keeps them while listeners come and go."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from acme_ca.config import Config

BACKLOG = 2048  # connections that wait to be accepted


@dataclass(slots=True)
class Listening:
    """Open sockets by role, with the setting that each was opened for."""

    binds: dict[str, str] = field(default_factory=dict)
    sockets: dict[str, socket.socket] = field(default_factory=dict)

    def get(self, role: str) -> socket.socket | None:
        """Return the socket of a role; None for a role that does not listen."""
        return self.sockets.get(role)

    def close_what_is_not_in(self, other: Listening | None) -> None:
        """Close the sockets that `other` does not use."""
        kept = [] if other is None else list(other.sockets.values())
        for opened in self.sockets.values():
            if opened not in kept:
                opened.close()


def listen(config: Config, roles: Iterable[str], present: Listening | None) -> Listening:
    """Open what the configuration asks for, taking over from `present` what stays; raises OSError."""
    present = present or Listening()
    found = Listening()
    for role in roles:
        if role == "worker":
            continue
        bind = config.listener.acme.bind if role == "acme" else config.listener.status.bind
        stays = present.binds.get(role) == bind
        try:
            found.sockets[role] = present.sockets[role] if stays else _open(bind)
        except OSError as error:
            found.close_what_is_not_in(present)
            raise OSError(error.errno, f"cannot listen on {bind} ({role}): {error.strerror or error}") from error
        found.binds[role] = bind
    return found


def _open(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    is_any = host == "::"
    return socket.create_server(
        address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=is_any and socket.has_dualstack_ipv6()
    )
