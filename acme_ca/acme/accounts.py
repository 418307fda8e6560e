"""Accounts over HTTP: newAccount, account, its orders, keyChange. RFC 8555 §7.3, §7.1.2.1."""

from typing import Any

from flask import Response, request

from acme_ca import jose
from acme_ca.acme.messages import AccountUpdate, KeyChange, NewAccount
from acme_ca.acme.signed import SignedRequest
from acme_ca.authority import Environment
from acme_ca.models.account import Account
from acme_ca.problems import Malformed, Unauthorized
from acme_ca.services import accounts
from acme_ca.services import orders as order_service
from acme_ca.web import json_response


def new_account(asked: SignedRequest) -> Response:
    """Make an account (201), or find the one that has the key (200). §7.3, §7.3.1."""
    message = asked.message(NewAccount)
    if message.only_return_existing:
        return _response(asked.environment, accounts.find(asked.ca, asked.environment, asked.jwk), 200)
    registration = accounts.Registration(
        jwk=asked.jwk,
        url=asked.url,
        contact=message.contact,
        terms_of_service_agreed=message.terms_of_service_agreed,
        external_account_binding=message.external_account_binding,
        address=request.remote_addr,
    )
    account, created = accounts.register(asked.ca, asked.environment, registration)
    return _response(asked.environment, account, 201 if created else 200)


def account(asked: SignedRequest, id_: str) -> Response:
    """Read, update or deactivate the account. §7.3.2, §7.3.6."""
    _require_self(asked, id_)
    if not asked.payload:
        return _response(asked.environment, accounts.get(asked.ca, asked.environment, asked.account()), 200)
    message = asked.message(AccountUpdate)
    if message.status not in (None, "valid", "deactivated"):
        raise Malformed(f"an account's status can be set to deactivated, not to {message.status!r}")
    updated = accounts.update(
        asked.ca,
        asked.environment,
        asked.account(),
        contact=message.contact,
        deactivate=message.status == "deactivated",
    )
    return _response(asked.environment, updated, 200)


def orders(asked: SignedRequest, id_: str) -> Response:
    """List the account's orders, page by page. §7.1.2.1."""
    _require_self(asked, id_)
    asked.require_empty()
    found, after = order_service.page(asked.ca, asked.environment, asked.account(), request.args.get("cursor"))
    response = json_response({"orders": [f"{asked.environment.url}/order/{order_id}" for order_id in found]})
    if after is not None:
        response.headers.add("Link", f'<{_orders_url(asked.environment, id_)}?cursor={after}>;rel="next"')
    return response


def key_change(asked: SignedRequest) -> Response:
    """Give the account a new key, which signs the inner JWS. §7.3.5."""
    envelope, new = jose.parse_inner_key_change(asked.payload, asked.url)
    message = _inner_message(asked, envelope.payload)
    changed = accounts.change_key(
        asked.ca,
        asked.environment,
        asked.account(),
        account_url=message.account,
        old=jose.jwk_from_json(message.old_key),
        new=new,
    )
    return _response(asked.environment, changed, 200)


def _inner_message(asked: SignedRequest, payload: bytes) -> KeyChange:
    inner = SignedRequest(asked.ca, asked.environment, asked.url, payload, asked.jwk, asked.signer)
    return inner.message(KeyChange)


def _require_self(asked: SignedRequest, account_id: str) -> None:
    """Refuse to answer an account to another one."""
    if asked.account().account_id != account_id:
        raise Unauthorized(f"account {account_id} is not the account that signed the request")


def _orders_url(environment: Environment, account_id: str) -> str:
    return f"{environment.account_url(account_id)}/orders"


def _response(environment: Environment, found: Account, status: int) -> Response:
    body: dict[str, Any] = {
        "status": found.status,
        "contact": found.contact,
        "orders": _orders_url(environment, found.id),
    }
    if found.terms_agreed_at is not None:
        body["termsOfServiceAgreed"] = True
    if found.external_account_binding is not None:
        body["externalAccountBinding"] = found.external_account_binding
    return json_response(body, status, {"Location": environment.account_url(found.id)})
