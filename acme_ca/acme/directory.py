"""The directory and newNonce. RFC 8555 §7.1.1, §7.2."""

from typing import Any

from flask import Response, request

from acme_ca.authority import Authority, Environment
from acme_ca.challenges.dnspersist01 import MAX_ISSUERS, account_hash_prefix
from acme_ca.services import nonces
from acme_ca.web import Answer, json_response
from acme_ca.workload.identify import formats_of

RESOURCES = ("newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange", "renewalInfo")


def directory(_ca: Authority, environment: Environment) -> Response:
    """Return the directory, whose `meta` is always there: some clients read it unguarded."""
    body: dict[str, Any] = {name: f"{environment.url}/{name}" for name in RESOURCES}
    body["meta"] = _meta(environment)
    return json_response(body, headers={"Cache-Control": "public, max-age=300"})


def new_nonce(_ca: Authority, environment: Environment) -> Response:
    """Return a nonce: 200 to HEAD, 204 to GET. §7.2."""
    headers = {"Replay-Nonce": nonces.issue(environment), "Cache-Control": "no-store"}
    return Answer("", headers=headers) if request.method == "HEAD" else Answer(status=204, headers=headers)


def _meta(environment: Environment) -> dict[str, Any]:
    settings = environment.settings
    meta: dict[str, Any] = {
        "externalAccountRequired": settings.external_account_required,
        "profiles": {name: profile.description for name, profile in environment.profiles.items()},
        "caaIdentities": list(settings.caa_identities),
    }
    if "dns-persist-01" in settings.challenges:  # draft-ietf-acme-dns-persist §3.1, §4.1
        meta["issuerDomainNames"] = list(settings.caa_identities[:MAX_ISSUERS])
        meta["accountHashPrefix"] = account_hash_prefix(environment.account_url(""))
    if environment.workloads is not None:
        meta["workloadIdentity"] = {
            "version": "00",
            "audience": environment.audience,
            "formats": list(formats_of(environment.providers)),
            "exchange": f"{environment.audience}/eab",
            "nonce": f"{environment.audience}/nonce",
        }
        if environment.settings.trust_domain is not None:
            meta["workloadIdentity"] |= {
                "trustDomain": environment.settings.trust_domain,
                "bundle": f"{environment.url}/bundle",
            }
    for member, value in (("termsOfService", settings.terms_of_service), ("website", settings.website)):
        if value is not None:
            meta[member] = str(value)
    return meta
