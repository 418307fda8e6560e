"""ACME over HTTP: every resource of RFC 8555 with the URL it is found at, below `/acme/<environment>/`."""

from collections.abc import Mapping

from flask import Flask

from acme_ca.acme import accounts, authorizations, directory, orders, renewal_info, revocation
from acme_ca.acme.signed import Handler, SignedFace
from acme_ca.authority import Authority

PREFIX = "/acme/<environment>"


def install(app: Flask, ca: Authority) -> None:
    """Add the ACME resources to an application."""
    face = SignedFace(ca)
    app.after_request(face.finish)
    public: Mapping[str, tuple[str, Handler]] = {
        "directory": ("/directory", directory.directory),
        "newNonce": ("/newNonce", directory.new_nonce),
        "renewalInfo": ("/renewalInfo/<certificate>", renewal_info.renewal_info),
    }
    signed: Mapping[str, tuple[str, Handler]] = {
        "newAccount": ("/newAccount", face.by_key(accounts.new_account)),
        "newOrder": ("/newOrder", face.by_account(orders.new_order)),
        "newAuthz": ("/newAuthz", face.by_account(authorizations.new_authz)),
        "revokeCert": ("/revokeCert", face.by_either(revocation.revoke_cert)),
        "keyChange": ("/keyChange", face.by_account(accounts.key_change)),
        "account": ("/account/<id_>", face.by_account(accounts.account)),
        "orders": ("/account/<id_>/orders", face.by_account(accounts.orders)),
        "order": ("/order/<id_>", face.by_account(orders.order)),
        "finalize": ("/order/<id_>/finalize", face.by_account(orders.finalize)),
        "authorization": ("/authorization/<id_>", face.by_account(authorizations.authorization)),
        "challenge": ("/authorization/<id_>/<challenge>", face.by_account(authorizations.challenge)),
        "certificate": ("/certificate/<id_>", face.by_account(orders.certificate)),
        "alternate": ("/certificate/<id_>/<int:number>", face.by_account(orders.certificate)),
    }
    for name, (path, view) in public.items():
        app.add_url_rule(PREFIX + path, name, face.unsigned(view), methods=["GET"], provide_automatic_options=False)
    for name, (path, answer) in signed.items():
        app.add_url_rule(PREFIX + path, name, answer, methods=["POST"], provide_automatic_options=False)
