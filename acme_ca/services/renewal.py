"""Renewal information. RFC 9773 §4.2."""

from acme_ca.authority import Authority, Environment
from acme_ca.models.certificate import by_serial
from acme_ca.pki import ari
from acme_ca.problems import NotFound


def window(ca: Authority, environment: Environment, certificate_identifier: str) -> ari.Window:
    """Return when a certificate is to be renewed: at once when it is revoked. Raises Malformed, NotFound."""
    wanted = ari.parse(certificate_identifier)
    with ca.database.read() as connection:
        line = by_serial(connection, environment.name, wanted.serial)
    if line is None or line.authority_key_id != wanted.authority_key_id or line.der is None:
        raise NotFound(f"environment {environment.name} issued no certificate {certificate_identifier[:100]}")
    if line.revoked_at is not None:
        return ari.window_now(line.not_before, line.not_after)
    return ari.window(line.not_before, line.not_after, wanted.serial)
