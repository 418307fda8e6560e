"""The admin API at /admin/v1: JSON for operators. docs/admin-api.md."""

from collections.abc import Sequence
from functools import partial

from flask import Flask, Response

from acme_ca.admin import (
    accounts,
    admins,
    audit,
    blocked_keys,
    certificates,
    crls,
    dispatch,
    distrusted_issuers,
    external_keys,
    inventory,
    openapi,
    policies,
    rate_limits,
    sub_cas,
    workloads,
)
from acme_ca.admin.calls import Call
from acme_ca.authority import Authority
from acme_ca.web import json_response

PREFIX = "/admin/v1"
CALLS: Sequence[Call] = (
    *admins.CALLS,
    *external_keys.CALLS,
    *accounts.CALLS,
    *workloads.CALLS,
    *policies.CALLS,
    *certificates.CALLS,
    *inventory.CALLS,
    *crls.CALLS,
    *sub_cas.CALLS,
    *distrusted_issuers.CALLS,
    *blocked_keys.CALLS,
    *rate_limits.CALLS,
    *audit.CALLS,
)
"""All calls, noun by noun."""


def install(app: Flask, ca: Authority) -> None:
    """Add the API to an application."""
    for call in CALLS:
        path = PREFIX + call.path.replace("{", "<").replace("}", ">")
        app.add_url_rule(
            path, call.name, dispatch.view(ca, call), methods=[call.method], provide_automatic_options=False
        )
    described = partial(_described, openapi.document(CALLS))
    app.add_url_rule(f"{PREFIX}/openapi.json", "openapi", described, provide_automatic_options=False)


def _described(document: dict[str, object]) -> Response:
    """Show the description, to anybody: it is the same for every installation."""
    return json_response(document)
