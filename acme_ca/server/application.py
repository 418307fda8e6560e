"""What a listener's process serves: the CA's application, and until the CA could be put together, that it is not there.

A process that starts while the database is away must not die over it: gunicorn would take the whole listener down.
"""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from acme_ca.app import Face, create_app
from acme_ca.authority import Authority
from acme_ca.config import Config
from acme_ca.keys.base import KeyUnavailableError
from acme_ca.problems import Problem, ServiceUnavailable
from acme_ca.secret import SecretUnavailableError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

RETRY_FIRST, RETRY_MAX = 0.5, 15.0  # seconds between attempts, doubling
GARBAGE = 20_000  # objects that may be left over before the collector looks at them
NOT_ASSEMBLED = (Problem, SecretUnavailableError, KeyUnavailableError, OSError, ValueError, RuntimeError)
"""What `Authority` raises: the database is away or not current, a file or a secret is missing or wrong."""

log = structlog.get_logger(__name__)


def assemble(config: Config, stopping: threading.Event) -> Authority | None:
    """Put the CA together, trying again until it works; None when `stopping` came first."""
    pause = RETRY_FIRST
    while not stopping.is_set():
        try:
            return Authority(config)
        except NOT_ASSEMBLED:
            log.exception("ca.not_assembled", retry_in=pause)
        stopping.wait(pause)
        pause = min(pause * 2, RETRY_MAX)
    return None


class Application:
    """The WSGI application of one process. It answers 503 until the CA is there."""

    def __init__(self, config: Config, face: Face) -> None:
        self._face = face
        self._stopping = threading.Event()
        self._ca: Authority | None = None
        self._answer: WSGIApplication = _unavailable
        try:
            self._serve(Authority(config))
        except NOT_ASSEMBLED:
            log.exception("ca.not_assembled", face=face)
            threading.Thread(target=self._try_again, args=(config,), name="assemble", daemon=True).start()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        return self._answer(environ, start_response)

    def close(self) -> None:
        """Finish the work at hand and let everything go."""
        self._stopping.set()
        if self._ca is not None:
            self._ca.close()

    def _try_again(self, config: Config) -> None:
        if (ca := assemble(config, self._stopping)) is not None:
            self._serve(ca)
            log.info("ca.assembled", face=self._face)

    def _serve(self, ca: Authority) -> None:
        self._ca = ca
        self._answer = create_app(ca, (self._face,))
        # What is there now stays. Collections that look at it again and again, after every 700 objects that a request
        # left, would cost a twentieth of its time; the few cycles that requests leave can wait.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE)


def _unavailable(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer for a CA that is not there yet. The process itself is well."""
    if environ["PATH_INFO"] == "/livez":
        status, document, headers = HTTPStatus.OK, {"status": "ok"}, [("Content-Type", "application/json")]
    else:
        problem = ServiceUnavailable("the CA cannot work yet; the operators find the reason in its log", retry_after=5)
        status, document = HTTPStatus.SERVICE_UNAVAILABLE, problem.document()
        headers = [("Content-Type", "application/problem+json"), *problem.headers.items()]
    body = json.dumps(document).encode()
    start_response(f"{status.value} {status.phrase}", [*headers, ("Content-Length", str(len(body)))])
    return [body]
