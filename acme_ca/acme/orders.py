"""Orders over HTTP: newOrder, order, finalize, certificate. RFC 8555 §7.4."""

from typing import Any

from flask import Response, request

from acme_ca.acme.messages import Finalize, NewOrder
from acme_ca.acme.signed import SignedRequest
from acme_ca.authority import Environment
from acme_ca.clock import rfc3339
from acme_ca.jose import b64url_decode
from acme_ca.models.order import OrderView
from acme_ca.problems import NotFound
from acme_ca.services import issuance, orders
from acme_ca.web import Answer, json_response

RETRY_AFTER = "1"  # seconds; some clients read whole seconds only, and wait 5 where it is missing


def new_order(asked: SignedRequest) -> Response:
    """Make an order. §7.4."""
    message = asked.message(NewOrder)
    wish = orders.Wish(
        identifiers=tuple((body.type, body.value) for body in message.identifiers),
        profile=message.profile,
        not_before=message.not_before,
        not_after=message.not_after,
        replaces=message.replaces,
        address=request.remote_addr,
    )
    return _response(asked.environment, orders.create(asked.ca, asked.environment, asked.account(), wish), 201)


def order(asked: SignedRequest, id_: str) -> Response:
    """Read an order."""
    asked.require_empty()
    return _response(asked.environment, orders.get(asked.ca, asked.environment, asked.account(), id_), 200)


def finalize(asked: SignedRequest, id_: str) -> Response:
    """Issue the certificate; the answer is the order, valid already. §7.4."""
    csr = b64url_decode(asked.message(Finalize).csr)
    return _response(asked.environment, issuance.finalize(asked.ca, asked.environment, asked.account(), id_, csr), 200)


def certificate(asked: SignedRequest, id_: str, number: int = 0) -> Response:
    """Return the chain in PEM, leaf first and without the root; `number` > 0 names an alternate. §7.4.2."""
    asked.require_empty()
    leaf, issuer = issuance.certificate(asked.ca, asked.environment, asked.account(), id_)
    if number > len(issuer.alternates):
        raise NotFound(f"certificate {id_} has {len(issuer.alternates)} alternate chains")
    response = Answer(issuer.pem_chain(leaf, number), content_type="application/pem-certificate-chain")
    url = f"{asked.environment.url}/certificate/{id_}"
    for other in range(len(issuer.alternates) + 1):
        if other != number:
            response.headers.add("Link", f'<{url}{f"/{other}" if other else ""}>;rel="alternate"')
    return response


def _response(environment: Environment, view: OrderView, status: int) -> Response:
    url = f"{environment.url}/order/{view.order.id}"
    headers = {"Location": url}
    if view.status == "processing":
        headers["Retry-After"] = RETRY_AFTER
    return json_response(_body(environment, view, url), status, headers)


def _body(environment: Environment, view: OrderView, url: str) -> dict[str, Any]:
    found = view.order
    body: dict[str, Any] = {
        "status": view.status,
        "expires": rfc3339(found.expires_at),
        "identifiers": found.identifiers,
        "authorizations": [f"{environment.url}/authorization/{id_}" for id_ in found.authorization_ids],
        "finalize": f"{url}/finalize",
        "profile": found.profile,
    }
    for member, moment in (("notBefore", found.not_before), ("notAfter", found.not_after)):
        if moment is not None:
            body[member] = rfc3339(moment)
    if found.replaces is not None:
        body["replaces"] = found.replaces
    if view.error is not None:
        body["error"] = view.error
    if view.status == "valid":
        body["certificate"] = f"{environment.url}/certificate/{found.certificate_id}"
    return body
