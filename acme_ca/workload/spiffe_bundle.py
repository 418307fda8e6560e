"""Trust bundles of SPIFFE: the keys of one trust domain, at a URL or in a file. SPIFFE Trust Domain and Bundle §4."""

from __future__ import annotations

import logging
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from acme_ca import https
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.identifiers import SPIFFE
from acme_ca.jose.encoding import shown
from acme_ca.paths import ExistingFile
from acme_ca.problems import Problem
from acme_ca.workload import chain
from acme_ca.workload.documents import Document, Documents, Origin
from acme_ca.workload.jwks import HttpsUrl, parse_keys
from acme_ca.workload.jwt import Key

DAY = 86400
MIN_REFRESH = 30  # seconds: a bundle that asks for less is not fetched more often
MAX_REFRESH = 3600  # one that asks for more is fetched all the same: keys that were stolen have to go
DEFAULT_REFRESH = 300  # for a bundle without a hint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The keys of one trust domain. `refresh` is in seconds, within the bounds above."""

    x509_authorities: tuple[x509.Certificate, ...] = field(repr=False)
    jwt_keys: tuple[Key, ...] = field(repr=False)
    sequence: int | None
    refresh: int

    def has_key(self, kid: str | None) -> bool:
        """Tell whether the key is there that a token names; a token without a name may be by any."""
        return kid is None or any(key.kid == kid for key in self.jwt_keys)

    def leads_from(self, certificates: Sequence[x509.Certificate]) -> bool:
        """Tell whether a certificate says that an authority is its issuer, by its name and its key's identifier."""
        return any(_says_issuer(one, authority) for authority in self.x509_authorities for one in certificates)


class _Place(BaseModel):
    """What both places of bundles share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_stale: Annotated[int, Field(ge=0, le=30 * DAY)] = DAY
    """How long the last good bundle is used, in seconds, when it cannot be had anew; then proofs are refused."""


class WebBundle(_Place):
    """Fetch the bundle from a bundle endpoint with a certificate of the web or of `ca_file`. SPIFFE Federation §5.2.1.

    It is fetched as often as its `spiffe_refresh_hint` says, between twice a minute and once an hour.
    """

    url: HttpsUrl
    """The URL of the bundle endpoint."""
    profile: Literal["https_web"] = "https_web"
    """How the endpoint is authenticated."""
    ca_file: ExistingFile | None = None
    """PEM file of the roots that the endpoint's certificate is verified by; without one the system's."""
    timeout: Annotated[float, Field(gt=0, le=60)] = 5
    """What one request gets, in seconds."""

    def document(self, trust_domain: str, documents: Documents[Bundle]) -> Document[Bundle]:
        """Return the bundle of the trust domain."""
        schedule = _Schedule(documents.monotonic, lambda: self._load(trust_domain))
        origin = Origin(schedule.load, 0, self.max_stale, schedule.stamp)
        return documents.at((self, trust_domain), origin)

    def _load(self, trust_domain: str) -> Bundle:
        found = https.get_json(Endpoint(self.url, self.ca_file, self.timeout))
        return parse_bundle(found, trust_domain, self.url)


class FileBundle(_Place):
    """Read the bundle from a file, again whenever it changes: for trust domains that cannot be reached."""

    file: ExistingFile
    """The bundle in JSON, as `spire-server bundle show -format spiffe` writes it."""

    def document(self, trust_domain: str, documents: Documents[Bundle]) -> Document[Bundle]:
        """Return the bundle of the trust domain."""
        origin = Origin(lambda: self._load(trust_domain), 0, self.max_stale, lambda: chain.stamp(self.file))
        return documents.at((self, trust_domain), origin)

    def _load(self, trust_domain: str) -> Bundle:
        try:
            found = https.parse_json(chain.read_file(self.file))
        except ValueError as error:
            raise FetchFailedError(f"the bundle in {self.file} is not JSON: {error}") from error
        return parse_bundle(found, trust_domain, str(self.file))


def _kind(settings: object) -> str:
    in_file = "file" in settings if isinstance(settings, dict) else isinstance(settings, FileBundle)
    return "file" if in_file else "url"


AnyBundle: TypeAlias = Annotated[
    Annotated[WebBundle, Tag("url")] | Annotated[FileBundle, Tag("file")],
    Discriminator(_kind),
]
"""Where a bundle comes from: a table with `url`, or one with `file`."""

_BUNDLES: Documents[Bundle] = Documents()


def bundle_of(
    place: WebBundle | FileBundle,
    trust_domain: str,
    suffices: Callable[[Bundle], bool],
    documents: Documents[Bundle] = _BUNDLES,
) -> Bundle:
    """Return the bundle, fetched anew if it does not suffice; raises provider_unavailable."""
    document = place.document(trust_domain, documents)
    found = document.current()
    return found if suffices(found) else document.renewed()


def parse_bundle(document: object, trust_domain: str, place: str) -> Bundle:
    """Return the keys of a bundle; raises FetchFailedError for what is none.

    Keys of an unknown use are not looked at (§4.2.2), and those that cannot be used are left out with a warning. No
    key at all is a bundle, too: the trust domain has withdrawn all (§4.1.3).
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(listed, list):
        raise FetchFailedError(f"{place} is no bundle: expected a JSON object with the array keys")
    found = tuple(_authority(jwk, trust_domain, place) for jwk in listed if _is_x509(jwk))
    keys = tuple(key for key in parse_keys(document, use="jwt-svid") if key.kid is not None)
    hint = _number(document, "spiffe_refresh_hint") or DEFAULT_REFRESH
    return Bundle(
        x509_authorities=tuple(authority for authority in found if authority is not None),
        jwt_keys=keys,
        sequence=_number(document, "spiffe_sequence"),
        refresh=min(max(hint, MIN_REFRESH), MAX_REFRESH),
    )


class _Schedule:
    """When a bundle is fetched again, which it says itself. Its stamp is new when that time has come."""

    def __init__(self, monotonic: Callable[[], float], load: Callable[[], Bundle]) -> None:
        self._monotonic = monotonic
        self._load = load
        self._due_at = float("-inf")
        self._round = 0

    def stamp(self) -> object:
        """Return what stays equal until the bundle is to be fetched again."""
        if self._monotonic() >= self._due_at:
            self._round += 1
        return self._round

    def load(self) -> Bundle:
        """Fetch the bundle, and know from it when to do so again."""
        bundle = self._load()
        self._due_at = self._monotonic() + bundle.refresh
        return bundle


def _number(document: Mapping[str, object], name: str) -> int | None:
    value = document.get(name)
    return value if type(value) is int and value >= 0 else None  # bool is an int, and no number here


def _is_x509(jwk: object) -> bool:
    return isinstance(jwk, dict) and jwk.get("use") == "x509-svid"


def _authority(jwk: Mapping[str, object], trust_domain: str, place: str) -> x509.Certificate | None:
    """Return the CA certificate of a key; None for one that is of no use, which is logged."""
    try:
        return _read_authority(jwk.get("x5c"), trust_domain)
    except (Problem, *chain.UNREADABLE) as error:
        log.warning("%s: an authority is not used: %s", place, shown(str(error)))
        return None


def _read_authority(x5c: object, trust_domain: str) -> x509.Certificate:
    if not isinstance(x5c, list) or len(x5c) != 1 or not isinstance(x5c[0], str):
        raise ValueError("x5c is not an array of exactly one certificate in base64")
    certificate = chain.load_der(a2b_base64(x5c[0].encode("ascii"), strict_mode=True))
    constraints = chain.extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ValueError(f"{certificate.subject.rfc4514_string()} is not a CA")
    foreign = [uri for uri in chain.names(certificate).uri if uri.startswith(SPIFFE) and uri != SPIFFE + trust_domain]
    if foreign:
        raise ValueError(f"it is a CA of {foreign[0]}, not of the trust domain {trust_domain}")
    return certificate


def _says_issuer(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate.issuer != authority.subject:
        return False
    named = chain.extension(certificate, x509.AuthorityKeyIdentifier)
    own = chain.extension(authority, x509.SubjectKeyIdentifier)
    return named is None or own is None or named.key_identifier in {None, own.digest}
