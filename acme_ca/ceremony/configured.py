"""What the configuration names and is not there yet is made; what is there is never touched.

A root's key is in no configuration: it signs intermediates and its revocation list here, and may be kept offline.
Or it never was here: then a ceremony elsewhere makes what it signs (`plan`).

There may be several roots: that of the CA's own listeners, and others of environments. A chain of ML-DSA is never above
the listeners' certificates, because TLS in most clients, and in this Python as a rule, could not read it.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_ca import clock
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.ceremony.files import private_folder, write_new
from acme_ca.ceremony.new_keys import make_key
from acme_ca.ceremony.plan import BACKDATE
from acme_ca.ceremony.wanted import Wanted, common_name, wanted
from acme_ca.config import AdminIssuer, Config, Issuer
from acme_ca.keys import AnyKey, PrivateKey, SoftwareKey
from acme_ca.pki import ca, crl
from acme_ca.public_keys import PublicKey
from acme_ca.secret import Secret
from acme_ca.vocabulary import LISTENER_KEY_TYPES, AuthorityKeyType, KeyType

# A root stands in trust stores, images and devices that nobody visits for this one purpose, so that it has to outlive
# the hardware around it. An intermediate is sent along with every certificate: to replace one costs the clients
# nothing, so that it lives only long enough for the root's key to stay locked away between two ceremonies.
ROOT_LIFETIME = timedelta(days=20 * 365)
INTERMEDIATE_LIFETIME = timedelta(days=5 * 365)
ROOT_CRL_LIFETIME = timedelta(days=365)  # once a year somebody gets the root's key out

ROOT_KEY: AuthorityKeyType = "ec-p384"
ISSUER_KEY: AuthorityKeyType = "ec-p256"
AUDIT_KEY: KeyType = "ec-p256"
ORGANIZATION = "acme-ca"
OTHERS = stat.S_IRWXO | stat.S_IWGRP  # what a database must not let them do


@dataclass(slots=True)
class Report:
    """Which files and keys were made and which were there; a key in a file is its file."""

    created: list[Path | AnyKey] = field(default_factory=list)
    kept: list[Path | AnyKey] = field(default_factory=list)
    waiting: list[Wanted] = field(default_factory=list)
    """Issuers whose certificates a root signs that is not here."""


class Ceremony:
    """Makes keys and certificates for one configuration, under the root whose key is in `folder`/keys."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        *,
        offline_root: bool = False,
        root_kind: AuthorityKeyType | None = None,
        issuer_kind: AuthorityKeyType = ISSUER_KEY,
    ) -> None:
        """Take the kinds of key that environments get; without `root_kind`, no root but the service's is made."""
        self._config = config
        self._keys = folder / "keys"
        self._offline_root = offline_root
        self._root_path = config.service.issuer.root
        self._root_kind = root_kind
        self._issuer_kind = issuer_kind
        self.report = Report()

    def perform(self) -> x509.Certificate | None:
        """Make everything that is missing; returns the root. Raises CeremonyError, KeyUnavailableError, OSError.

        With an offline root, that and what it signs is left out; there may be no root yet.
        """
        root = None
        if not self._offline_root:
            issuers = list(wanted(self._config))
            for path in dict.fromkeys(one.issuer.root for one in issuers):
                self._below_a_root(path, [one for one in issuers if one.issuer.root == path])
        else:
            self.report.waiting += [one for one in wanted(self._config) if not one.issuer.certificate.exists()]
        if self._root_path.exists():
            root = x509.load_pem_x509_certificate(self._root_path.read_bytes())
        if self._config.listener.admin is not None:
            self._admin_issuer(self._config.listener.admin.issuer)
        self._audit_key()
        return root

    def _below_a_root(self, path: Path, issuers: list[Wanted]) -> None:
        """Make a root and what it signs. Any but the service's may be elsewhere: then what it signs is waited for."""
        backend = self._root_key(path)
        open_key = cache(lambda: self._key(backend, None))
        is_here = path == self._root_path or backend.path.exists()
        if not is_here and (path.exists() or self._root_kind is None):
            self.report.waiting += [one for one in issuers if not one.issuer.certificate.exists()]
            return
        if not path.exists():
            if not backend.path.exists():
                self._refuse_orphans(path, issuers)
            key = self._key(backend, self._kind_of_root(path))
            open_key = cache(lambda: key)
            self._write(path, self._make_root(key, "root" if path == self._root_path else path.stem))
        else:
            self.report.kept.append(path)
        root = x509.load_pem_x509_certificate(path.read_bytes())
        for one in issuers:
            self._intermediate(one, root, open_key)
        for list_path in dict.fromkeys(one.issuer.root_crl for one in issuers):
            if list_path is not None:
                self._root_crl(list_path, root, open_key)

    def _root_key(self, path: Path) -> SoftwareKey:
        """Return where the key of a root is."""
        return root_key_in(self._config, self._keys, path)

    def _kind_of_root(self, path: Path) -> KeyType:
        kind = self._root_kind or ROOT_KEY
        return ROOT_KEY if path == self._root_path and kind not in LISTENER_KEY_TYPES else kind

    def prepare_storage(self) -> None:
        """Make the folder for run-time files and SQLite's file, both closed to others: they hold keys and secrets."""
        private_folder(self._config.state)
        scheme, _, name = self._config.database.url.partition(":///")
        if scheme == "sqlite":
            path = Path(name)
            if path.exists():
                _close_to_others(path)
                self.report.kept.append(path)
            else:  # an empty file is an empty database; SQLite gives its other files the mode of this one
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write_new(path, b"", 0o600)

    def _refuse_orphans(self, root: Path, issuers: list[Wanted]) -> None:
        for one in issuers:
            if one.issuer.certificate.exists():
                raise CeremonyError(
                    f"{one.issuer.certificate} exists, but neither its root {root} nor the root's key: "
                    "restore them, or start in an empty folder; --offline-root if the root was never here"
                )

    def _intermediate(self, one: Wanted, root: x509.Certificate, root_key: Callable[[], PrivateKey]) -> None:
        """Make an intermediate unless it is there."""
        issuer = one.issuer
        if issuer.certificate.exists():
            self._keep(issuer, "restore the key, or move the certificate away and give the issuer a new name")
            return
        root_key()  # before a key is made for nothing
        key = self._key(issuer.key, self._issuer_kind if self._issuer_kind in one.kinds else ISSUER_KEY)
        certificate = intermediate(self._config, one, (root, root_key()), key.public_key(), INTERMEDIATE_LIFETIME)
        self._write(issuer.certificate, certificate)

    def _root_crl(self, path: Path, root: x509.Certificate, root_key: Callable[[], PrivateKey]) -> None:
        """Make the root's first revocation list, which revokes nothing, unless there is one."""
        if path.exists():
            self.report.kept.append(path)
            return
        key = root_key()
        now = clock.now()
        ends = min(now + ROOT_CRL_LIFETIME, root.not_valid_after_utc)
        # The time is a number that grows by itself: later lists need not know of this one.
        request = crl.CrlRequest(int(now.timestamp()), now - BACKDATE, ends, ())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_new(path, crl.to_pem(crl.make(request, root, key)), 0o644)

    def _admin_issuer(self, issuer: AdminIssuer) -> None:
        """Make who signs the certificates of operators: a root of its own, which no other certificate chains to."""
        if issuer.certificate.exists():
            self._keep(issuer, "restore it")
            return
        self._write(issuer.certificate, self._make_root(self._key(issuer.key, ISSUER_KEY), "admin"))

    def _keep(self, issuer: Issuer | AdminIssuer, advice: str) -> None:
        if not issuer.key.exists():
            raise CeremonyError(f"{issuer.certificate} exists, but its key does not ({issuer.key}): {advice}")
        self.report.kept += [issuer.key.file or issuer.key, issuer.certificate]

    def _make_root(self, key: PrivateKey, role: str = "root") -> x509.Certificate:
        now = clock.now()
        return ca.make_root(
            key,
            common_name=common_name(self._config, role),
            organization=ORGANIZATION,
            not_before=now - BACKDATE,
            not_after=now + ROOT_LIFETIME,
        )

    def _audit_key(self) -> None:
        """Make the key that signs checkpoints of the audit trail, and the file of its public key for verifiers."""
        backend = self._config.audit.key
        if backend is None:
            return
        key, path = self._key(backend, AUDIT_KEY), self._config.audit_public_key
        if path.exists():
            self.report.kept.append(path)
        else:
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self._write_new(path, pem, 0o644)

    def _key(self, backend: AnyKey, kind: KeyType | None) -> PrivateKey:
        """Open a key; make one of `kind` if there is none."""
        if backend.exists():
            self.report.kept.append(backend.file or backend)
            return backend.open()
        if kind is None:
            raise CeremonyError(
                f"{backend} is needed to sign what is missing: bring it back for this one command; "
                "if the root was never here, use --offline-root"
            )
        key, made = make_key(backend, kind)
        self.report.created += made
        return key

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_new(path, certificate.public_bytes(Encoding.PEM), 0o644)

    def _write_new(self, path: Path, content: bytes, mode: int) -> None:
        write_new(path, content, mode)
        self.report.created.append(path)


def intermediate(
    config: Config,
    one: Wanted,
    root: tuple[x509.Certificate, PrivateKey],
    public_key: PublicKey,
    lifetime: timedelta,
) -> x509.Certificate:
    """Return the certificate of an issuer by a root and its key, which lives no longer than the root."""
    certificate, root_key = root
    now = clock.now()
    return ca.make_intermediate(
        certificate,
        root_key,
        public_key,
        common_name=one.common_name,
        permitted_dns=one.dns,
        permitted_ips=one.ips,
        not_before=now - BACKDATE,
        not_after=min(now + lifetime, certificate.not_valid_after_utc),
        path_length=one.path_length,
        crl_url=config.root_crl_url(one.issuer),
    )


def root_key_in(config: Config, keys: Path, root: Path) -> SoftwareKey:
    """Return where `acme-ca init` keeps the key of a root, if it is there; `keys` is the folder of keys."""
    name = "root" if root == config.service.issuer.root else root.stem
    return SoftwareKey(path=keys / f"{name}.key", passphrase=Secret("file", str(keys / "passphrase")))


def _close_to_others(path: Path) -> None:
    """Take from others what they may not have: something else may have made the file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)
