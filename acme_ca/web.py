"""What all HTTP faces share: request ids, answers in JSON, problem documents, one log line and metric per request."""

import json
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Any

import structlog
from flask import Flask, Request, Response, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.routing import MapAdapter

from acme_ca import baton, logs, metrics, problems
from acme_ca.problems import Problem

WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BODY = "acme_ca.body"  # in the WSGI environment of a request by one of these methods
BEGUN = "acme_ca.begun"  # what was read of a body that is too large, which may have no length
MAX_BODY = 128 * 1024  # bytes: a CSR with a hundred names and an RSA-4096 key in JWS is far below

log = structlog.get_logger(__name__)


class InFlight:
    """How many requests this process works on; a face that could wait asks first whether others need the thread."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Count one request."""
        with self._lock:
            self._count += 1

    def __exit__(self, *_error: object) -> None:
        """Count it no more: it is answered."""
        with self._lock:
            self._count -= 1

    def __int__(self) -> int:
        return self._count


IN_FLIGHT = InFlight()


class Answer(Response):
    """An answer whose headers are final: its body is there, with its length, and its URLs are absolute ASCII."""

    def get_wsgi_headers(self, environ: Any) -> Headers:  # noqa: ANN401, ARG002 - the base class's signature
        """Return the headers as they are; Werkzeug would parse and rebuild each Location."""
        return self.headers


class Application(Flask):
    """A Flask application that counts its requests in flight."""

    response_class = Answer

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:  # noqa: ANN401 - the WSGI interface
        """Answer a request. Its body is read first: a slow client keeps only its own thread waiting."""
        with IN_FLIGHT:
            if environ["REQUEST_METHOD"] in WITH_BODY:
                environ[BODY] = _read_body(environ)
            with baton.held():
                return super().wsgi_app(environ, start_response)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds the view of a request: by its path and method alone, whatever its Host says."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "localhost", "/", "", "https", request.path, request.method)

    def ensure_sync(self, func: Any) -> Any:  # noqa: ANN401 - Flask's own signature
        """Return the function: no view here is a coroutine, which Flask would find out for each request."""
        return func


def json_response(body: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a JSON object."""
    return Answer(json.dumps(body), status, headers, content_type="application/json")


def body(limit: int = MAX_BODY) -> bytes:
    """Return the body of the request at hand; raises PayloadTooLarge, and Malformed if it broke off.

    With a larger `limit` (bytes) the rest of a large one is read only now: when it is known who sends it.
    """
    environ = _present(request).environ
    found: bytes | Problem = environ[BODY]
    if limit > MAX_BODY and isinstance(found, problems.PayloadTooLarge):
        with baton.aside():
            found = environ[BODY] = _read_body(environ, limit)
    if isinstance(found, Problem):
        raise found
    return found


def install(app: Flask) -> None:
    """Give an application the shared behaviour."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda _error: logs.forget_request())
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, _unexpected)


def problem_response(problem: Problem) -> Response:
    """Render a problem document that names the request. RFC 9457."""
    g.problem = problem
    document = problem.document() | {"instance": f"urn:request:{g.request_id}"}
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Answer(json.dumps(document), problem.status, headers, content_type="application/problem+json")


def _present(proxy: Any) -> Any:  # noqa: ANN401 - of whatever Flask's name stands for
    """Return what one of Flask's names stands for in this request; each use of the name would look it up anew."""
    return proxy._get_current_object()  # noqa: SLF001 - Werkzeug documents it


def _begin() -> None:
    request_id = secrets.token_hex(8)
    known = _present(g)
    known.started = perf_counter()
    known.request_id = request_id
    known.problem = None
    known.environment = ""  # a name from the path is only counted once it is known to exist
    logs.bind_request(request_id)


def _end(response: Response) -> Response:
    asked, known = _present(request), _present(g)
    seconds = perf_counter() - known.started
    endpoint = asked.endpoint or "none"
    environment = known.environment
    response.headers["X-Request-Id"] = known.request_id
    metrics.child(metrics.HTTP_REQUESTS, environment, endpoint, response.status_code).inc()
    metrics.child(metrics.HTTP_REQUEST_SECONDS, environment, endpoint).observe(seconds)
    details = {}
    if known.problem is not None:
        metrics.PROBLEMS.labels(environment, known.problem.type).inc()
        details = {"problem": known.problem.type, "detail": known.problem.detail}
    logs.request(
        method=asked.method,
        path=asked.path,
        status=response.status_code,
        remote=asked.remote_addr,
        ms=round(seconds * 1000, 1),
        **details,
    )
    return response


def _http_problem(error: HTTPException) -> Response:
    """Turn what Flask refuses by itself into a problem document."""
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return problem_response(
            problems.MethodNotAllowed(
                f"{request.method} is not for this resource; it answers {allowed}", headers={"Allow": allowed}
            )
        )
    if isinstance(error, RequestEntityTooLarge):
        return problem_response(_too_large())
    if error.code == HTTPStatus.NOT_FOUND:
        return problem_response(problems.NotFound(f"there is nothing at {request.path[:200]}"))
    if error.code is not None and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem_response(problems.Malformed(error.description or "the request cannot be read"))
    return _unexpected(error)


def _read_body(environ: dict[str, Any], limit: int = MAX_BODY) -> bytes | Problem:
    """Return the body, or the problem with it; what is longer than it may be is not read to its end."""
    declared: str = environ.get("CONTENT_LENGTH") or "0"
    begun: bytes = environ.pop(BEGUN, b"")
    try:
        if int(declared) > limit:
            return _too_large(limit)
        found: bytes = begun + environ["wsgi.input"].read(limit + 1 - len(begun))
    except (OSError, ValueError):  # the client left or took too long; its chunks cannot be read
        return problems.Malformed("the body of the request broke off")
    if len(found) <= limit:
        return found
    environ[BEGUN] = found
    return _too_large(limit)


def _too_large(limit: int = MAX_BODY) -> problems.PayloadTooLarge:
    return problems.PayloadTooLarge(f"the body is larger than {limit} bytes")


def _unexpected(error: Exception) -> Response:
    log.error("request.crashed", exc_info=error)
    return problem_response(problems.ServerInternal("the server failed; the operators find this request in the log"))
