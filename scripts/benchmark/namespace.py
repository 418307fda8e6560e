"""A network namespace for servers that validate on ports 80 and 53 only.

In it there is nothing but a loopback interface, so those ports are free whatever the machine runs, and no load
can leave. Every name is asked of 127.0.0.1:53, where the generator's own responder listens.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = (
    0x00020000,
    0x10000000,
    0x40000000,
)  # unshare(2); os.unshare is new in 3.12
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # netdevice(7)


def enter() -> None:
    """Move this process and its later children into a namespace of their own; raises OSError where that is not allowed.

    Works as root, and without it where the kernel lets users make namespaces. There is no way back.
    """
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWNET | _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): needed before the map of groups
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    _mount("--make-rprivate", "/")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:2 attempts:2\n")
        file.flush()
        Path(file.name).chmod(0o644)
        _mount("--bind", file.name, "/etc/resolv.conf")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(  # noqa: S603 - our own arguments
            ["mount", *arguments],  # noqa: S607 - wherever util-linux is installed
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr.strip()) from error
