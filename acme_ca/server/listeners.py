"""A listener as one child process of the supervisor: gunicorn on a socket that the supervisor opened."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from acme_ca import metrics
from acme_ca.server.tls import TlsContexts

KEEPALIVE = 75  # seconds an idle connection stays open: clients come back within a flow, not after
GRACE = 30  # seconds a stopping listener gives the requests at hand
HEARTBEAT = 60  # seconds without a sign of life after which a worker is killed
CONNECTIONS = 4096  # that one worker holds open, at most
DESCRIPTORS = 128  # kept for files, database and outbound connections
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - heartbeats on a disk could stall with it; only unnamed files are made here


class Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends what gunicorn says to the CA's own log; requests are logged by the application."""

    def setup(self, cfg: object) -> None:
        """Leave formats and handlers to `logs`."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)

    def reopen_files(self) -> None:
        """Nothing to reopen: the log is standard output."""

    def close_on_exec(self) -> None:
        """Nothing to close."""


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master process, which ends when the supervisor is gone."""

    supervisor_pid = 0

    def manage_workers(self) -> None:
        """Keep the number of workers; called every second."""
        if os.getppid() != self.supervisor_pid:
            raise StopIteration  # as for SIGTERM: the requests at hand are finished
        super().manage_workers()

    def handle_int(self) -> None:
        """Drain on SIGINT too."""
        raise StopIteration


class Listener(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One listener: its settings, and `load`, which each worker calls after the fork."""

    def __init__(self, settings: Mapping[str, object], load: Callable[[], WSGIApplication]) -> None:
        self._settings = settings
        self._load = load
        super().__init__()

    def load_config(self) -> None:
        """Hand the settings to gunicorn."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Return the application of this worker."""
        return self._load()

    def run(self) -> None:
        """Serve until told to stop."""
        master = Master(self)
        master.supervisor_pid = os.getppid()
        master.systemd = True  # as under systemd, the sockets are another's, not to be removed at the end
        master.run()


def settings(
    descriptors: Sequence[int],
    workers: int,
    threads: int,
    certificate: Path | None,
    ready: Callable[[], None],
    clients: Path | None = None,
) -> dict[str, object]:
    """Return gunicorn's settings for a listener; `ready` is called in each worker that can serve.

    `clients` is the PEM file of who issues the certificates that clients may show.

    No header of any client says where a request came from: `forwarded_allow_ips` lets every peer set the trusted
    headers, of which there are none. An empty list of peers would mean the same, and cost 10 µs a request.
    """
    found: dict[str, object] = {
        "bind": [f"fd://{descriptor}" for descriptor in descriptors],
        "workers": workers,
        "threads": threads,
        "worker_class": "acme_ca.server.connections.Worker",
        "worker_connections": _connections(),
        "keepalive": KEEPALIVE,
        "graceful_timeout": GRACE,
        "timeout": HEARTBEAT,
        "limit_request_line": 4094,
        "limit_request_fields": 50,
        "limit_request_field_size": 8190,
        "forwarded_allow_ips": "*",
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        "control_socket_disable": True,
        "logger_class": Log,
        "post_worker_init": lambda _worker: ready(),
        "worker_exit": lambda _master, worker: _let_go(worker),
        "child_exit": lambda _master, worker: metrics.child_exit(worker.pid),
        "proc_name": "acme-ca",
    }
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        found["worker_tmp_dir"] = str(SHARED_MEMORY)
    if certificate is not None:
        found |= _tls_settings(certificate, clients)
    return found


def _tls_settings(certificate: Path, clients: Path | None) -> dict[str, Any]:
    contexts = TlsContexts(certificate, clients)
    return {
        "certfile": str(certificate),
        "do_handshake_on_connect": False,  # a thread shakes hands, not the accept loop
        "ssl_context": lambda _config, _default: contexts.current(),
    }


def _let_go(worker: object) -> None:
    """Close the application of a worker that ends; gunicorn calls this in the master too, where there is none."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.close()


def _connections() -> int:
    """Return how many connections a worker may hold, having raised the limit of open files as far as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + DESCRIPTORS
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    soft = max(soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(CONNECTIONS, soft - DESCRIPTORS)
