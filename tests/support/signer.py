"""A signer of the tests' own: a thread of this process, behind a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acme_ca.config import Config, Signer
from acme_ca.server.sockets import listen
from acme_ca.signer import process
from acme_ca.signer.server import Server


@dataclass
class RunningSigner:
    """A signer, and the configuration of who asks it."""

    settings: Config
    server: Server
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=process.run, args=(self.server, self._stop.is_set))
        self._thread.start()

    def stop(self) -> None:
        """End it; who asks finds nobody there."""
        if self._thread is not None:
            self._stop.set()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:  # so that it looks at once
                knock.connect(str(self.settings.signer_socket))
            self._thread.join()
            self._thread = None
            self.server.close()


def signer(settings: Config, folder: Path, **changes: Any) -> RunningSigner:  # noqa: ANN401 - settings of any kind
    """Start a signer with its socket in a folder."""
    own = Signer(socket=folder / "signer.sock", start=False, **changes)
    settings = settings.model_copy(update={"signer": own})
    (listening,) = listen(settings, ("signer",), None).get("signer")
    try:
        running = RunningSigner(settings, process.prepare(settings, listening))
    except BaseException:
        listening.close()
        raise
    running.start()
    return running


def beside(settings: Config, folder: Path) -> tuple[Config, Callable[[], None]]:
    """Put a signer beside a CA that is about to start: its configuration, and what ends the signer."""
    running = signer(settings, folder)
    return running.settings, running.stop


@contextmanager
def signing(settings: Config, folder: Path, **changes: Any) -> Iterator[RunningSigner]:  # noqa: ANN401 - as above
    """Have a signer in a block."""
    running = signer(settings, folder, **changes)
    try:
        yield running
    finally:
        running.stop()
