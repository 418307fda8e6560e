"""Where the signer reads what it is asked to sign, decides, and signs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.keys import KeyAway, PrivateKey
from acme_ca.keys.base import MldsaPrivateKey
from acme_ca.keys.elsewhere import GREETING
from acme_ca.keys.frames import Answer, Request
from acme_ca.models.certificate import serial_text
from acme_ca.pki import tbs
from acme_ca.pki.lint import LintError
from acme_ca.pki.tbs import Tbs
from acme_ca.problems import Problem
from acme_ca.signer.holdings import Holdings
from acme_ca.signer.refusal import Refused, require
from acme_ca.signer.serials import Serials

HASHES: dict[str | None, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
LONGEST_DETAIL = 1000  # characters

log = structlog.get_logger(__name__)


class Desk:
    """The keys of one configuration. Any thread may ask."""

    def __init__(self, config: Config) -> None:
        """Open every key; raises as `issuers.load_issuer` does."""
        self._database = Database(config.database.url, config.database.reveal_password(), only_look=True)
        self._holdings = Holdings(config, self._database)
        self._serials = Serials(serials_path(config))

    @property
    def issuers(self) -> list[str]:
        """The names of what it holds keys of."""
        return self._holdings.issuers

    def answer(self, request: Request, body: bytes, peer: int) -> tuple[Answer, bytes]:
        """Return a signature, or why there is none; `peer` is the process that asks. Raises nothing."""
        try:
            signature = self._signed(request, body, peer)
        except Refused as refusal:
            return self._refused(request, str(refusal), body, peer)
        except LintError as error:
            return self._refused(request, str(error), body, peer)
        except KeyAway as error:
            log.warning("signer.away", issuer=request.issuer, reason=error.reason)
            retry_after = int(error.headers["Retry-After"])
            return Answer(outcome="away", detail=error.reason[:LONGEST_DETAIL], retry_after=retry_after), b""
        except Exception as error:
            # Whatever a reader of these octets raises: they are somebody else's.
            log.exception("signer.failed", issuer=request.issuer, peer=peer)
            return self._refused(request, f"{type(error).__name__}: {error}", body, peer)
        return Answer(outcome="signed"), signature

    def close(self) -> None:
        """Let database and record go."""
        self._database.close()
        self._serials.close()

    def _signed(self, request: Request, body: bytes, peer: int) -> bytes:
        holding = self._holdings.get(request.issuer)
        if holding is None:
            known = ", ".join(self.issuers)
            raise Refused(f"there is no key of issuer {request.issuer}; there are {known}: reload the signer")
        if body != GREETING:
            found = _read(body)
            algorithm = tbs.scheme_of(found)
            asked = (request.scheme, request.hash)
            require(algorithm == asked, f"it says that it is signed by {algorithm}, and {asked} was asked for")
            holding.check(found, clock.now())
            self._record(request.issuer, found, body, peer)
        return signature(holding.key, request, body)

    def _record(self, issuer: str, found: Tbs, body: bytes, peer: int) -> None:
        """Tell what is about to be signed; a serial is signed once."""
        digest = sha256(body).hexdigest()
        if isinstance(found, x509.CertificateRevocationList):
            log.info("signer.list", issuer=issuer, tbs_sha256=digest, peer=peer)
            return
        serial = serial_text(found.serial_number)
        require(self._serials.take(issuer, found.serial_number), f"serial {serial} was signed before")
        log.info("signer.certificate", issuer=issuer, serial=serial, tbs_sha256=digest, peer=peer)

    @staticmethod
    def _refused(request: Request, reason: str, body: bytes, peer: int) -> tuple[Answer, bytes]:
        log.error(
            "signer.refused", issuer=request.issuer, reason=reason, tbs_sha256=sha256(body).hexdigest(), peer=peer
        )
        return Answer(outcome="refused", detail=reason[:LONGEST_DETAIL]), b""


def serials_path(config: Config) -> Path:
    """Return where it is recorded which serials were signed: beside the socket."""
    return config.signer_socket.with_suffix(".serials")


def signature(key: PrivateKey, request: Request, message: bytes) -> bytes:
    """Sign as was asked for, if that is a way of this key; raises Refused."""
    hash_ = HASHES.get(request.hash)
    if hash_ is None:
        return _without_hash(key, request, message)
    if isinstance(key, ec.EllipticCurvePrivateKey) and request.scheme == "ecdsa":
        return key.sign(message, ec.ECDSA(hash_))
    if isinstance(key, rsa.RSAPrivateKey):
        if request.scheme == "rsa-pkcs1":
            return key.sign(message, PKCS1v15(), hash_)
        if request.scheme == "rsa-pss":
            return key.sign(message, PSS(MGF1(hash_), hash_.digest_size), hash_)
    raise _no_way(request)


def _without_hash(key: PrivateKey, request: Request, message: bytes) -> bytes:
    """Sign with a key that has its own way, which no hash is named for."""
    if request.hash is None:
        if isinstance(key, ed25519.Ed25519PrivateKey) and request.scheme == "ed25519":
            return key.sign(message)
        if isinstance(key, MldsaPrivateKey) and request.scheme == "ml-dsa":
            return key.sign(message)
    raise _no_way(request)


def _no_way(request: Request) -> Refused:
    return Refused(f"{request.scheme} with {request.hash} is no way of signing for the key of issuer {request.issuer}")


def _read(body: bytes) -> Tbs:
    try:
        return tbs.read(body)
    except (ValueError, UnsupportedAlgorithm, Problem) as error:
        raise Refused(f"it cannot be read: {error}") from error
