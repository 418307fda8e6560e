"""The listening sockets. The supervisor opens them and keeps them while listeners come and go."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from acme_ca.config import Config
from acme_ca.paths import within

BACKLOG = 2048  # connections that wait to be accepted
UNIX = "unix:"


@dataclass(slots=True)
class Listening:
    """Open sockets by role, with the setting that each was opened for."""

    binds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sockets: dict[str, tuple[socket.socket, ...]] = field(default_factory=dict)

    def get(self, role: str) -> tuple[socket.socket, ...]:
        """Return the sockets of a role; none for a role that does not listen."""
        return self.sockets.get(role, ())

    def close_what_is_not_in(self, other: Listening | None) -> None:
        """Close the sockets that `other` does not use."""
        kept = [] if other is None else [opened for group in other.sockets.values() for opened in group]
        for opened in (opened for group in self.sockets.values() for opened in group):
            if opened not in kept:
                opened.close()


def listen(config: Config, roles: Iterable[str], present: Listening | None) -> Listening:
    """Open what the configuration asks for, taking over from `present` what stays; raises OSError."""
    present = present or Listening()
    found = Listening()
    for role in roles:
        for bind in _binds(config, role):
            there = dict(zip(present.binds.get(role, ()), present.get(role), strict=True))
            try:
                opened = there.get(bind) or _open(bind)
            except OSError as error:
                found.close_what_is_not_in(present)
                raise OSError(error.errno, f"cannot listen on {bind} ({role}): {error.strerror or error}") from error
            found.sockets[role] = (*found.get(role), opened)
            found.binds[role] = (*found.binds.get(role, ()), bind)
    return found


def _binds(config: Config, role: str) -> tuple[str, ...]:
    """Return where a role listens: the admin listener on a Unix socket too, for those who are on this host."""
    listener = config.listener
    if role == "admin":
        return () if listener.admin is None else (listener.admin.bind, f"{UNIX}{config.admin_socket}")
    if role == "signer":
        return () if config.signer is None else (f"{UNIX}{config.signer_socket}",)
    if role == "worker":
        return ()
    return ((listener.acme if role == "acme" else listener.status).bind,)


def _open(bind: str) -> socket.socket:
    if bind.startswith(UNIX):
        return _open_unix(Path(bind.removeprefix(UNIX)))
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    is_any = host == "::"
    return socket.create_server(
        address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=is_any and socket.has_dualstack_ipv6()
    )


def _open_unix(path: Path) -> socket.socket:
    """Listen on a socket file for this user and root alone; one that nobody listens on any more is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with within(path.parent) as folder:
        short = f"{folder}/{path.name}"
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if _is_deserted(short):
                path.unlink()
            mask = os.umask(0o177)
            try:
                opened.bind(short)
            finally:
                os.umask(mask)
            opened.listen(BACKLOG)
        except BaseException:
            opened.close()
            raise
    return opened


def _is_deserted(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return False
    return False
