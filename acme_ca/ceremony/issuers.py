"""Issuers whose certificates are signed elsewhere: the request for one, and the certificate put in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock
from acme_ca.ceremony.configured import ORGANIZATION
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.ceremony.files import put
from acme_ca.ceremony.new_keys import make_key
from acme_ca.ceremony.wanted import Wanted, wanted
from acme_ca.config import Config
from acme_ca.keys import AnyKey, KeyAway, KeyUnavailableError, PrivateKey
from acme_ca.pki import authority_check, csr
from acme_ca.pki.authority_check import Asked
from acme_ca.pki.ca import lists_of, name_of
from acme_ca.pki.constraints import Subtrees
from acme_ca.public_keys import PublicKey
from acme_ca.root_files import load_root_crl
from acme_ca.services import anchors
from acme_ca.vocabulary import KeyType


@dataclass(slots=True)
class Request:
    """A request for an issuer's certificate, and what was made for it."""

    issuer: Wanted
    csr: x509.CertificateSigningRequest
    key: PublicKey
    made: list[Path | AnyKey] = field(default_factory=list)

    @property
    def pem(self) -> str:
        """PEM. RFC 7468 §7."""
        return self.csr.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True, slots=True)
class Import:
    """A certificate that fits an issuer. `wider` says what it may do beyond what was asked for."""

    issuer: Wanted
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    wider: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> dict[Path, bytes]:
        """What is to be written: what a chain needs before what needs the chain."""
        settings = self.issuer.issuer
        above = dict(zip(settings.chain, map(_pem, self.chain), strict=True))
        return above | {settings.certificate: _pem(self.certificate)}


def find(config: Config, name: str) -> Wanted:
    """Return the issuer of the name PLACE/ISSUER; raises CeremonyError."""
    return _by_name(wanted(config), name)


def request(issuer: Wanted, create: KeyType | None) -> Request:
    """Return a request signed by an issuer's key; with `create` the key is made first, and must not be there.

    Raises CeremonyError, KeyUnavailableError, KeyAway and OSError.
    """
    backend, made = issuer.issuer.key, list[Path | AnyKey]()
    if create is not None and create not in issuer.kinds:
        raise CeremonyError(f"{create} is no kind of key for {issuer}; expected {', '.join(issuer.kinds)}")
    if backend.exists():
        if create is not None:
            raise CeremonyError(f"{backend} exists already: leave --create out to ask for a certificate for it")
        key = backend.open()
    elif create is None:
        raise CeremonyError(f"{backend} does not exist: --create KIND makes it")
    else:
        key, made = make_key(backend, create)
    if isinstance(key.public_key(), Ed25519PublicKey):
        raise CeremonyError(
            f"{backend} is Ed25519, which verifiers take in leafs only; expected {', '.join(issuer.kinds)}"
        )
    name = name_of(issuer.common_name, [ORGANIZATION])
    return Request(issuer, csr.make_for_authority(key, name, issuer.dns, issuer.ips), key.public_key(), made)


def check(
    config: Config,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    name: str | None,
    prepared: Sequence[Wanted] = (),
) -> Import:
    """Return the import of a certificate for the issuer of that name, else for the one that has its key.

    `prepared` are next generations that wait for theirs. Raises CeremonyError, which says everything that is wrong
    with it, KeyUnavailableError, KeyAway and OSError.
    """
    known = (*wanted(config), *prepared)
    issuer, key = _with_key(known, certificate) if name is None else _named(_by_name(known, name))
    settings = issuer.issuer
    root = _load(settings.root) if settings.root.exists() else None
    above = tuple(one for one in chain if one != root) or tuple(_load(path) for path in settings.chain if path.exists())
    if root is None:
        raise CeremonyError(f"there is no root {settings.root}: put the one that you decided to trust there first")
    if len(above) != len(settings.chain):
        raise CeremonyError(
            f"{len(above)} certificates between it and the root, and the configuration names {len(settings.chain)} "
            f"files for them (`chain` of issuer {issuer}): make them the same number"
        )
    path = (certificate, *above, root)
    asked = Asked(key.public_key(), Subtrees(issuer.dns, issuer.ips), issuer.usages, issuer.longest)
    found = authority_check.misfits(path, asked, clock.now())
    found += [*_of_the_names_past(issuer, certificate), *_of_the_roots_list(issuer, certificate)]
    if found:
        raise CeremonyError(f"the certificate does not fit issuer {issuer}:\n" + "\n".join(f"  {one}" for one in found))
    wider = tuple(authority_check.excesses(certificate, asked))
    return Import(issuer, certificate, above, wider, tuple(_notes(config, issuer, certificate)))


def place(found: Import, *, replace: bool) -> list[Path]:
    """Put the certificate where the configuration looks for it, and what is between it and the root; return the files.

    Raises CeremonyError when something else is there already and is not to be replaced.
    """
    new = {path: pem for path, pem in found.files.items() if not path.exists() or path.read_bytes() != pem}
    taken = [str(path) for path in new if path.exists()]
    if taken and not replace:
        raise CeremonyError(f"{', '.join(taken)}: another certificate is there already; --replace takes its place")
    try:
        for path, pem in new.items():
            put(path, pem, replace=replace)
    except FileExistsError as error:
        raise CeremonyError(f"{error.filename}: another certificate came in between; look at it first") from error
    return list(new)


def read_certificates(paths: Iterable[Path]) -> list[x509.Certificate]:
    """Return the certificates of files in PEM, one or several, or DER; raises CeremonyError."""
    found: list[x509.Certificate] = []
    for path in paths:
        try:
            data = path.read_bytes()
            is_pem = b"-----BEGIN" in data
            found += x509.load_pem_x509_certificates(data) if is_pem else [x509.load_der_x509_certificate(data)]
        except OSError as error:
            raise CeremonyError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise CeremonyError(f"{path}: no certificate in PEM or DER: {error}") from error
    return found


def _by_name(issuers: Iterable[Wanted], name: str) -> Wanted:
    known = {str(one): one for one in issuers}
    if name not in known:
        raise CeremonyError(f"there is no issuer {name!r}; there are {', '.join(known)}")
    return known[name]


def _with_key(issuers: Iterable[Wanted], certificate: x509.Certificate) -> tuple[Wanted, PrivateKey]:
    closed = []
    for issuer in issuers:
        try:
            _, key = _named(issuer)
        except (KeyUnavailableError, KeyAway) as error:
            closed.append(f"  {issuer}: {error}")
            continue
        if key.public_key() == certificate.public_key():
            return issuer, key
    subject = certificate.subject.rfc4514_string()
    unread = "\nKeys that could not be looked at:\n" + "\n".join(closed) if closed else ""
    raise CeremonyError(f"no configured issuer has the key of {subject}: was it made from another CSR?{unread}")


def _named(issuer: Wanted) -> tuple[Wanted, PrivateKey]:
    return issuer, issuer.issuer.key.open()


def _of_the_names_past(issuer: Wanted, certificate: x509.Certificate) -> list[str]:
    """Refuse to give an issuer's name to another key: the ledger knows by it who signed what."""
    path = issuer.issuer.certificate
    if not path.exists() or _load(path).public_key() == certificate.public_key():
        return []
    return [f"{path} is for another key: give the new issuer a name of its own, and files of its own"]


def _of_the_roots_list(issuer: Wanted, certificate: x509.Certificate) -> list[str]:
    settings = issuer.issuer
    if settings.root_crl is None or not settings.root_crl.exists() or settings.chain:
        return []
    try:
        crl = load_root_crl(settings.root_crl, settings.root)
    except ValueError as error:
        return [str(error)]
    is_listed = crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    return [f"it is revoked: {settings.root_crl} lists it"] if is_listed else []


def _notes(config: Config, issuer: Wanted, certificate: x509.Certificate) -> Iterator[str]:
    """Say where relying parties would look for the root's list in vain, and whether they may not know the root."""
    here = config.root_crl_url(issuer.issuer)
    named = set(lists_of(certificate))
    if here is not None and here not in named and not issuer.issuer.chain:
        yield f"it does not name {here}, where the root's revocation list is published"
    if here is None and named:
        yield f"it names the revocation list {', '.join(sorted(named))}, which is not published here (root_crl)"
    if issuer.place in config.environment:
        for found in anchors.look(config, issuer.place, [issuer.issuer], clock.now()):
            yield f"{found}: relying parties may not have it yet; see `anchors` in docs/how-to/root-roll.md"


def _load(path: Path) -> x509.Certificate:
    return read_certificates([path])[0]


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
