"""Keys that only their store can use: HSMs and services. They look like cryptography's own.

Every signature is verified before it is given out. While a store is away, it is asked again with growing pauses, and
whoever needs it in between learns at once that it is.
"""

from __future__ import annotations

import atexit
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from time import monotonic, perf_counter
from typing import Any, Generic, Literal, NoReturn, TypeVar
from weakref import WeakKeyDictionary

import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.utils import Buffer

from acme_ca import baton, metrics
from acme_ca.keys.base import KeyAway, KeyUnavailableError, PrivateKey
from acme_ca.public_keys import PublicKey

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds, doubling, until a store that is away is asked again
MANY = 10  # failures, after which the pause grows no more
GREETING = b"acme-ca tries a key before it is used"  # nothing in DER begins like this: it is no certificate
HASHES: tuple[type[hashes.HashAlgorithm], ...] = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
Result = TypeVar("Result")
Public = TypeVar("Public", bound=PublicKey)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How to sign. `hash` is None for Ed25519, which has its own. PSS salts are as long as the hash. RFC 8017 §8."""

    name: Literal["ecdsa", "rsa-pkcs1", "rsa-pss", "ed25519"]
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


class Breaker:
    """Lets nobody wait for what was just found to be away."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._reason = ""

    def __call__(self, ask: Callable[[], Result]) -> Result:
        """Return what `ask` does; raises KeyAway with the time until it is asked again."""
        self._enter()
        try:
            result = ask()
        except KeyAway as error:
            self._failed(error.reason)
            raise KeyAway(self._where, error.reason, retry_after=self._seconds_left()) from error
        except KeyUnavailableError as error:  # somebody has to act; then it works without a restart
            self._failed(str(error), lasting=True)
            raise KeyAway(self._where, str(error), retry_after=self._seconds_left()) from error
        self._succeeded()
        return result

    def _enter(self) -> None:
        with self._lock:
            now = monotonic()
            if now < self._until:
                raise KeyAway(self._where, self._reason, retry_after=self._seconds_left())
            if self._failures:  # one tries, the others go on without
                self._until = now + self._pause

    @property
    def _pause(self) -> float:
        return min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, MANY), LONGEST_PAUSE)

    def _seconds_left(self) -> int:
        return max(1, ceil(self._until - monotonic()))

    def _failed(self, reason: str, *, lasting: bool = False) -> None:
        with self._lock:
            self._failures += MANY if lasting else 1
            self._until = monotonic() + self._pause
            self._reason = reason
            log.warning("key.away", key=self._where, reason=reason, again_in=self._pause)
        metrics.child(metrics.KEY_UP, self._where).set(0)

    def _succeeded(self) -> None:
        if self._failures:
            with self._lock:
                self._failures, self._until = 0, 0.0
            log.info("key.back", key=self._where)
        metrics.child(metrics.KEY_UP, self._where).set(1)


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
        _KEEPER.keep(key, keep_alive)
    return key


def let_go() -> None:
    """Keep no key alive in this process any more."""
    _KEEPER.let_go()


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
        started, outcome = perf_counter(), "error"
        try:
            with baton.aside():
                signature = self._breaker(lambda: self._checked(scheme, message, verify))
            outcome = "ok"
        except KeyAway:
            outcome = "away"
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


def _of(store: Store) -> _EcKey | _RsaKey | _Ed25519Key:
    public = store.public_key
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _EcKey(store, public)
    if isinstance(public, rsa.RSAPublicKey):
        return _RsaKey(store, public)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return _Ed25519Key(store, public)
    raise KeyUnavailableError(f"{store.where} is a {type(public).__name__}, which cannot sign here")


class _Keeper:
    """Lets keys sign that were not used for a while: one thread of this process, while there are such keys."""

    def __init__(self) -> None:
        self._keys: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, key: Any, seconds: float) -> None:  # noqa: ANN401 - a key of any kind
        self._keys[key] = seconds
        if self._thread is None or not self._thread.is_alive():  # which it is not after a fork
            self._end = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._end,), name="keep-alive", daemon=True)
            self._thread.start()

    def let_go(self) -> None:
        self._end.set()
        self._keys.clear()
        if self._thread is not None:
            self._thread.join(LONGEST_PAUSE)
            self._thread = None

    def _run(self, end: threading.Event) -> None:
        while not end.wait(min([LONGEST_PAUSE, *self._keys.values()]) / 4):
            for key, seconds in list(self._keys.items()):
                if monotonic() >= key.used_at + seconds:
                    with suppress(KeyAway):  # it is logged, and a metric
                        key.try_out()


_KEEPER = _Keeper()
atexit.register(_KEEPER.let_go)


def _plain(algorithm: object) -> hashes.HashAlgorithm:
    if isinstance(algorithm, HASHES):
        return algorithm
    name = getattr(algorithm, "name", type(algorithm).__name__)
    raise UnsupportedAlgorithm(f"such keys sign messages with SHA-256, SHA-384 or SHA-512, not {name}")
