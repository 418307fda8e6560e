"""OCSP: what the ledger says of serials, signed ahead by the worker or when asked. RFC 6960, RFC 5019, RFC 9654.

A response that is kept goes with the revocation's own transaction: from then on everybody who asks is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from acme_ca import clock, metrics
from acme_ca.authority import Authority, Environment
from acme_ca.models import base
from acme_ca.models import ocsp_response as models
from acme_ca.models.certificate import Certificate, serial_text
from acme_ca.models.ocsp_response import OcspResponse, Standing
from acme_ca.pki import ocsp as pki
from acme_ca.pki.der import DerError
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.ocsp import CertId, OcspRequest, Responder, Single
from acme_ca.problems import NotFound, ServiceUnavailable
from acme_ca.services.responders import Responders, load, path_of, responding

BATCH = 64  # responses signed in one transaction: some milliseconds, with a key that is always in memory
ROUNDS = 16  # batches before the job takes a breath
SOONEST = timedelta(minutes=1)  # between responses about a certificate, while its responder cannot be renewed
BACKDATE = timedelta(minutes=1)  # of thisUpdate: a response is "not yet valid" for clocks that are behind
UNKNOWN_LIFETIME = timedelta(minutes=1)  # the serial may be given away in the next moment
MOST_CACHED = 4 * 1024 * 1024  # octets of responses that a process keeps: some thousand


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """A response in DER. `next_update` is None where there is nothing for caches: failures, and answers to a nonce."""

    der: bytes
    next_update: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Cached:
    standing: Standing | None
    answer: OcspAnswer
    fresh_until: datetime


class Responding:
    """Answers for the issuers of a process that have a responder."""

    def __init__(self, ca: Authority, most_cached: int = MOST_CACHED) -> None:
        self._ca = ca
        self._responders = Responders(ca)
        self._cache: dict[tuple[str, bytes], _Cached] = {}
        self._cached = 0  # octets
        self._most_cached = most_cached

    def answer(self, issuer_id: str, request_der: bytes) -> OcspAnswer:
        """Return the answer of an issuer's responder; raises NotFound when it has none."""
        found = next((one for one in responding(self._ca) if one[1].id == issuer_id), None)
        if found is None:
            raise NotFound(f"there is no OCSP responder for issuer {issuer_id[:100]}")
        environment, issuer = found
        try:
            request = pki.parse(request_der)
        except DerError:
            return _failure(environment, pki.MALFORMED_REQUEST, "malformedRequest")
        if not any(pki.is_of(one, issuer.certificate) for one in request.ids):
            # RFC 5019 §2.2.3: nothing can be said with authority. Among others, such a one is unknown.
            return _failure(environment, pki.UNAUTHORIZED, "unauthorized")
        try:
            return self._kept(environment, issuer, request) or self._signed(environment, issuer, request)
        except ServiceUnavailable:
            return _failure(environment, pki.TRY_LATER, "tryLater")

    def _kept(self, environment: Environment, issuer: Issuer, request: OcspRequest) -> OcspAnswer | None:
        """Return the response that the worker signed ahead, if it is just what was asked for."""
        (asked, *others), now = request.ids, clock.now()
        if others or request.nonce is not None:
            return None
        with self._ca.database.read() as connection:
            found = base.get(connection, OcspResponse, serial_text(asked.serial))
        if found is None or found.issuer_id != issuer.id or found.next_update <= now:
            return None
        if asked.der != pki.cert_id(issuer.certificate, asked.serial).der:
            return None
        metrics.child(metrics.OCSP_ANSWERS, environment.name, found.status).inc()
        return OcspAnswer(found.der, found.next_update)

    def _signed(self, environment: Environment, issuer: Issuer, request: OcspRequest) -> OcspAnswer:
        """Sign a response; one without a nonce is kept in memory as long as the ledger says the same."""
        now = clock.now()
        own = [one for one in request.ids if pki.is_of(one, issuer.certificate)]
        with self._ca.database.read() as connection:
            known = models.standings(connection, issuer.id, [one.serial for one in own])
        is_plain = request.nonce is None and len(request.ids) == 1
        key, standing = (issuer.id, request.ids[0].der), known.get(request.ids[0].serial)
        cached = self._cache.get(key) if is_plain else None
        if cached is not None and cached.standing == standing and now < cached.fresh_until:
            metrics.child(metrics.OCSP_ANSWERS, environment.name, _status(standing)).inc()
            return cached.answer
        responder = self._responders.get(environment, issuer)
        if responder is None:
            raise ServiceUnavailable(f"the OCSP responder of issuer {issuer.id} has no certificate yet")
        singles = [
            single(one, known.get(one.serial) if one in own else None, environment, responder, now)
            for one in request.ids
        ]
        for one in singles:
            metrics.child(metrics.OCSP_ANSWERS, environment.name, one.status).inc()
        der = pki.respond(singles, responder, now, request.nonce)
        if not is_plain:
            return OcspAnswer(der)
        answer = OcspAnswer(der, singles[0].next_update)
        self._remember(key, _Cached(standing, answer, now + (singles[0].next_update - now) / 2))
        return answer

    def _remember(self, key: tuple[str, bytes], cached: _Cached) -> None:
        """Keep a response. What names a certificate is short and has one form: a serial has few keys."""
        if (before := self._cache.pop(key, None)) is not None:
            self._cached -= _size(key, before)
        self._cached += _size(key, cached)
        if self._cached > self._most_cached:
            self._cache.clear()
            self._cached = _size(key, cached)
        self._cache[key] = cached


def _size(key: tuple[str, bytes], cached: _Cached) -> int:
    return len(key[1]) + len(cached.answer.der)


def single(
    cert_id: CertId, standing: Standing | None, environment: Environment, responder: Responder, now: datetime
) -> Single:
    """Return the answer about one certificate, as the ledger has it; no longer good than who signs it."""
    now = now.replace(microsecond=0)
    lifetime = UNKNOWN_LIFETIME if standing is None else timedelta(seconds=environment.settings.ocsp_lifetime)
    return Single(
        id=cert_id,
        status=_status(standing),
        this_update=now - BACKDATE,
        next_update=min(now + lifetime, responder.ends_at),
        revoked_at=standing.revoked_at if standing is not None else None,
        reason=standing.reason if standing is not None else None,
    )


def sign_ahead(ca: Authority) -> int:
    """Keep a response for every living certificate that names a responder: sign those that are due; return how many."""
    done = 0
    for environment, issuer in responding(ca):
        responder = load(path_of(ca, issuer), issuer)
        if responder is not None and clock.now() < responder.ends_at:
            done += _sign_batches(ca, environment, issuer, responder)
    return done


def _sign_batches(ca: Authority, environment: Environment, issuer: Issuer, responder: Responder) -> int:
    done = 0
    for _ in range(ROUNDS):
        signed = _sign_batch(ca, environment, issuer, responder)
        done += signed
        if signed < BATCH:
            break
    return done


def _sign_batch(ca: Authority, environment: Environment, issuer: Issuer, responder: Responder) -> int:
    """Sign some of the responses that are due, in one transaction, so that no revocation comes in between."""
    now = clock.now()
    with ca.database.write() as connection:
        lines = models.due(connection, issuer.id, now, BATCH)
        kept_until = models.kept_until(connection, lines)
        for line in lines:
            if line.not_after <= now:
                models.forget(connection, line.serial)
                models.schedule(connection, line, None)
                continue
            response = _response(line, environment, issuer, responder, now, kept_until.get(line.serial))
            if response is not None:
                models.keep(connection, response)
            rest = (kept_until[line.serial] if response is None else response.next_update) - now
            models.schedule(connection, line, now + max(rest / 2, SOONEST))
    return len(lines)


def _response(
    line: Certificate,
    environment: Environment,
    issuer: Issuer,
    responder: Responder,
    now: datetime,
    kept_until: datetime | None,
) -> OcspResponse | None:
    """Return a new response; None when it would be good for no longer than the one that is kept."""
    cert_id = pki.cert_id(issuer.certificate, int(line.serial, 16))
    standing = Standing(line.revoked_at, line.revocation_reason)
    answer = single(cert_id, standing, environment, responder, now)
    if kept_until is not None and answer.next_update <= kept_until:
        return None
    return OcspResponse(
        serial=line.serial,
        issuer_id=issuer.id,
        status=answer.status,
        this_update=answer.this_update,
        next_update=answer.next_update,
        der=pki.respond([answer], responder, now, None),
    )


def _status(standing: Standing | None) -> str:
    if standing is None:
        return "unknown"
    return "good" if standing.revoked_at is None else "revoked"


def _failure(environment: Environment, status: int, name: str) -> OcspAnswer:
    metrics.child(metrics.OCSP_ANSWERS, environment.name, name).inc()
    return OcspAnswer(pki.failure(status))
