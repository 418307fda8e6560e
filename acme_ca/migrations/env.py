"""Alembic's entry: runs the revisions on the connection that `acme_ca.db` opened."""

from alembic import context

from acme_ca.models import (
    account,
    admin,
    applied_policy,
    audit_chain,
    audit_event,
    audit_sink,
    authorization,
    binding,
    certificate,
    certificate_term,
    crl,
    environment,
    external_key,
    generation,
    ocsp_response,
    order,
    owner,
    pause,
    rate_limit,
    refusal,
    replacement,
    revocation,
    shadow_finding,
    version,
)
from acme_ca.models.base import METADATA

TABLES = (
    account,
    admin,
    applied_policy,
    audit_chain,
    audit_event,
    audit_sink,
    authorization,
    binding,
    certificate,
    crl,
    certificate_term,
    environment,
    external_key,
    generation,
    ocsp_response,
    order,
    owner,
    shadow_finding,
    refusal,
    pause,
    rate_limit,
    replacement,
    revocation,
    version,
)  # imported to be registered

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
