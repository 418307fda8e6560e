"""New keys, wherever they live, and the passphrases of those in files."""

from __future__ import annotations

import secrets
from pathlib import Path

from acme_ca.ceremony.files import private_folder, write_new
from acme_ca.keys import AnyKey, PrivateKey, SoftwareKey
from acme_ca.secret import Secret
from acme_ca.vocabulary import KeyType


def make_key(backend: AnyKey, kind: KeyType) -> tuple[PrivateKey, list[Path | AnyKey]]:
    """Make a key, and what was made: a passphrase, where the reference is to a file that is not there, and the key.

    Raises KeyUnavailableError, KeyAway and OSError.
    """
    made: list[Path | AnyKey] = []
    if isinstance(backend, SoftwareKey):
        made += _passphrase(backend.passphrase)
        private_folder(backend.path.parent)
    key = backend.create(kind)
    return key, [*made, backend.file or backend]


def _passphrase(secret: Secret) -> list[Path]:
    path = Path(secret.name)
    if secret.source != "file" or path.exists():
        return []
    private_folder(path.parent)
    write_new(path, secrets.token_urlsafe(32).encode() + b"\n", 0o600)
    return [path]
