"""The keys and certificates that sign OCSP responses: one for each issuer on each host, short-lived, renewed by itself.

Key and certificate are one private file below `state`: replacing it replaces both at once, and processes notice. An
issuer's own key signs here, by the clock, and never because somebody asked for a status. RFC 6960 §4.2.2.2.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from time import monotonic

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from acme_ca import baton, clock, metrics
from acme_ca import config as configuration
from acme_ca.authority import Authority, Environment
from acme_ca.pki import ocsp as pki
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.ocsp import Responder, ResponderKey
from acme_ca.services import audit, private_files

SHORTEST_LIFE = timedelta(days=2)
PAUSE = 60.0  # seconds between attempts beside requests

log = structlog.get_logger(__name__)


def renew(ca: Authority) -> int:
    """Make the responders that are missing or past half their life, show when they end; return how many were made."""
    made = sum(_renew_or_tell(ca, environment, issuer) for environment, issuer in responding(ca))
    for environment, issuer in responding(ca):
        responder = load(path_of(ca, issuer), issuer)
        ends_at = 0.0 if responder is None else responder.ends_at.timestamp()
        metrics.child(metrics.RESPONDER_NOT_AFTER, environment.name, issuer.id).set(ends_at)
    return made


def missing(ca: Authority) -> list[str]:
    """Return the issuers that should have a responder on this host and have none, or one that ended."""
    now = clock.now()
    found = [(issuer.id, load(path_of(ca, issuer), issuer)) for _, issuer in responding(ca)]
    return [issuer_id for issuer_id, responder in found if responder is None or responder.ends_at <= now]


def responding(ca: Authority) -> list[tuple[Environment, Issuer]]:
    """Return the issuers that have a responder, until they end."""
    now = clock.now()
    return [
        (environment, issuer)
        for environment in ca.environments.values()
        for issuer in environment.generations
        if issuer.ocsp_url is not None and issuer.certificate.not_valid_after_utc > now
    ]


class Responders:
    """The responders of this process, read again when their files are other ones.

    The worker of the host renews them. Where none runs, they are renewed here, in the background: when they are missing
    or late, and at most once a minute, however many ask.
    """

    def __init__(self, ca: Authority) -> None:
        self._ca = ca
        self._read: dict[str, tuple[tuple[int, int], Responder | None]] = {}
        self._tried_at: dict[str, float] = {}

    def get(self, environment: Environment, issuer: Issuer) -> Responder | None:
        """Return the responder of an issuer that is good now, or None."""
        responder, now = self._load(issuer), clock.now()
        if responder is None or now > responder.ends_at - life(environment.settings) / 4:
            self._renew_soon(environment, issuer)
        return responder if responder is not None and now < responder.ends_at else None

    def _load(self, issuer: Issuer) -> Responder | None:
        path = path_of(self._ca, issuer)
        try:
            status = path.stat()
        except OSError:
            return None
        seen = (status.st_mtime_ns, status.st_ino)
        if self._read.get(issuer.id, (None, None))[0] != seen:
            self._read[issuer.id] = (seen, load(path, issuer))
        return self._read[issuer.id][1]

    def _renew_soon(self, environment: Environment, issuer: Issuer) -> None:
        if monotonic() >= self._tried_at.get(issuer.id, 0.0) + PAUSE:
            self._tried_at[issuer.id] = monotonic()
            self._ca.background(_renew_or_tell, self._ca, environment, issuer)


def path_of(ca: Authority, issuer: Issuer) -> Path:
    """Return where the key and certificate of an issuer's responder are."""
    return ca.config.state / "ocsp" / f"{issuer.id}.pem"


def life(settings: configuration.Environment) -> timedelta:
    """Return how long a responder lives: at half of it, what it signs lives for half of the rest at most."""
    return max(SHORTEST_LIFE, timedelta(seconds=4 * settings.ocsp_lifetime))


def load(path: Path, issuer: Issuer) -> Responder | None:
    """Return the responder of a file, or None when it is none of this issuer."""
    try:
        pem = path.read_bytes()
        key, certificate = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(issuer.certificate)
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - a file of any content, and each is told and made anew
        log.warning("ocsp.responder_unreadable", path=str(path), error=str(error))
        return None
    if not isinstance(key, ResponderKey) or key.public_key() != certificate.public_key():
        return None
    return Responder(certificate, key)


def _renew_or_tell(ca: Authority, environment: Environment, issuer: Issuer) -> bool:
    """Renew a responder if it is time; that one issuer cannot sign must not keep others from it."""
    try:
        return _renew(ca, environment, issuer)
    except Exception:
        log.exception("ocsp.responder_not_renewed", issuer=issuer.id)
        return False


def _renew(ca: Authority, environment: Environment, issuer: Issuer) -> bool:
    now, path = clock.now(), path_of(ca, issuer)
    lifetime = life(environment.settings)
    old = load(path, issuer)
    if old is not None and now < old.ends_at - min(lifetime, old.ends_at - old.certificate.not_valid_before_utc) / 2:
        return False
    if old is not None and old.ends_at == issuer.certificate.not_valid_after_utc:
        return False  # no other would live longer
    key = pki.new_responder_key(issuer.key)
    with baton.aside():
        name = pki.responder_name(issuer.id)
        new = pki.make_responder(key, name, issuer.certificate, issuer.key, now, lifetime, issuer.signature)
    with ca.database.write(durable=True) as connection:
        audit.record(
            connection,
            environment.name,
            "responder.issued",
            issuer.id,
            serial=f"{new.certificate.serial_number:034x}",
            not_after=clock.rfc3339(new.ends_at),
        )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private_files.replace(path, pem + new.certificate.public_bytes(Encoding.PEM))
    return True
