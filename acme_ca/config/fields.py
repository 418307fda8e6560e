"""Kinds of values that settings have: addresses, URLs, names, files."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, StringConstraints, ValidationInfo

from acme_ca import identifiers
from acme_ca.keys import AnyKey, KeyBackend
from acme_ca.paths import AnchoredPath, existing
from acme_ca.problems import Problem

MAX_PORT = 65_535
_ROOT_CRL = re.compile(r"root-[a-z0-9-]{1,27}\.crl")  # no longer than the name of an issuer
_BIND = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})")


def _bind(value: str) -> str:
    found = _BIND.fullmatch(value)
    if not found or int(found[2]) > MAX_PORT:
        raise ValueError(f"expected an address and port like 127.0.0.1:8443 or [::]:8443, not {value!r}")
    return value


def _split(value: str, schemes: tuple[str, ...]) -> SplitResult:
    """Take an absolute URL apart; raises ValueError for anything that a link or an origin cannot have."""
    url = urlsplit(value)
    if url.scheme not in schemes or not url.hostname or url.username is not None or re.search(r"[\s\x00-\x1f]", value):
        raise ValueError(
            f"expected a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}, not {value!r}"
        )
    if url.port == 0:  # .port itself raises ValueError for what is no port
        raise ValueError("port 0 can be in no URL")
    return url


def https_origin(value: str) -> str:
    """Return an https URL of nothing but scheme, host and port, in lower case."""
    return _origin(value, "https")


def http_origin(value: str) -> str:
    """Return an http URL of nothing but scheme, host and port, in lower case."""
    return _origin(value, "http")


def _origin(value: str, scheme: str) -> str:
    url = _split(value, (scheme,))
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError(f"expected scheme, host and port only, without the path {value.partition(url.netloc)[2]!r}")
    if not is_address(url.hostname or ""):
        _domain_name(url.hostname or "")
    return f"{scheme}://{url.netloc.lower()}"


def _link(value: str) -> str:
    _split(value, ("https", "http"))
    return value


def is_address(host: str) -> bool:
    """Whether the host of a URL is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _domain_name(name: str) -> str:
    try:
        identifier = identifiers.parse("dns", name)
    except Problem as problem:
        raise ValueError(problem.detail) from problem
    if identifier.wildcard:
        raise ValueError(f"expected a domain name without a wildcard, not {name!r}")
    return identifier.value


def _trust_domain(name: str) -> str:
    if not name or name.startswith(identifiers.SPIFFE):
        raise ValueError(f"expected the name of a trust domain alone, such as prod.corp.example, not {name!r}")
    try:
        found = identifiers.parse_spiffe_id(f"{identifiers.SPIFFE}{name}")
    except Problem as problem:
        raise ValueError(problem.detail) from problem
    if found.path:
        raise ValueError(f"expected a trust domain without a path, not {name!r}")
    return name


def made_by_init(path: Path, info: ValidationInfo) -> Path:
    """Refuse a file that is not there, unless the caller is about to make it."""
    try:
        return existing(path, info)
    except ValueError as error:
        raise ValueError(f"{error}; `acme-ca init` makes what is missing") from error


def key_made_by_init(key: KeyBackend, info: ValidationInfo) -> KeyBackend:
    """Refuse a key whose file is not there, unless the caller is about to make it."""
    if key.file is not None:
        made_by_init(key.file, info)
    return key


def _list_of_a_root(path: Path) -> Path:
    if not _ROOT_CRL.fullmatch(path.name):
        raise ValueError(
            f"it is published under the name of its file: expected a name like root-1.crl (root-, then 1 to 27 of "
            f"a-z, 0-9 and hyphens), not {path.name!r}"
        )
    return path


Bind = Annotated[str, AfterValidator(_bind)]
Link = Annotated[str, AfterValidator(_link)]
DomainName = Annotated[str, AfterValidator(_domain_name)]
TrustDomain = Annotated[str, AfterValidator(_trust_domain)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
Folder = AnchoredPath
PemFile = Annotated[Path, AfterValidator(made_by_init)]
AnchorFile = Annotated[Path, AfterValidator(existing)]
AnchorCrl = Annotated[Path, AfterValidator(_list_of_a_root), AfterValidator(existing)]
RootCrl = Annotated[Path, AfterValidator(_list_of_a_root), AfterValidator(made_by_init)]
Key = Annotated[AnyKey, AfterValidator(key_made_by_init)]
HttpsOrigin = Annotated[str, AfterValidator(https_origin)]
HttpOrigin = Annotated[str, AfterValidator(http_origin)]
