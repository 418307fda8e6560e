"""The API's description of itself. OpenAPI 3.1.1, from the same models that the dispatcher reads and writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from acme_ca.admin.calls import PLAIN, PLAIN_IN_HEADER, Call
from acme_ca.models.admin import PERMISSIONS

REF = "#/components/schemas/{model}"
PROBLEM = {
    "type": "object",
    "required": ["type", "detail", "status", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "What kind of refusal it is."},
        "detail": {"type": "string", "description": "What was seen, what was expected, and what to do."},
        "status": {"type": "integer"},
        "instance": {"type": "string", "description": "The request, as the log names it."},
        "errors": {
            "type": "array",
            "description": "Each place of the request that is wrong.",
            "items": {
                "type": "object",
                "required": ["place", "reason"],
                "properties": {"place": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
IN_PATH = {"type": "string", "pattern": PLAIN}
IN_HEADER = {"type": "string", "pattern": PLAIN_IN_HEADER}


def document(calls: Sequence[Call]) -> dict[str, Any]:
    """Return the OpenAPI document of the calls."""
    models, definitions = _schemas(calls)
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, models)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "acme-ca admin API",
            "version": version("acme-ca"),
            "description": "Policy, revocation, accounts and audit of an ACME certificate authority.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/admin/v1"}],
        "security": [{"certificate": []}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "certificate": {"type": "mutualTLS", "description": "A certificate by `acme-ca admin enroll`."},
                "token": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {**definitions, "Problem": PROBLEM},
        },
    }


Models = Mapping[Any, dict[str, Any]]  # by model and mode


def _schemas(calls: Iterable[Call]) -> tuple[Models, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for call in calls:
        wanted[call.answer, "serialization"] = None
        wanted[call.query, "validation"] = None
        if call.body is not None:
            wanted[call.body, "validation"] = None
    models, schema = models_json_schema(list(wanted), ref_template=REF)
    return models, schema.get("$defs", {})


def _operation(call: Call, models: Models) -> dict[str, Any]:
    roles = [role.value for role, granted in PERMISSIONS.items() if call.permission in granted]
    operation: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.summary,
        "description": f"For the roles {', '.join(roles)}{', if for all environments' if call.everywhere else ''}.",
        "tags": [_tag(call)],
        "parameters": [*_path(call), *_query(call, models), *_headers(call)],
        "responses": {
            str(call.status): {
                "description": "Done.",
                "content": {"application/json": {"schema": models[call.answer, "serialization"]}},
            },
            **({} if call.dry_run == "no" or call.status == 200 else {"200": _rehearsed(call, models)}),  # noqa: PLR2004 - OK
            "4XX": _problem("Refused."),
            "503": _problem("Something is away; repeat the call after Retry-After seconds."),
        },
    }
    if call.body is not None:
        schema = models[call.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _rehearsed(call: Call, models: Models) -> dict[str, Any]:
    schema = models[call.answer, "serialization"]
    return {"description": "What would be done.", "content": {"application/json": {"schema": schema}}}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": REF.format(model="Problem")}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _tag(call: Call) -> str:
    parts = [part for part in call.path.split("/") if part and not part.startswith("{")]
    return parts[1] if parts[0] == "environments" and len(parts) > 1 else parts[0]


def _path(call: Call) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": IN_PATH} for name in call.variables]


def _query(call: Call, models: Models) -> list[dict[str, Any]]:
    del models
    schema = call.query.model_json_schema(ref_template=REF)
    required = schema.get("required", ())
    found = [
        {"name": name, "in": "query", "required": name in required, "schema": _inlined(field, schema)}
        for name, field in schema.get("properties", {}).items()
    ]
    if call.dry_run != "no":
        boolean = {"type": "boolean", "default": False, "description": "Tell what would be done, and do nothing."}
        found.append({"name": "dry_run", "in": "query", "required": False, "schema": boolean})
    return found


def _inlined(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Put definitions where they are used: a query has only simple ones."""
    name = re.fullmatch(r"#/components/schemas/(.+)", field.get("$ref", ""))
    if name:
        found: dict[str, Any] = schema["$defs"][name[1]]
        return found
    return {
        key: [_inlined(one, schema) for one in value] if key in {"anyOf", "allOf"} else value
        for key, value in field.items()
    }


def _headers(call: Call) -> list[dict[str, Any]]:
    found = []
    if call.acts:
        text = "Do it once, however often the call is repeated within a day."
        found.append(
            {"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": IN_HEADER}
        )
    if call.edits:
        text = "The ETag of what is to be changed, or *."
        found.append({"name": "If-Match", "in": "header", "required": True, "description": text, "schema": IN_HEADER})
    return found
