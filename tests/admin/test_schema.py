"""The admin API does what its OpenAPI document says, for good and for bad data. schemathesis makes up both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from acme_ca import config
from acme_ca.admin import CALLS, openapi
from acme_ca.admin.calls import Call
from acme_ca.admin.signing_in import LOCAL
from acme_ca.app import ask, create_app
from acme_ca.authority import Authority
from tests.support.sub_cas import make_sub_ca_files

pytestmark = pytest.mark.timeout(600)
EXAMPLES = 25


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application."""
    ca = Authority(config.load(make_sub_ca_files(tmp_path_factory.mktemp("ca"))))
    yield create_app(ca, ("admin",))
    ca.close()


@pytest.fixture(scope="module")
def token(app: Flask) -> str:
    """A token of an operator who may do everything."""
    for path, body in (
        ("", {"name": "root", "role": "ca-admin"}),
        ("/root/tokens", {"label": "t", "role": "ca-admin"}),
    ):
        headers = {"Content-Type": "application/json"}
        _, _, answer = ask(app, "POST", f"/admin/v1/admins{path}", json.dumps(body).encode(), headers, {LOCAL: 0})
    return str(json.loads(answer)["token"])


@pytest.fixture(scope="module")
def described(app: Flask) -> schemathesis.BaseSchema:
    """The API as it describes itself."""
    return schemathesis.openapi.from_wsgi("/admin/v1/openapi.json", app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_each_call_is_as_described(
    described: schemathesis.BaseSchema, token: str, call: Call, mode: GenerationMode
) -> None:
    operation = described[call.path][call.method]

    headers = {"Authorization": f"Bearer {token}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers=headers)
        case.validate_response(response, headers=headers, excluded_checks=_without_meaning(call, response))

    try:
        check()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing that is sent could be wrong
        assert call.body is None


def _without_meaning(call: Call, response: schemathesis.Response) -> list[schemathesis.CheckFunction]:
    """What a call refuses for reasons that no schema tells is not `invalid`: a CSR that is none, an unknown name.

    schemathesis does not count 413 among the refusals, and what it breaks in a query or a header is text all the same.
    """
    excluded: list[schemathesis.CheckFunction] = []
    if call.body is None or response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        excluded.append(negative_data_rejection)
    if response.status_code >= HTTPStatus.BAD_REQUEST and not response.json()["type"].endswith(":invalid"):
        excluded.append(positive_data_acceptance)
    return excluded


def test_the_document_names_every_call() -> None:
    document = openapi.document(CALLS)
    named = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert named == {call.name for call in CALLS}
