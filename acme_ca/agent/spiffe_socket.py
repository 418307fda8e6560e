"""The SPIFFE Workload API on a Unix socket: FetchX509SVID and FetchX509Bundles, pushed at each rotation.

The socket is the identity: whoever can open it (its owner and group) gets the key. Other methods are UNIMPLEMENTED.
Needs the extra spiffe-socket (grpcio).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio has no types

from acme_ca.agent.errors import AgentError
from acme_ca.agent.spiffe_messages import X509Svid

MAX_STREAMS = 128  # each holds a thread
SERVICE = "SpiffeWorkloadAPI"
SCHEME = "unix://"
SECURITY_HEADER = ("workload.spiffe.io", "true")

_SOCKET_UMASK = 0o117  # a socket for owner and group: 0660
_GRACE = 1.0  # seconds in which streams end


class Current:
    """The newest SVID, and a way to wait for one that is newer than another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._svid: X509Svid | None = None

    def replace(self, svid: X509Svid | None) -> None:
        """Push a new SVID to all streams."""
        with self._changed:
            self._svid = svid
            self._changed.notify_all()

    def wake(self) -> None:
        """Let all streams look whether they are still wanted."""
        with self._changed:
            self._changed.notify_all()

    def newer_than(self, seen: X509Svid | None, wanted: Callable[[], bool]) -> X509Svid | None:
        """Wait for an SVID that is another than `seen`; None when it is no longer wanted."""
        with self._changed:
            self._changed.wait_for(lambda: not wanted() or self._svid not in {None, seen})
            return self._svid if wanted() else None


class WorkloadApi:
    """The server on a socket; `current` is what it serves."""

    def __init__(self, address: str) -> None:
        self.current = Current()
        path = _path(address)
        handlers = {
            "FetchX509SVID": self._method(X509Svid.svid_response),
            "FetchX509Bundles": self._method(X509Svid.bundles_response),
        }
        self._server = grpc.server(ThreadPoolExecutor(MAX_STREAMS, "workload-api"), maximum_concurrent_rpcs=MAX_STREAMS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        before = os.umask(_SOCKET_UMASK)  # set around the bind: at no moment may others connect
        try:
            self._server.add_insecure_port(f"unix:{path}")
            self._server.start()
        except RuntimeError as error:
            raise AgentError(
                f"the socket {path} cannot be made: {error}. Is its folder there, and writable?"
            ) from error
        finally:
            os.umask(before)
        self._path = path

    def stop(self) -> None:
        """End all streams, and take the socket away."""
        ended = self._server.stop(_GRACE)
        ended.wait()
        self.current.wake()
        self._path.unlink(missing_ok=True)

    def _method(self, encode: Callable[[X509Svid], bytes]) -> Any:  # noqa: ANN401 - grpcio has no types
        def stream(_request: bytes, context: Any) -> Iterator[bytes]:  # noqa: ANN401 - grpcio has no types
            if SECURITY_HEADER not in {(name, value) for name, value in context.invocation_metadata()}:
                # SPIFFE Workload Endpoint §6.1: a request that was forged by way of a browser cannot have it.
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the metadata workload.spiffe.io: true is missing")
            if not context.add_callback(self.current.wake):
                return
            seen: X509Svid | None = None
            while (seen := self.current.newer_than(seen, context.is_active)) is not None:
                yield encode(seen)

        return grpc.unary_stream_rpc_method_handler(stream)


def _path(address: str) -> Path:
    path = Path(address.removeprefix(SCHEME))
    if not address.startswith(SCHEME) or not path.is_absolute():
        raise AgentError(f"{address} is no address of a Unix socket; expected unix:///path/to/the.sock")
    return path
