"""The key ceremony: what the configuration names and is not there yet is made; what is there is never touched.

The root's key is in no configuration: it signs intermediates here and nothing else ever, and may be kept offline.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_ca import clock
from acme_ca.config import AdminIssuer, Config, Issuer
from acme_ca.config.fields import is_address
from acme_ca.keys import AnyKey, PrivateKey, SoftwareKey
from acme_ca.pki import ca
from acme_ca.secret import Secret
from acme_ca.vocabulary import KeyType

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# A root stands in trust stores, images and devices that nobody visits for this one purpose, so that it has to outlive
# the hardware around it. An intermediate is sent along with every certificate: to replace one costs the clients
# nothing, so that it lives only long enough for the root's key to stay locked away between two ceremonies.
ROOT_LIFETIME = timedelta(days=20 * 365)
INTERMEDIATE_LIFETIME = timedelta(days=5 * 365)
BACKDATE = timedelta(hours=1)  # clients whose clock is behind accept the new certificates too

ROOT_KEY: KeyType = "ec-p384"
ISSUER_KEY: KeyType = "ec-p256"
AUDIT_KEY: KeyType = "ec-p256"
ORGANIZATION = "acme-ca"
OTHERS = stat.S_IRWXO | stat.S_IWGRP  # what a database must not let them do
LONGEST_NAME = 64  # characters of a common name, RFC 5280 appendix A.1 (ub-common-name)

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))


class CeremonyError(Exception):
    """Something has to be there first, or must not be there. The message says what to do."""


@dataclass(slots=True)
class Report:
    """Which files and keys were made and which were there; a key in a file is its file."""

    created: list[Path | AnyKey] = field(default_factory=list)
    kept: list[Path | AnyKey] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An intermediate that the configuration asks for, the names it may sign for, and how many CAs may be below it."""

    issuer: Issuer
    dns: tuple[str, ...]
    ips: tuple[IpNetwork, ...]
    path_length: int = 0


class Ceremony:
    """Makes keys and certificates for one configuration, under the root whose key is in `folder`/keys."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config = config
        self._host = urlsplit(config.external_url).hostname or ""
        self._root_path = config.service.issuer.root
        self._root_key = SoftwareKey(
            path=folder / "keys" / "root.key", passphrase=Secret("file", str(folder / "keys" / "passphrase"))
        )
        self.report = Report()

    def perform(self) -> x509.Certificate:
        """Make everything that is missing; returns the root. Raises CeremonyError, KeyUnavailableError, OSError."""
        wanted = list(self._intermediates())
        root_key = None
        if not self._root_path.exists():
            if not self._root_key.path.exists():
                self._refuse_orphans(wanted)
            root_key = self._key(self._root_key, ROOT_KEY)
            self._write(self._root_path, self._make_root(root_key))
        else:
            self.report.kept.append(self._root_path)
        root = x509.load_pem_x509_certificate(self._root_path.read_bytes())
        for one in wanted:
            root_key = self._intermediate(one, root, root_key)
        if self._config.listener.admin is not None:
            self._admin_issuer(self._config.listener.admin.issuer)
        self._audit_key()
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

    def _intermediates(self) -> Iterator[Wanted]:
        """Yield what the configuration asks for: constraints follow the zones and the policy's networks."""
        yield Wanted(self._config.service.issuer, *self._own_names())
        for environment in self._config.environment.values():
            networks = tuple(network for rule in environment.policy if not rule.deny for network in rule.ip)
            for issuer in environment.issuer:
                yield Wanted(issuer, environment.zones, networks)
            if (sub_ca := environment.sub_ca) is not None:
                networks = tuple(dict.fromkeys(network for rule in sub_ca.rule for network in rule.ip))
                yield Wanted(sub_ca, environment.zones, networks, sub_ca.path_length)

    def _own_names(self) -> tuple[tuple[str, ...], tuple[IpNetwork, ...]]:
        if is_address(self._host):
            return (), (ipaddress.ip_network(self._host),)
        is_here = self._host == "localhost" or self._host.endswith(".localhost")
        return (self._host,), LOOPBACK if is_here else ()

    def _refuse_orphans(self, wanted: list[Wanted]) -> None:
        for one in wanted:
            if one.issuer.certificate.exists():
                raise CeremonyError(
                    f"{one.issuer.certificate} exists, but neither its root {self._root_path} nor the root's key: "
                    "restore them, or start in an empty folder"
                )

    def _intermediate(self, wanted: Wanted, root: x509.Certificate, root_key: PrivateKey | None) -> PrivateKey | None:
        """Make an intermediate unless it is there; returns the root's key if it had to be opened."""
        issuer = wanted.issuer
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
            common_name=self._common_name(issuer.name),
            permitted_dns=wanted.dns,
            permitted_ips=wanted.ips,
            not_before=now - BACKDATE,
            not_after=min(now + INTERMEDIATE_LIFETIME, root.not_valid_after_utc),
            issuer_url=None,
            path_length=wanted.path_length,
        )
        self._write(issuer.certificate, certificate)
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
            common_name=self._common_name(role),
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

    def _common_name(self, role: str) -> str:
        """Name the CA by its host, so that one sees in a trust store whose root it is."""
        return f"{self._host[: LONGEST_NAME - len(role) - 1]} {role}"

    def _key(self, backend: AnyKey, kind: KeyType | None) -> PrivateKey:
        """Open a key; make one of `kind` if there is none."""
        if backend.exists():
            self.report.kept.append(backend.file or backend)
            return backend.open()
        if kind is None:
            raise CeremonyError(f"{backend} is needed to sign a new intermediate: bring it back for this one command")
        if isinstance(backend, SoftwareKey):
            self._passphrase(backend.passphrase)
            private_folder(backend.path.parent)
        key = backend.create(kind)
        self.report.created.append(backend.file or backend)
        return key

    def _passphrase(self, secret: Secret) -> None:
        """Make up a passphrase where the reference is to a file that does not exist."""
        path = Path(secret.name)
        if secret.source != "file" or path.exists():
            return
        private_folder(path.parent)
        self._write_new(path, secrets.token_urlsafe(32).encode() + b"\n", 0o600)

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_new(path, certificate.public_bytes(Encoding.PEM), 0o644)

    def _write_new(self, path: Path, content: bytes, mode: int) -> None:
        write_new(path, content, mode)
        self.report.created.append(path)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist yet, and let it reach the disk; raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _close_to_others(path: Path) -> None:
    """Take from others what they may not have: something else may have made the file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)


def private_folder(path: Path) -> None:
    """Make a folder that nobody else can look into, unless it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
