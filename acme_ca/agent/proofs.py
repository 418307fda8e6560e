"""Showing a proof: at the exchange for an external account key, and at the challenge workload-identity-00.

docs/workload-identity-00.md §3, §8.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from acme_ca.agent.client import Account, Server, repeated
from acme_ca.agent.credentials import Credential, Purpose
from acme_ca.agent.errors import STALE, AgentError, RefusedError
from acme_ca.agent.jws import AccountKey
from acme_ca.agent.messages import CHALLENGE, Authorization, Challenge, Exchanged, ExchangeNonce
from acme_ca.jose import b64url_decode, b64url_encode
from acme_ca.problems import Problem

TRIES = 3  # of a token that the server finds too old or too new: as many as it allows
PAUSE = 2.0  # seconds, in which a platform may replace a token's file

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Prover:
    """A workload with its credential; `provider` says who vouches for it where the proof does not tell."""

    credential: Credential
    provider: str | None = None

    def exchange(self, server: Server, account_jkt: str | None = None, *, key: bool = True) -> Exchanged:
        """Return a key for external account binding, good for one account key if its thumbprint is given.

        Without `key` nothing but the binding to that account key is made. Raises AgentError.
        """
        # An exchange that is put off starts again from its nonce, which is spent whatever came of it.
        return _while_stale(lambda: repeated(lambda: self._exchange(server, account_jkt, key=key)))

    def prove(self, account: Account, challenge: Challenge) -> None:
        """Show a proof at a challenge, whose authorization is to be looked at afterwards. Raises AgentError."""
        purpose = self._purpose(account, challenge)
        _while_stale(lambda: account.post(challenge.url, self._proof(purpose), f"the challenge {challenge.type}"))

    def _exchange(self, server: Server, account_jkt: str | None, *, key: bool) -> Exchanged:
        meta = server.workloads
        named = {} if account_jkt is None else {"account_jkt": account_jkt}
        body: dict[str, object] = {} if key else {"eab": False}
        if self.credential.bound:
            made = server.post_json(meta.nonce, json.dumps(named).encode(), "the exchange nonce").read(ExchangeNonce)
            signed = made.nonce if account_jkt is None else f"{made.nonce}.{account_jkt}"
            purpose = Purpose(meta.audience, meta.exchange, signed)
            if purpose.bound_audience != made.audience:
                raise AgentError(f"the nonce is for the audience {made.audience!a}; expected {purpose.bound_audience}")
            body["nonce"] = made.nonce
        else:
            purpose = Purpose(meta.audience, meta.exchange, "")
        body |= self._proof(purpose) | named
        return server.post_json(meta.exchange, json.dumps(body).encode(), "the exchange").read(Exchanged)

    def _purpose(self, account: Account, challenge: Challenge) -> Purpose:
        meta = account.server.workloads
        if challenge.audience != meta.audience:
            raise AgentError(
                f"the challenge is for the audience {challenge.audience!a}, and the directory names {meta.audience}; "
                "no credential was asked for"
            )
        account.server.require_own(challenge.url, "the challenge's url")
        return Purpose(meta.audience, challenge.url, account.key.key_authorization(challenge.token))

    def _proof(self, purpose: Purpose) -> dict[str, object]:
        proof: dict[str, object] = {"format": self.credential.format, "evidence": self.credential.evidence(purpose)}
        return proof if self.provider is None else proof | {"provider": self.provider}


def workload_challenge(authorization: Authorization) -> Challenge:
    """Return the challenge by which a workload proves itself; raises AgentError when it is not offered."""
    for challenge in authorization.challenges:
        if challenge.type == CHALLENGE:
            return challenge
    name = authorization.identifier.value
    raise AgentError(
        f"no challenge {CHALLENGE} is offered for {name!a}: expected a name that a workload of this environment "
        "may prove (its trust domain, or its zones)"
    )


def external_binding(key: AccountKey, exchanged: Exchanged, url: str) -> dict[str, str]:
    """Return the externalAccountBinding of a newAccount request to `url`. RFC 8555 §7.3.4."""
    if exchanged.kid is None or exchanged.hmac_key is None:
        raise AgentError("the exchange gave no key for external account binding")
    try:
        secret = b64url_decode(exchanged.hmac_key, "hmac_key")
    except Problem as problem:
        raise AgentError(problem.detail) from problem
    header = {"alg": "HS256", "kid": exchanged.kid, "url": url}
    protected, payload = (b64url_encode(json.dumps(part).encode()) for part in (header, dict(key.jwk.json)))
    mac = hmac.digest(secret, f"{protected}.{payload}".encode(), "sha256")
    return {"protected": protected, "payload": payload, "signature": b64url_encode(mac)}


def _while_stale(show: Callable[[], Result]) -> Result:
    """Show a proof again, read afresh, when the server found its token too old or too new."""
    for _ in range(TRIES - 1):
        try:
            return show()
        except RefusedError as error:
            if error.workload_error not in STALE:
                raise
            log.warning("proof.stale", reason=str(error), seconds=PAUSE)
            time.sleep(PAUSE)
    return show()
