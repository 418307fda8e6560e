"""Renewal information. RFC 9773 §4.2."""

from acme_ca import clock
from acme_ca.authority import Authority, Environment
from acme_ca.models.certificate import by_serial
from acme_ca.models.replacement import running
from acme_ca.pki import ari
from acme_ca.problems import NotFound


def window(ca: Authority, environment: Environment, certificate_identifier: str) -> ari.Window:
    """Return when a certificate is to be renewed: at once when it is revoked. Raises Malformed, NotFound.

    One that is part of a mass replacement, and has no successor yet, has its moment in that.
    """
    wanted = ari.parse(certificate_identifier)
    with ca.database.read() as connection:
        line = by_serial(connection, environment.name, wanted.serial)
        ongoing = running(connection, environment.name)
    if line is None or line.authority_key_id != wanted.authority_key_id or line.der is None:
        raise NotFound(f"environment {environment.name} issued no certificate {certificate_identifier[:100]}")
    if line.revoked_at is not None:
        return ari.window_now(line.not_before, line.not_after)
    usual = ari.window(line.not_before, line.not_after, wanted.serial)
    concerned = [one for one in ongoing if one.includes(line)] if line.replaced_by is None else []
    if not concerned:
        return usual
    first = min(concerned, key=lambda one: one.moment(line))
    return ari.window_at(usual, first.moment(line), clock.now(), first.explanation_url)
