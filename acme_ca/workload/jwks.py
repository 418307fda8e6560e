"""Where an issuer's keys come from: a JWKS (RFC 7517 §5) by discovery, at a URL, in a file or in the configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from acme_ca import https
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.jose import jwk_from_json
from acme_ca.paths import ExistingFile
from acme_ca.problems import Malformed, Problem
from acme_ca.secret import Secret, SecretUnavailableError
from acme_ca.workload.documents import Document, Documents, Origin
from acme_ca.workload.jwt import Key

DAY = 86400

Keys: TypeAlias = tuple[Key, ...]

log = logging.getLogger(__name__)


def https_url(value: str) -> str:
    """Return a URL that may be fetched; raises ValueError for one that is not https, or has a fragment or user."""
    parts = urlsplit(value)
    printable = value.isascii() and value.isprintable() and " " not in value
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment or not printable:
        raise ValueError(f"expected a URL that starts with https://, without a user or a fragment, not {value!r}")
    _ = parts.port  # raises ValueError for what is no port
    return value


HttpsUrl = Annotated[str, AfterValidator(https_url)]


class _Source(BaseModel):
    """What all sources of keys share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Fetched(_Source):
    """What sources on the network share. Times are in seconds."""

    refresh: float = Field(strict=True, default=300, gt=0, le=DAY)
    """How long keys are used before they are fetched again; a key that is not among them is looked for at once."""
    max_stale: float = Field(strict=True, default=DAY, ge=0, le=30 * DAY)
    """How long keys are used when they cannot be fetched again; then proofs are refused until they can."""
    ca_file: ExistingFile | None = None
    """PEM file of the roots that the server's certificate is verified by; without one the system's."""
    timeout: float = Field(strict=True, default=5, gt=0, le=60)
    """What one request gets."""

    def at(self, url: str) -> Endpoint:
        """Return how a URL is asked."""
        return Endpoint(url, self.ca_file, self.timeout)


class Discovery(_Fetched):
    """Ask the issuer where its keys are: ISSUER/.well-known/openid-configuration. OpenID Connect Discovery 1.0 §4."""

    source: Literal["discovery"] = "discovery"
    """Names the kind of source."""
    jwks_hosts: tuple[str, ...] = ()
    """Hosts, besides the issuer's own, that the issuer may keep its keys at."""

    def document(self, issuer: str, documents: Documents[Keys]) -> Document[Keys]:
        """Return the issuer's keys."""
        origin = Origin(lambda: self._load(issuer), self.refresh, self.max_stale)
        return documents.at((self, issuer), origin)

    def _load(self, issuer: str) -> Keys:
        url = issuer.removesuffix("/") + "/.well-known/openid-configuration"
        found = https.get_json(self.at(url))
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            said = found.get("issuer") if isinstance(found, dict) else found
            raise FetchFailedError(f"{url} is the configuration of {_excerpt(said)}; expected issuer {issuer}")
        where = found.get("jwks_uri")
        self._check(where, issuer, url)
        return _keys_at(self.at(str(where)))

    def _check(self, where: object, issuer: str, url: str) -> None:
        try:
            host = urlsplit(https_url(where)).hostname if isinstance(where, str) else None
        except ValueError:
            host = None
        if host is None:
            raise FetchFailedError(f"{url} has the jwks_uri {_excerpt(where)}; expected an https URL")
        if host != urlsplit(issuer).hostname and host not in self.jwks_hosts:
            raise FetchFailedError(f"{url} has keys at {host}, which is not the issuer's host and not in jwks_hosts")


class Url(_Fetched):
    """Fetch the keys from a URL, whatever the issuer says about itself."""

    source: Literal["url"]
    """Names the kind of source."""
    url: HttpsUrl
    """The URL of the JWKS, e.g. https://10.0.0.1:6443/openid/v1/jwks of a Kubernetes API server."""
    token: Secret | None = None
    """A bearer token for the request, where the keys are not public."""

    def document(self, _issuer: str, documents: Documents[Keys]) -> Document[Keys]:
        """Return the keys at the URL."""
        origin = Origin(lambda: _keys_at(self.at(self.url), bearer(self.token)), self.refresh, self.max_stale)
        return documents.at(self, origin)


class File(_Source):
    """Read the keys from a file, again whenever it changes: for issuers that cannot be reached."""

    source: Literal["file"]
    """Names the kind of source."""
    file: ExistingFile
    """A JWKS in JSON."""
    max_stale: float = Field(strict=True, default=DAY, ge=0, le=30 * DAY)
    """How long the last good keys are used, in seconds, when the file is gone or broken."""

    def document(self, _issuer: str, documents: Documents[Keys]) -> Document[Keys]:
        """Return the keys in the file."""
        return documents.at(self, Origin(self._load, 0, self.max_stale, self._stamp))

    def _stamp(self) -> object:
        try:
            found = self.file.stat()
        except OSError as error:
            raise FetchFailedError(f"the keys in {self.file} cannot be read: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> Keys:
        try:
            with self.file.open("rb") as file:
                return _usable(https.parse_json(file.read(https.MAX_BODY)), str(self.file))
        except OSError as error:
            raise FetchFailedError(f"the keys in {self.file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise FetchFailedError(f"the keys in {self.file} are not JSON: {error}") from error


class Inline(_Source):
    """Keys that stand in the configuration itself."""

    source: Literal["inline"]
    """Names the kind of source."""
    keys: tuple[dict[str, Any], ...] = Field(min_length=1)
    """The JWKs. Each one has to be a usable public key."""

    @model_validator(mode="after")
    def _all_usable(self) -> Inline:
        _ = self.parsed
        return self

    @cached_property
    def parsed(self) -> Keys:
        """The keys, of which none is skipped: validation raises ValueError when one is not usable."""
        return tuple(_inline(jwk) for jwk in self.keys)


AnyJwks = Annotated[Discovery | Url | File | Inline, Field(discriminator="source")]
"""Where keys come from, told apart by `source`."""

_DOCUMENTS: Documents[Keys] = Documents()


def keys_for(source: AnyJwks, issuer: str, kid: str | None, documents: Documents[Keys] = _DOCUMENTS) -> Sequence[Key]:
    """Return the issuer's keys, fetched anew if `kid` is not among them; raises provider_unavailable."""
    if isinstance(source, Inline):
        return source.parsed
    document = source.document(issuer, documents)
    keys = document.current()
    if kid is None or any(key.kid == kid for key in keys):
        return keys
    return document.renewed()


def parse_keys(document: object, use: str | None = None) -> Keys:
    """Return the usable keys of a JWKS; raises FetchFailedError for what is none.

    With `use` only keys of that very use count (SPIFFE's jwt-svid), without it those for signatures. Others are
    skipped, as RFC 7517 §5 asks for, and so are weak, private and unreadable ones.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise FetchFailedError("it is no JWKS: expected a JSON object with the array keys")
    return tuple(key for jwk in listed if (key := _key(jwk, use)) is not None)


def bearer(token: Secret | None) -> dict[str, str]:
    """Return the header field of a bearer token, if there is one; raises FetchFailedError if it cannot be read."""
    try:
        return {} if token is None else {"Authorization": f"Bearer {token.reveal().decode('ascii')}"}
    except (SecretUnavailableError, UnicodeDecodeError) as error:
        raise FetchFailedError(f"the credential {token} cannot be used: {error}") from error


def _keys_at(endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> Keys:
    return _usable(https.get_json(endpoint, headers), endpoint.url)


def _usable(document: object, place: str) -> Keys:
    try:
        keys = parse_keys(document)
    except FetchFailedError as error:
        raise FetchFailedError(f"{place}: {error}") from error
    if not keys:  # the issuer has withdrawn what it had
        log.warning("%s has no key that tokens can be verified by", place)
    return keys


def _key(jwk: object, use: str | None) -> Key | None:
    if not isinstance(jwk, dict) or not _is_for(jwk, use):
        return None
    try:
        return _read(jwk)
    except Problem as problem:
        log.warning("the key %s is not used: %s", _excerpt(jwk.get("kid")), problem.detail)
        return None


def _is_for(jwk: Mapping[str, object], use: str | None) -> bool:
    if use is not None:
        return jwk.get("use") == use
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _read(jwk: Mapping[str, object]) -> Key:
    kid, alg = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str | None) or not isinstance(alg, str | None):
        raise Malformed("the kid or alg of a jwk is no string")
    return Key.of(jwk_from_json(jwk).key, kid, alg)


def _inline(jwk: Mapping[str, object]) -> Key:
    try:
        return _read(jwk)
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def _excerpt(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 200 else f"{text[:200]}..."  # noqa: PLR2004 - a line of a log
