"""Keys that only their store can use: HSMs and services. They look like cryptography's own.

Every signature is verified before it is given out. While a store is away, it is asked again with growing pauses, and
whoever needs it in between learns at once that it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, Generic, Literal, NoReturn, TypeAlias, TypeVar

import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.utils import Buffer

from acme_ca import baton
from acme_ca.keys.base import KeyAway, KeyRefused, KeyUnavailableError, PrivateKey
from acme_ca.keys.breaker import Breaker
from acme_ca.keys.keeper import KEEPER
from acme_ca.public_keys import MldsaPublicKey, PublicKey, mldsa_kind
from acme_ca.vocabulary import MldsaKeyType

GREETING = b"acme-ca tries a key before it is used"  # nothing in DER begins like this: it is no certificate
HASHES: tuple[type[hashes.HashAlgorithm], ...] = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
Public = TypeVar("Public", bound=PublicKey)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How to sign. `hash` is None for Ed25519 and ML-DSA. PSS salts are as long as the hash. RFC 8017 §8."""

    name: Literal["ecdsa", "rsa-pkcs1", "rsa-pss", "ed25519", "ml-dsa"]
    hash: hashes.HashAlgorithm | None = None

    def digest(self, message: bytes) -> bytes:
        """Return what is signed where the store does not hash by itself."""
        if self.hash is None:
            return message
        digest = hashes.Hash(self.hash)
        digest.update(message)
        return digest.finalize()


class Store(ABC):
    """A place with one key that it signs with. `where` says which, as the backend does; it is never a secret."""

    where: str
    public_key: PublicKey

    @abstractmethod
    def sign(self, scheme: Scheme, message: bytes) -> bytes:
        """Return the signature as X.509 has it, ECDSA's in DER (RFC 3279 §2.2.3). Any thread, any process.

        Raises KeyAway for what may pass by itself, KeyUnavailableError for what will not.
        """


def private_key(store: Store) -> PrivateKey:
    """Return the key of a store as cryptography's builders take it; raises KeyUnavailableError for other kinds."""
    return _of(store)


def opened(store: Store, keep_alive: float = 0) -> PrivateKey:
    """Return the key of a store once it has signed something. Raises KeyUnavailableError, and KeyAway.

    With `keep_alive`, it signs again whenever it was not used for so many seconds.
    """
    key = _of(store)
    try:
        key.try_out()
    except KeyAway as error:
        if not isinstance(error.__cause__, WrongSignature):
            raise
        raise KeyUnavailableError(f"{store.where}: its signatures are not by the public key beside it") from error
    if keep_alive:
        KEEPER.keep(key, keep_alive)
    return key


class WrongSignature(KeyAway):
    """A signature that the public key does not verify."""

    def __init__(self, where: str) -> None:
        super().__init__(where, "it gave a signature that its public key does not verify")


class _Key(ABC, Generic[Public]):
    """What the kinds have in common: it can be signed with, and never be seen."""

    def __init__(self, store: Store, public: Public) -> None:
        self._store = store
        self._public = public
        self._breaker = Breaker(store.where)
        self.used_at = monotonic()

    def public_key(self) -> Public:
        return self._public

    def _sign(self, scheme: Scheme, message: bytes, verify: Callable[[bytes], None]) -> bytes:
        from acme_ca import metrics  # which has to know first whether there are several processes

        started, outcome = perf_counter(), "error"
        try:
            with baton.aside():
                signature = self._breaker(lambda: self._checked(scheme, message, verify))
            outcome = "ok"
        except KeyAway:
            outcome = "away"
            raise
        except KeyRefused as refusal:
            outcome = "refused"
            log.error("key.refused", key=refusal.where, reason=refusal.reason)  # noqa: TRY400 - no bug of this process
            raise
        finally:
            metrics.child(metrics.KEY_SIGNATURES, self._store.where, outcome).inc()
            metrics.child(metrics.KEY_SECONDS, self._store.where).observe(perf_counter() - started)
        return signature

    def _checked(self, scheme: Scheme, message: bytes, verify: Callable[[bytes], None]) -> bytes:
        signature = self._store.sign(scheme, message)
        try:
            verify(signature)
        except InvalidSignature as error:
            raise WrongSignature(self._store.where) from error
        self.used_at = monotonic()
        return signature

    @abstractmethod
    def try_out(self) -> None:
        """Sign something that is of no use."""

    def _refuse(self) -> NoReturn:
        raise UnsupportedAlgorithm(f"{self._store.where} stays where it is: it can sign, and nothing else")

    def private_bytes(self, *_arguments: object) -> bytes:
        self._refuse()

    def __copy__(self) -> Any:  # noqa: ANN401 - itself, whichever kind it is: there is one key
        return self

    def __deepcopy__(self, _memo: object) -> Any:  # noqa: ANN401 - as above
        return self


class _EcKey(_Key[ec.EllipticCurvePublicKey], ec.EllipticCurvePrivateKey):
    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        message, hash_ = bytes(data), _plain(signature_algorithm.algorithm)
        algorithm = ec.ECDSA(hash_)
        return self._sign(Scheme("ecdsa", hash_), message, lambda found: self._public.verify(found, message, algorithm))

    def try_out(self) -> None:
        self.sign(GREETING, ec.ECDSA(hashes.SHA256()))

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def exchange(self, *_arguments: object) -> bytes:
        self._refuse()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        self._refuse()


class _RsaKey(_Key[rsa.RSAPublicKey], rsa.RSAPrivateKey):
    def sign(
        self,
        data: Buffer,
        padding: AsymmetricPadding,
        algorithm: asymmetric_utils.Prehashed | hashes.HashAlgorithm | asymmetric_utils.NoDigestInfo,
    ) -> bytes:
        message, hash_ = bytes(data), _plain(algorithm)
        scheme = Scheme("rsa-pss" if isinstance(padding, PSS) else "rsa-pkcs1", hash_)
        expected = PSS(MGF1(hash_), hash_.digest_size) if scheme.name == "rsa-pss" else PKCS1v15()
        return self._sign(scheme, message, lambda found: self._public.verify(found, message, expected, hash_))

    def try_out(self) -> None:
        self.sign(GREETING, PKCS1v15(), hashes.SHA256())

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, *_arguments: object) -> bytes:
        self._refuse()

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        self._refuse()


class _Ed25519Key(_Key[ed25519.Ed25519PublicKey], ed25519.Ed25519PrivateKey):
    def sign(self, data: Buffer) -> bytes:
        message = bytes(data)
        return self._sign(Scheme("ed25519"), message, lambda found: self._public.verify(found, message))

    def try_out(self) -> None:
        self.sign(GREETING)

    def private_bytes_raw(self) -> bytes:
        self._refuse()


class _MldsaKey(_Key[MldsaPublicKey]):
    def sign(self, data: Buffer, context: Buffer | None = None) -> bytes:
        if context is not None:
            self._refuse()  # certificates have none, RFC 9881 §3
        message = bytes(data)
        return self._sign(Scheme("ml-dsa"), message, lambda found: self._public.verify(found, message))

    def try_out(self) -> None:
        self.sign(GREETING)

    def sign_mu(self, *_arguments: object) -> bytes:
        self._refuse()

    def private_bytes_raw(self) -> bytes:
        self._refuse()


class _Mldsa44Key(_MldsaKey, mldsa.MLDSA44PrivateKey):  # type: ignore[misc]  # the public key is of the same kind
    pass


class _Mldsa65Key(_MldsaKey, mldsa.MLDSA65PrivateKey):  # type: ignore[misc]  # as above
    pass


class _Mldsa87Key(_MldsaKey, mldsa.MLDSA87PrivateKey):  # type: ignore[misc]  # as above
    pass


_AnyMldsaKey: TypeAlias = _Mldsa44Key | _Mldsa65Key | _Mldsa87Key
_MLDSA: Mapping[MldsaKeyType, type[_AnyMldsaKey]] = {
    "ml-dsa-44": _Mldsa44Key,
    "ml-dsa-65": _Mldsa65Key,
    "ml-dsa-87": _Mldsa87Key,
}


def _of(store: Store) -> _EcKey | _RsaKey | _Ed25519Key | _AnyMldsaKey:
    public = store.public_key
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _EcKey(store, public)
    if isinstance(public, rsa.RSAPublicKey):
        return _RsaKey(store, public)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return _Ed25519Key(store, public)
    if isinstance(public, MldsaPublicKey):
        return _MLDSA[mldsa_kind(public)](store, public)
    raise KeyUnavailableError(f"{store.where} is a {type(public).__name__}, which cannot sign here")


def _plain(algorithm: object) -> hashes.HashAlgorithm:
    if isinstance(algorithm, HASHES):
        return algorithm
    name = getattr(algorithm, "name", type(algorithm).__name__)
    raise UnsupportedAlgorithm(f"such keys sign messages with SHA-256, SHA-384 or SHA-512, not {name}")
