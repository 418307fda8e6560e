"""PKCS#11 libraries in this process: loaded once, spoken to by one thread at a time, with one session for each token.

Sessions die: with the connection to an HSM, when a token is taken out, when another part of the process finalizes the
library, in a child after a fork. Whatever happens, the next call begins anew, by steps: the session, the library.
"""

from __future__ import annotations

import _ssl
import atexit
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pkcs11
import structlog
from pkcs11._pkcs11 import lib as Lib  # noqa: N812 - a class that has the name of a function of the package
from pkcs11.constants import TokenFlag
from pkcs11.exceptions import PKCS11Error

from acme_ca import metrics
from acme_ca.keys.base import KeyAway, KeyUnavailableError
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.secret import Secret, SecretUnavailableError

LAST_TRY = TokenFlag.USER_PIN_FINAL_TRY
ALREADY = "already initialized"  # of CKR_CRYPTOKI_ALREADY_INITIALIZED, which has no class of its own
PATIENCE = 10.0  # seconds to wait for the other threads' turns: a library that hangs cannot be interrupted
Result = TypeVar("Result")
Place = tuple[int, str]  # a slot, and the serial number of the token in it

LASTING = (  # what will not pass by itself
    pkcs11.ArgumentsBad,
    pkcs11.FunctionNotSupported,
    pkcs11.KeySizeRange,
    pkcs11.KeyTypeInconsistent,
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.TokenNotRecognised,
    pkcs11.TokenWriteProtected,
)
ABOUT_PIN = (
    pkcs11.PinExpired,
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """How to get to a key: the token that has it, and the PIN."""

    uri: Pkcs11Uri
    pin: Secret | None

    def is_of(self, token: pkcs11.Token, slot_id: int) -> bool:
        """Whether this is the token that is asked for."""
        wanted = (
            (self.uri.token, token.label),
            (self.uri.manufacturer, token.manufacturer_id),
            (self.uri.model, token.model),
            (self.uri.serial, _text(token.serial)),
            (self.uri.slot_id, str(slot_id)),
        )
        return all(expected is None or expected == found for expected, found in wanted)


class Library:
    """One PKCS#11 library. All its methods but `turn` want the turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._loaded: Lib | None = None
        self._parents: Lib | None = None
        self._sessions: dict[Place, pkcs11.Session] = {}
        self._places: dict[Door, Place] = {}  # where each token was found: to look for it costs more than to sign
        self._refused: set[bytes] = set()  # digests of PINs that a token refused: none is tried twice

    @contextmanager
    def turn(self, where: str) -> Iterator[None]:
        """Work while no other thread does; raises KeyAway when that takes too long to come."""
        lock = self._lock
        if not lock.acquire(timeout=PATIENCE):
            raise KeyAway(where, f"{self._path} has been busy for {PATIENCE:.0f} s")
        try:
            yield
        finally:
            _clear_openssl_errors()
            lock.release()

    def with_session(self, door: Door, work: Callable[[pkcs11.Session], Result]) -> Result:
        """Return what `work` does in the session with a token; what was lost is made again, and the work repeated.

        Raises KeyAway and KeyUnavailableError.
        """
        for mend in (None, self._drop_session, self._drop_all):
            if mend is not None:
                mend(door)
            try:
                with _lasting_told(door):
                    return work(self._session(door))
            except (PKCS11Error, TokenMissing, UnicodeDecodeError) as error:  # a token that goes away may say anything
                trouble: Exception = error
        if isinstance(trouble, TokenMissing):
            raise trouble
        raise KeyAway(str(door.uri), f"{self._path}: {_name(trouble)}") from trouble

    def write(self, door: Door, work: Callable[[pkcs11.Session], None]) -> None:
        """Do work that changes the token, in a session of its own. Raises as `with_session` does, but tries once."""
        self.let_go()
        try:
            with _lasting_told(door):
                work(self._log_in(door, self._token(door), writing=True))
        except PKCS11Error as error:
            raise KeyAway(str(door.uri), f"{self._path}: {_name(error)}") from error
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Close everything, in the middle of whatever it is in; what is used again is opened again."""
        self._sessions.clear()
        self._places.clear()
        if self._loaded is not None:
            with suppress(PKCS11Error):
                self._loaded.finalize()

    def abandon(self) -> None:
        """Begin anew in a child after a fork. The parent's is left alone: to finalize it here could end it there."""
        self._lock = threading.Lock()
        self._sessions, self._places = {}, {}
        if self._loaded is not None:
            self._parents = self._loaded  # kept: to free it would finalize it
        self._loaded = None

    def _session(self, door: Door) -> pkcs11.Session:
        place = self._places.get(door)
        if place in self._sessions:
            return self._sessions[place]
        token = self._token(door)
        place = self._places[door] = (token.slot.slot_id, _text(token.serial))
        if place not in self._sessions:
            self._sessions[place] = self._log_in(door, token)
        return self._sessions[place]

    def _log_in(self, door: Door, token: pkcs11.Token, *, writing: bool = False) -> pkcs11.Session:
        pin = self._pin(door)
        digest = sha256(b"\0".join((str(door.uri.token).encode(), _text(token.serial).encode(), pin or b""))).digest()
        if digest in self._refused:
            raise KeyUnavailableError(f"{door.uri}: the token refused this PIN before; it is not tried again")
        if pin is not None and LAST_TRY in token.flags:
            raise KeyUnavailableError(
                f"{door.uri}: one more wrong PIN would lock the token; log in by its own tools, and start again"
            )
        try:
            session = token.open(rw=writing, user_pin=None if pin is None else pin.decode())
        except pkcs11.UserAlreadyLoggedIn:  # by a session that is lost
            session = token.open(rw=writing)
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            self._refused.add(digest)
            raise
        metrics.child(metrics.KEY_SESSIONS, str(door.uri)).inc()
        return session

    def _pin(self, door: Door) -> bytes | None:
        if door.pin is None:
            return None
        try:
            pin = door.pin.reveal()
            pin.decode()
        except SecretUnavailableError as error:
            raise KeyUnavailableError(f"{door.uri}: the PIN: {error}") from error
        except UnicodeDecodeError as error:
            raise KeyUnavailableError(f"{door.uri}: the PIN of {door.pin} is not UTF-8") from error
        return pin

    def _token(self, door: Door) -> pkcs11.Token:
        there = []
        for slot in self._load().get_slots(token_present=True):
            try:
                token = slot.get_token()
            except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
                continue
            if TokenFlag.TOKEN_INITIALIZED in token.flags:
                there.append((slot.slot_id, token))
        found = [token for slot_id, token in there if door.is_of(token, slot_id)]
        if len(found) > 1:
            raise KeyUnavailableError(f"{door.uri}: {len(found)} tokens are so; name one by serial or slot-id")
        if not found:
            raise TokenMissing(door, [token.label for _, token in there])
        return found[0]

    def _load(self) -> Lib:
        if self._loaded is None:
            self._loaded = self._first_load()
        if not self._loaded.initialized:
            try:
                self._loaded.initialize()
            except PKCS11Error as error:
                if ALREADY not in str(error):  # if somebody else of this process did, it is as good
                    raise
        return self._loaded

    def _first_load(self) -> Lib:
        try:
            return Lib(str(self._path))
        except PKCS11Error as error:
            if "OS exception" in str(error):  # of dlopen, which begins with the path; all such errors are of one class
                reason = str(error).rpartition(f"{self._path}: ")[2]
                raise KeyUnavailableError(f"PKCS#11 library {self._path} cannot be loaded: {reason}") from error
            if self._parents is None or ALREADY not in str(error):
                raise
        # This library did not notice the fork: it takes its copy of the parent's state for its own, which has to end.
        self._parents.finalize()
        return Lib(str(self._path))

    def _drop_session(self, door: Door) -> None:
        place = self._places.pop(door, None)
        session = None if place is None else self._sessions.pop(place, None)
        if session is not None:
            log.info("key.session_lost", key=str(door.uri))
            with suppress(PKCS11Error):
                session.close()

    def _drop_all(self, _door: Door) -> None:
        if self._sessions:
            log.info("key.library_lost", library=str(self._path))
        self.let_go()


class TokenMissing(KeyAway):
    """The token is not there. It may be put in; or, if there are `others`, it may have another name."""

    def __init__(self, door: Door, others: list[str]) -> None:
        seen = f"there are {', '.join(others)}" if others else "there is none"
        super().__init__(str(door.uri), f"there is no such token; {seen}")
        self.others = others


def library(path: Path) -> Library:
    """Return the library of this process at a path."""
    with _GUARD:
        return _LIBRARIES.setdefault(path, Library(path))


def let_go() -> None:
    """Close all sessions of this process."""
    for each in list(_LIBRARIES.values()):
        with each.turn("PKCS#11"):
            each.let_go()


@contextmanager
def _lasting_told(door: Door) -> Iterator[None]:
    """Tell what will not pass by itself from what may."""
    try:
        yield
    except ABOUT_PIN as error:
        raise KeyUnavailableError(f"{door.uri}: the token refuses the PIN of {door.pin} ({_name(error)})") from error
    except LASTING as error:
        raise KeyUnavailableError(f"{door.uri}: the token cannot do this ({_name(error)})") from error


def _openssl() -> Callable[[], object]:
    """Return how to forget the errors that OpenSSL has queued for this thread.

    A vendor's library may use the OpenSSL that Python's `ssl` uses, and leave its errors there: `ssl` takes them for
    those of the next connection that has to wait, and ends it. OpenSSL's SSL_get_error(3) wants an empty queue.
    """
    place = getattr(_ssl, "__file__", None)  # symbols are sought in what it is linked with too; None: this program
    try:
        clear: Callable[[], object] = ctypes.CDLL(place).ERR_clear_error
    except (AttributeError, OSError):  # a Python with another TLS library, which has no such queue
        return lambda: None
    return clear


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _name(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_clear_openssl_errors = _openssl()
_GUARD = threading.Lock()
_LIBRARIES: dict[Path, Library] = {}


def _after_fork() -> None:
    global _GUARD  # noqa: PLW0603 - another thread of the parent may have held it
    _GUARD = threading.Lock()
    for each in _LIBRARIES.values():
        each.abandon()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(let_go)
