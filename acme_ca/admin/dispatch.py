"""One request of the admin API: who asks, may they, what for, and what comes of it.

The order is that of the checks: nobody who is not signed in learns what there is, nobody without the permission learns
whether a body would have been right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from hashlib import sha256

from flask import Response, g, request
from pydantic import BaseModel, ValidationError

from acme_ca.admin import signing_in
from acme_ca.admin.calls import PLAIN, PLAIN_IN_HEADER, Answered, Asked, Call
from acme_ca.admin.problems import Forbidden, Invalid, Unsuitable
from acme_ca.authority import Authority
from acme_ca.complaints import complaints_of
from acme_ca.models.admin import Operator
from acme_ca.problems import Malformed, NotFound, Problem, UnsupportedMediaType
from acme_ca.services import idempotency
from acme_ca.web import Answer, body

JSON = "application/json"
DRY_RUN = "dry_run"
IN_PATH, IN_HEADER = re.compile(PLAIN), re.compile(PLAIN_IN_HEADER)
BEYOND_SCHEMA = {"value_error", "assertion_error", "mistake"}  # what no JSON Schema tells
NO_STORE = {"Cache-Control": "no-store"}
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON; no text of a database can hold it
KEPT_HEADERS = ("ETag", "Location")  # of an answer that is given again


def view(ca: Authority, call: Call) -> Callable[..., Response]:
    """Return Flask's view of a call."""

    def answer(**path: str) -> Response:
        operator = signing_in.operator(ca, request.environ)
        _require_allowed(operator, call)
        return _answer(_asked(ca, call, operator, path), call)

    return answer


def _require_allowed(operator: Operator, call: Call) -> None:
    if not operator.may(call.permission):
        raise Forbidden(f"{operator.by} is {operator.role.value}, which may not {call.permission.value}")
    if call.everywhere and operator.environments:
        raise Forbidden(f"{operator.by} is there for some environments only; this call is about all of them")


def _asked(ca: Authority, call: Call, operator: Operator, path: Mapping[str, str]) -> Asked:
    for name, value in path.items():
        if not IN_PATH.fullmatch(value):
            raise NotFound(f"there is no such {name}; expected plain ASCII text of up to 200 characters")
    query, dry_run = _query(call)
    asked = Asked(
        ca=ca,
        operator=operator,
        path=path,
        query=query,
        body=None if call.body is None else _body(call.body, call.body_limit),
        dry_run=dry_run,
        if_match=request.headers.get("If-Match"),
    )
    if "environment" in path:
        g.environment = asked.environment.name
    return asked


def _query(call: Call) -> tuple[BaseModel, bool]:
    """Return what the query says; each name may be there once."""
    given = request.args.to_dict(flat=False)
    dry_run = given.pop(DRY_RUN, ["false"]) if call.dry_run != "no" else ["false"]
    twice = [name for name, values in given.items() if len(values) > 1]
    if twice:
        raise Invalid(f"{twice[0][:80]!a} is in the query more than once")
    if dry_run not in (["true"], ["false"]):
        raise Invalid(f"{DRY_RUN} is true or false")
    values = {name: values[0] for name, values in given.items()}
    if unclean := [name for name, value in values.items() if "\0" in value]:  # no text of a database can hold it
        raise Invalid(f"{unclean[0][:80]!a} in the query has the character U+0000")
    try:
        return call.query.model_validate(values), dry_run == ["true"]
    except ValidationError as error:
        raise _invalid(error, "the query") from error


def _body(model: type[BaseModel], limit: int) -> BaseModel:
    if request.mimetype != JSON:
        raise UnsupportedMediaType(f"the body is {(request.mimetype or 'of no type')[:80]}; expected {JSON}")
    try:
        return model.model_validate_json(_document(body(limit)))
    except ValidationError as error:
        raise _invalid(error, "the body") from error


def _document(raw: bytes) -> str:
    """Return JSON in UTF-8 (RFC 8259 §8.1) in a plain form: to JSON 3.0 is an integer, and no text has U+0000."""
    try:
        document = json.dumps(json.loads(raw.decode(), parse_float=_number, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the body is no JSON in UTF-8: {error}") from error
    if NUL.search(document):
        raise Malformed("the body has the character U+0000, which no text can have here")
    return document


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _invalid(error: ValidationError, where: str) -> Problem:
    """Name every place that is wrong, and what is wrong with it; values stay out, they may be secrets."""
    kinds = {mistake["type"] for mistake in error.errors(include_url=False, include_context=False, include_input=False)}
    kind = Unsuitable if kinds <= BEYOND_SCHEMA else Invalid
    found = [{"place": place, "reason": reason} for place, reason in complaints_of(error)]
    first = f"{found[0]['place'] or where}: {found[0]['reason']}"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return kind(f"{where} is not what the call takes: {first}{more}", extra={"errors": found})


def _answer(asked: Asked, call: Call) -> Response:
    key = request.headers.get("Idempotency-Key") if call.acts else None
    if key is not None and not IN_HEADER.fullmatch(key):
        raise Invalid("Idempotency-Key is no plain ASCII text of up to 200 characters")
    if key is None or asked.dry_run:
        return _respond(asked, call, _done(asked, call))
    once = idempotency.Call(asked.operator.by, key, _request_digest(call, asked))
    before = idempotency.begin(asked.ca, once)
    if before is not None:
        headers = {**NO_STORE, **before.headers, "Idempotency-Replayed": "true"}
        return Answer(before.body, before.status, headers, content_type=JSON)
    with idempotency.claimed(asked.ca, once):
        response = _respond(asked, call, _done(asked, call))
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    idempotency.finish(asked.ca, once, idempotency.Reply(response.status_code, kept, response.get_data()))
    return response


def _done(asked: Asked, call: Call) -> Answered:
    rehearsal = asked.ca.database.rehearsal() if asked.dry_run and call.dry_run == "undone" else nullcontext()
    with rehearsal:
        found = call.work(asked)
    return found if isinstance(found, Answered) else Answered(found)


def _respond(asked: Asked, call: Call, found: Answered) -> Response:
    headers = dict(NO_STORE)
    if found.etag is not None:
        headers["ETag"] = f'"{found.etag}"'
    if found.location is not None and not asked.dry_run:
        headers["Location"] = f"/admin/v1{found.location}"
    status = 200 if asked.dry_run else call.status
    return Answer(found.body.model_dump_json(), status, headers, content_type=JSON)


def _request_digest(call: Call, asked: Asked) -> bytes:
    said = [call.method, call.path, dict(asked.path), asked.query.model_dump(mode="json"), body().decode("latin-1")]
    return sha256(json.dumps(said, sort_keys=True).encode()).digest()
