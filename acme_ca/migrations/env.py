"""Alembic's entry: runs the revisions on the connection that `acme_ca.db` opened."""

from alembic import context

from acme_ca.models import (
    account,
    audit_event,
    authorization,
    binding,
    certificate,
    certificate_term,
    environment,
    external_key,
    order,
    owner,
    pause,
    replacement,
    revocation,
    version,
)
from acme_ca.models.base import METADATA

TABLES = (
    account,
    audit_event,
    authorization,
    binding,
    certificate,
    certificate_term,
    environment,
    external_key,
    order,
    owner,
    pause,
    replacement,
    revocation,
    version,
)  # imported to be registered

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
