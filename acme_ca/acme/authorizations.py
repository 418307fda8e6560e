"""Authorizations and their challenges over HTTP. RFC 8555 §7.4.1, §7.5."""

from typing import Any

from flask import Response, request

from acme_ca.acme.messages import AuthorizationUpdate, NewAuthz, ProofBody, WireModel
from acme_ca.acme.signed import SignedRequest
from acme_ca.authority import Environment
from acme_ca.challenges import CHALLENGES
from acme_ca.clock import now, rfc3339
from acme_ca.models.authorization import Authorization, AuthorizationStatus
from acme_ca.problems import Malformed
from acme_ca.services import authorizations, proofs, validation
from acme_ca.web import IN_FLIGHT, json_response
from acme_ca.workload import WORKLOAD_CHALLENGE, Proof, refusal
from acme_ca.workload.base import MAX_EVIDENCE
from acme_ca.workload.identify import formats_of

RETRY_AFTER = {"Retry-After": "1"}  # seconds
WAIT = 0.3  # seconds that a challenge's answer may wait for its outcome


def new_authz(asked: SignedRequest) -> Response:
    """Authorize a name ahead of any order; a valid or pending authorization is given again. §7.4.1."""
    body = asked.message(NewAuthz).identifier
    found, created = authorizations.create(
        asked.ca, asked.environment, asked.account(), (body.type, body.value), request.remote_addr
    )
    return _response(asked.environment, found, 201 if created else 200)


def authorization(asked: SignedRequest, id_: str) -> Response:
    """Read an authorization, or deactivate it. §7.5, §7.5.2."""
    if not asked.payload:
        found = authorizations.get(asked.ca, asked.environment, asked.account(), id_)
        return _response(asked.environment, found, 200)
    status = asked.message(AuthorizationUpdate).status
    if status != "deactivated":
        raise Malformed(f"an authorization's status can be set to deactivated, not to {status!r}")
    found = authorizations.deactivate(asked.ca, asked.environment, asked.account(), id_)
    return _response(asked.environment, found, 200)


def challenge(asked: SignedRequest, id_: str, challenge: str) -> Response:
    """Submit a challenge with `{}` or a workload's proof, or read it with an empty payload. §7.5.1."""
    if asked.payload and challenge == WORKLOAD_CHALLENGE:
        found = proofs.prove(asked.ca, asked.environment, asked.account(), id_, _proof(asked), asked.url)
    elif asked.payload:
        asked.message(WireModel)
        scarce = int(IN_FLIGHT) > asked.ca.config.listener.acme.threads * 3 // 4
        found = validation.submit(
            asked.ca, asked.environment, asked.account(), id_, challenge, wait=0 if scarce else WAIT
        )
    else:
        found = validation.view(asked.ca, asked.environment, asked.account(), id_, challenge)
    response = json_response(_challenge(asked.environment, found, challenge), headers=_retry_after(found))
    response.headers.add("Link", f'<{_url(asked.environment, found)}>;rel="up"')  # §7.5.1
    return response


def _proof(asked: SignedRequest) -> Proof | None:
    """Return the proof in the payload; None for an empty object, which stands for the account's own workload."""
    if len(asked.payload) > MAX_EVIDENCE:
        raise refusal(
            "evidence_malformed", f"the proof has {len(asked.payload)} octets; at most {MAX_EVIDENCE} are taken"
        )
    message = asked.message(ProofBody)
    if message.format is None:
        return None
    return Proof(message.format, message.evidence, message.provider)


def _response(environment: Environment, found: Authorization, status: int) -> Response:
    headers = {"Location": _url(environment, found), **_retry_after(found)}
    return json_response(_body(environment, found), status, headers)


def _retry_after(found: Authorization) -> dict[str, str]:
    return RETRY_AFTER if found.status_at(now()) == "pending" else {}


def _url(environment: Environment, found: Authorization) -> str:
    return f"{environment.url}/authorization/{found.id}"


def _body(environment: Environment, found: Authorization) -> dict[str, Any]:
    name = found.name
    body: dict[str, Any] = {
        "status": found.status_at(now()),
        "expires": rfc3339(found.expires_at),
        "identifier": {"type": name.type, "value": name.base},
        "challenges": [_challenge(environment, found, type_) for type_ in found.shown],
    }
    if name.wildcard:
        body["wildcard"] = True
    return body


def _challenge(environment: Environment, found: Authorization, type_: str) -> dict[str, Any]:
    """Return a challenge object; `error` and `validationRecord` come only once there is something to tell. §8."""
    body: dict[str, Any] = {
        "type": type_,
        "url": f"{_url(environment, found)}/{type_}",
        "status": _challenge_status(found, type_),
        "token": found.token,
    }
    account_url = environment.account_url(found.account_id)
    if type_ == WORKLOAD_CHALLENGE:
        body |= {"audience": environment.audience, "formats": list(formats_of(environment.providers))}
    else:
        body |= CHALLENGES[type_].members(account_url, environment.settings.caa_identities)
    if found.challenge != type_:
        return body
    if found.validated_at is not None:
        body["validated"] = rfc3339(found.validated_at)
    if found.error is not None:
        body["error"] = found.error
    if found.evidence is not None:
        body["validationRecord"] = found.evidence["records"]
    return body


def _challenge_status(found: Authorization, type_: str) -> str:
    if found.challenge != type_ or found.status == AuthorizationStatus.PENDING:
        return "pending"
    if found.validated_at is not None:
        return "valid"
    return "processing" if found.status == AuthorizationStatus.PROCESSING else "invalid"
