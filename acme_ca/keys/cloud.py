"""What the key services of clouds have in common: requests that end, refusals that say what to do, checked keys.

A service is asked over `https`, with one deadline for each request and no retries: `elsewhere.Breaker` decides when it
is asked again. Of the SDKs only what finds and renews credentials is used, where there is one.
"""

from __future__ import annotations

import json
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from acme_ca import https, public_keys
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.keys.base import KeyAway, KeyBackend, KeyUnavailableError, PrivateKey
from acme_ca.keys.elsewhere import Scheme, Store, private_key
from acme_ca.problems import BadPublicKey
from acme_ca.public_keys import PublicKey
from acme_ca.vocabulary import MLDSA_KEY_TYPES

TIMEOUT = 5.0  # seconds until a request is over
CURVE_BITS = {"secp256r1": 256, "secp384r1": 384, "secp521r1": 512}  # of the hash that clouds sign with on a curve
_PASSING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
_LONGEST_DETAIL = 300  # characters of a service's own words
_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
Made = TypeVar("Made")
Answer = TypeVar("Answer", bound=BaseModel)


class RefusedError(KeyUnavailableError):
    """A service said no, and would say it again. `status` is that of its answer, `detail` what it said."""

    def __init__(self, message: str, status: int, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class WireModel(BaseModel):
    """An answer of a service; members that are not needed here are ignored."""

    model_config = ConfigDict(frozen=True)


class Nothing(WireModel):
    """An answer of which nothing is needed."""


def _service_url(url: str) -> str:
    """Return an origin without a slash at its end: https, or http on this machine, where agents and stand-ins are."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"expected a URL like https://host or https://host:port: {error}") from error
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username, parts.password)
    if parts.scheme not in {"http", "https"} or not host or any(rest):
        raise ValueError("expected a URL like https://host or https://host:port, without a path")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ValueError("http would show the requests to the network; expected an https URL")
    return f"{parts.scheme}://{parts.netloc}"


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


ServiceUrl = Annotated[str, AfterValidator(_service_url)]


def file_stem(name: str) -> str:
    """Return the last part of a key's name, with nothing in it that file names do not have."""
    return _NOT_IN_FILE_NAMES.sub("-", name.rpartition("/")[2])


def imported(module: str, extra: str, where: str) -> ModuleType:
    """Return a module of the extra; raises KeyUnavailableError with how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise KeyUnavailableError(
            f"{where} needs {module}, which cannot be imported ({error}); `pip install 'acme-ca[{extra}]'` brings it"
        ) from error


class PerProcess(Generic[Made]):
    """Something with connections, which a child process has to make for itself. Two threads may make it at once."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: tuple[int, Made] | None = None

    def __call__(self) -> Made:
        """Return what this process has made, or make it."""
        made = self._made
        if made is None or made[0] != os.getpid():
            made = self._made = (os.getpid(), self._make())
        return made[1]

    def forget(self) -> None:
        """Make it anew when it is needed again."""
        self._made = None


@dataclass(slots=True)
class Service:
    """A service's REST API. `credentials` are fields of each request's header; `renew` is called when they are refused.

    `advice` says what to do about a status. Once the service has answered, credentials that are missing count as away.
    """

    where: str
    url: str
    credentials: Callable[[], Mapping[str, str]]
    advice: Mapping[int, str]
    ca_file: Path | None = None
    renew: Callable[[], None] | None = None
    timeout: float = TIMEOUT
    has_answered: bool = field(default=False, init=False)

    def get(self, path: str, model: type[Answer]) -> Answer:
        """Return what is at a path; raises KeyAway and RefusedError."""
        return self._parsed(self._ask("GET", path, None), path, model)

    def post(self, path: str, body: Mapping[str, object], model: type[Answer]) -> Answer:
        """Return what a path answers; raises KeyAway and RefusedError."""
        return self._parsed(self._ask("POST", path, json.dumps(body).encode()), path, model)

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        response = self._request(method, path, body)
        if response.status == HTTPStatus.UNAUTHORIZED and self.renew is not None:
            self.renew()
            response = self._request(method, path, body)
        if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            self.has_answered = True
            return response.body
        detail = _detail(response.body)
        said = f"it answered {method} {path} with status {response.status}" + (f": {detail}" if detail else "")
        if response.status < HTTPStatus.BAD_REQUEST or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise KeyAway(self.where, said)
        if response.status in _PASSING:
            raise KeyAway(self.where, said)
        advice = self.advice.get(response.status, "see the documentation of the service")
        raise RefusedError(f"{self.where}: {said}; {advice}", response.status, detail)

    def _request(self, method: str, path: str, body: bytes | None) -> https.Response:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        endpoint = Endpoint(self.url + path, self.ca_file, self.timeout, plain=True)  # ServiceUrl tells which may be
        try:
            return https.request(endpoint, method, body, headers | dict(self._credentials()))
        except FetchFailedError as error:
            raise KeyAway(self.where, str(error)) from error

    def _credentials(self) -> Mapping[str, str]:
        try:
            return self.credentials()
        except KeyUnavailableError as error:
            if self.has_answered:
                raise KeyAway(self.where, str(error)) from error
            raise

    def _parsed(self, body: bytes, path: str, model: type[Answer]) -> Answer:
        try:
            return model.model_validate_json(body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise KeyAway(self.where, f"its answer at {path} is not as expected: {place}: {first['msg']}") from error


def _detail(body: bytes) -> str:
    """Return what a service says about an error: `error.message` of Azure and Google, `errors` of Vault and OpenBao."""
    try:
        document = https.parse_json(body)
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    error, errors = document.get("error"), document.get("errors")
    said = error.get("message") if isinstance(error, dict) else None
    if isinstance(errors, list):
        said = "; ".join(map(str, errors))
    text = " ".join(str(said or "").split())
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "…"


class CloudKey(KeyBackend):
    """A key of a service that is asked what it is: the same way whichever service it is."""

    @abstractmethod
    def _find(self) -> Store:
        """Ask for the key; raises RefusedError where the service says no, with 404 for a key that is not there."""

    def exists(self) -> bool:
        """Whether there is such a key, and the version that is named."""
        try:
            self._find()
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def open(self) -> PrivateKey:
        """Read the public key of the version to sign with: what a name means now may change later."""
        return opened(self._find())

    def _refuse_to_replace(self) -> None:
        """Raise KeyUnavailableError if there is such a key: some services would give it a new version."""
        if self.exists():
            raise KeyUnavailableError(f"{self} exists already; it is never replaced")


def opened(store: Store) -> PrivateKey:
    """Return the key of a store if it is good enough to sign certificates; raises KeyUnavailableError."""
    try:
        kind = public_keys.check(store.public_key)
    except BadPublicKey as error:
        raise KeyUnavailableError(f"{store.where}: {error.detail}") from error
    if kind in MLDSA_KEY_TYPES:
        raise KeyUnavailableError(f"{store.where} is of kind {kind}, which signs here from a file (software) only")
    return private_key(store)


def public_key_of(where: str, pem: str) -> PublicKey:
    """Return the key of a PEM text; raises KeyUnavailableError for what cannot sign certificates."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnavailableError(f"{where}: its public key cannot be read: {error}") from error
    if not isinstance(key, PublicKey):
        raise KeyUnavailableError(f"{where} is a {type(key).__name__}, which cannot sign here")
    return key


def hash_bits(where: str, key: PublicKey, scheme: Scheme) -> int:
    """Return the length of the hash to sign with, 0 for Ed25519; clouds have one hash for each curve."""
    if scheme.hash is None or isinstance(key, ed25519.Ed25519PublicKey):
        return 0
    bits = scheme.hash.digest_size * 8
    if isinstance(key, ec.EllipticCurvePublicKey) and bits != (expected := CURVE_BITS[key.curve.name]):
        raise UnsupportedAlgorithm(f"{where} is on {key.curve.name} and signs with SHA-{expected} only, not SHA-{bits}")
    return bits
