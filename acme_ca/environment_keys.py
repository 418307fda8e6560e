"""What is kept of each environment: the key of its nonces, and how long its certificates may ever have lived."""

from __future__ import annotations

import secrets

from acme_ca import clock
from acme_ca import config as configuration
from acme_ca.db import AlreadyThereError, Database
from acme_ca.models import base
from acme_ca.models.environment import EnvironmentKey, raise_longest
from acme_ca.pki.profile import BUILTIN

NONCE_KEY_SIZE = 32  # bytes


def nonce_keys(database: Database, environments: tuple[str, ...]) -> dict[str, bytes]:
    """Return each environment's nonce key, made by whichever process needs it first."""
    found = _stored_nonce_keys(database)
    for name in environments:
        if name not in found:
            try:
                with database.write(durable=True) as connection:
                    base.insert(
                        connection,
                        EnvironmentKey(
                            environment=name, nonce_key=secrets.token_bytes(NONCE_KEY_SIZE), created_at=clock.now()
                        ),
                    )
            except AlreadyThereError:
                pass  # another process was first: its key counts
    return _stored_nonce_keys(database)


def keep_longest(database: Database, config: configuration.Config) -> None:
    """Remember how long certificates may live from now on, before the first of them is issued."""
    profiles = {**BUILTIN, **config.profile}
    with database.read() as connection:
        known = {
            key.environment: key.longest for key in base.find(connection, EnvironmentKey, base.select(EnvironmentKey))
        }
    for name, settings in config.environment.items():
        longest = max(profiles[profile].lifetime for profile in settings.profiles)
        if settings.sub_ca is not None:
            longest = max(longest, settings.sub_ca.max_lifetime)
        if known[name] < longest:
            with database.write(durable=True) as connection:
                raise_longest(connection, name, longest)


def _stored_nonce_keys(database: Database) -> dict[str, bytes]:
    with database.read() as connection:
        keys = base.find(connection, EnvironmentKey, base.select(EnvironmentKey))
    return {key.environment: key.nonce_key for key in keys}
