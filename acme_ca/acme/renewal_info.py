"""renewalInfo over HTTP. RFC 9773 §4."""

from flask import Response

from acme_ca.authority import Authority, Environment
from acme_ca.clock import rfc3339
from acme_ca.services import renewal
from acme_ca.web import json_response


def renewal_info(ca: Authority, environment: Environment, certificate: str) -> Response:
    """Return when a certificate is to be renewed; anybody may ask."""
    window = renewal.window(ca, environment, certificate)
    body: dict[str, object] = {"suggestedWindow": {"start": rfc3339(window.start), "end": rfc3339(window.end)}}
    if window.explanation_url is not None:
        body["explanationURL"] = window.explanation_url
    return json_response(body, headers={"Retry-After": str(window.retry_after)})
