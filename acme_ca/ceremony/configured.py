"""What the configuration names and is not there yet is made; what is there is never touched.

The root's key is in no configuration: it signs intermediates and its revocation list here, and may be kept offline.
Or it never was here: then a ceremony elsewhere makes what it signs (`plan`).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from datetime import timedelta
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
from acme_ca.secret import Secret
from acme_ca.vocabulary import KeyType

# A root stands in trust stores, images and devices that nobody visits for this one purpose, so that it has to outlive
# the hardware around it. An intermediate is sent along with every certificate: to replace one costs the clients
# nothing, so that it lives only long enough for the root's key to stay locked away between two ceremonies.
ROOT_LIFETIME = timedelta(days=20 * 365)
INTERMEDIATE_LIFETIME = timedelta(days=5 * 365)
ROOT_CRL_LIFETIME = timedelta(days=365)  # once a year somebody gets the root's key out

ROOT_KEY: KeyType = "ec-p384"
ISSUER_KEY: KeyType = "ec-p256"
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

    def __init__(self, config: Config, folder: Path, *, offline_root: bool = False) -> None:
        self._config = config
        self._offline_root = offline_root
        self._root_path = config.service.issuer.root
        self._root_key = SoftwareKey(
            path=folder / "keys" / "root.key", passphrase=Secret("file", str(folder / "keys" / "passphrase"))
        )
        self.report = Report()

    def perform(self) -> x509.Certificate | None:
        """Make everything that is missing; returns the root. Raises CeremonyError, KeyUnavailableError, OSError.

        With an offline root, that and what it signs is left out; there may be no root yet.
        """
        root = None
        if not self._offline_root:
            root = self._below_the_root(list(wanted(self._config)))
        else:
            self.report.waiting += [one for one in wanted(self._config) if not one.issuer.certificate.exists()]
            if self._root_path.exists():
                root = x509.load_pem_x509_certificate(self._root_path.read_bytes())
        if self._config.listener.admin is not None:
            self._admin_issuer(self._config.listener.admin.issuer)
        self._audit_key()
        return root

    def _below_the_root(self, issuers: list[Wanted]) -> x509.Certificate:
        root_key = None
        if not self._root_path.exists():
            if not self._root_key.path.exists():
                self._refuse_orphans(issuers)
            root_key = self._key(self._root_key, ROOT_KEY)
            self._write(self._root_path, self._make_root(root_key))
        else:
            self.report.kept.append(self._root_path)
        root = x509.load_pem_x509_certificate(self._root_path.read_bytes())
        for one in issuers:
            if one.issuer.root == self._root_path:
                root_key = self._intermediate(one, root, root_key)
            elif not one.issuer.certificate.exists():
                self.report.waiting.append(one)
        for path in dict.fromkeys(one.issuer.root_crl for one in issuers if one.issuer.root == self._root_path):
            if path is not None:
                root_key = self._root_crl(path, root, root_key)
        return root

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

    def _refuse_orphans(self, issuers: list[Wanted]) -> None:
        for one in issuers:
            if one.issuer.certificate.exists():
                raise CeremonyError(
                    f"{one.issuer.certificate} exists, but neither its root {self._root_path} nor the root's key: "
                    "restore them, or start in an empty folder; --offline-root if the root was never here"
                )

    def _intermediate(self, one: Wanted, root: x509.Certificate, root_key: PrivateKey | None) -> PrivateKey | None:
        """Make an intermediate unless it is there; returns the root's key if it had to be opened."""
        issuer = one.issuer
        if issuer.certificate.exists():
            self._keep(issuer, "restore the key, or move the certificate away and give the issuer a new name")
            return root_key
        root_key = root_key or self._key(self._root_key, None)
        key = self._key(issuer.key, ISSUER_KEY)
        now = clock.now()
        certificate = ca.make_intermediate(
            root,
            root_key,
            key.public_key(),
            common_name=one.common_name,
            permitted_dns=one.dns,
            permitted_ips=one.ips,
            not_before=now - BACKDATE,
            not_after=min(now + INTERMEDIATE_LIFETIME, root.not_valid_after_utc),
            path_length=one.path_length,
            crl_url=self._config.root_crl_url(issuer),
        )
        self._write(issuer.certificate, certificate)
        return root_key

    def _root_crl(self, path: Path, root: x509.Certificate, root_key: PrivateKey | None) -> PrivateKey | None:
        """Make the root's first revocation list, which revokes nothing, unless there is one; as `_intermediate`."""
        if path.exists():
            self.report.kept.append(path)
            return root_key
        root_key = root_key or self._key(self._root_key, None)
        now = clock.now()
        ends = min(now + ROOT_CRL_LIFETIME, root.not_valid_after_utc)
        # The time is a number that grows by itself: later lists need not know of this one.
        request = crl.CrlRequest(int(now.timestamp()), now - BACKDATE, ends, ())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_new(path, crl.to_pem(crl.make(request, root, root_key)), 0o644)
        return root_key

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


def _close_to_others(path: Path) -> None:
    """Take from others what they may not have: something else may have made the file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)
