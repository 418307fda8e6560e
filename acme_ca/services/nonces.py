"""Anti-replay nonces. RFC 8555 §6.5.

A nonce is time (4 bytes, seconds), random (12 bytes) and a MAC over both (16 bytes) in base64url without padding: it
is made without touching a database, and recognised by every process and node of its environment, also after a
restart. Only its use is recorded.
"""

import hmac
import secrets
import time
from hashlib import blake2b
from typing import NoReturn

from acme_ca import metrics
from acme_ca.authority import Authority, Environment
from acme_ca.jose import b64url_decode, b64url_encode
from acme_ca.problems import BadNonce, Malformed

TIME, PREFIX, SIZE = 4, 16, 32  # bytes: the time, what is authenticated and recorded, the whole
SKEW = 60  # seconds that another node's clock may be ahead


def issue(environment: Environment) -> str:
    """Return a fresh nonce: 43 characters of base64url."""
    prefix = int(time.time()).to_bytes(TIME, "big") + secrets.token_bytes(PREFIX - TIME)
    return b64url_encode(prefix + _mac(environment, prefix))


def consume(ca: Authority, environment: Environment, nonce: str | None) -> None:
    """Use a nonce up; raises BadNonce when it is absent, foreign, too old, or used before."""
    try:
        if not ca.spent_nonces.spend(_recognise(environment, nonce)):
            _refuse("was used before")
    except BadNonce:
        metrics.NONCES.labels(environment.name, "refused").inc()
        raise
    metrics.child(metrics.NONCES, environment.name, "accepted").inc()


def forget(ca: Authority) -> int:
    """Drop the records of nonces that are too old to be accepted anyway; return how many."""
    lifetime = max(environment.settings.nonce_lifetime for environment in ca.environments.values())
    return ca.spent_nonces.forget((int(time.time()) - lifetime - SKEW).to_bytes(TIME, "big"))


def _recognise(environment: Environment, nonce: str | None) -> bytes:
    if nonce is None:
        _refuse("is missing from the protected header")
    try:
        raw = b64url_decode(nonce)
    except Malformed:
        raw = b""
    prefix, mac = raw[:PREFIX], raw[PREFIX:]
    if len(raw) != SIZE or not hmac.compare_digest(mac, _mac(environment, prefix)):
        _refuse("is not one of this environment's")
    age = time.time() - int.from_bytes(prefix[:TIME], "big")
    if not -SKEW <= age <= environment.settings.nonce_lifetime:
        _refuse(f"is {age:.0f} seconds old; it was good for {environment.settings.nonce_lifetime}")
    return prefix


def _refuse(reason: str) -> NoReturn:
    raise BadNonce(f"the nonce {reason}; repeat the request with the Replay-Nonce of this answer")


def _mac(environment: Environment, prefix: bytes) -> bytes:
    return blake2b(prefix, digest_size=SIZE - PREFIX, key=environment.nonce_key).digest()
