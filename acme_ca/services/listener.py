"""The HTTPS listener's own certificate: issued by the service issuer, renewed in place, one PEM file.

The file holds the key and the chain, so that replacing it replaces both at once. Listeners notice by themselves.
"""

from __future__ import annotations

import ipaddress
from contextlib import closing
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from acme_ca import clock
from acme_ca.config import Config
from acme_ca.db import Database
from acme_ca.identifiers import Identifier
from acme_ca.issuers import load_issuer
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import Profile
from acme_ca.pki.signing import new_serial
from acme_ca.pki.validity import validity
from acme_ca.problems import ServiceUnavailable
from acme_ca.services import audit, private_files

# A day: half of it is left when renewal is first tried, which is time for operators to find out why it fails.
PROFILE = Profile(
    description="the CA's own HTTPS listener",
    lifetime=24 * 3600,
    backdate=300,
    extended_key_usages=("serverAuth",),
    revocation="none",
)

log = structlog.get_logger(__name__)


def service_issuer(config: Config) -> Issuer:
    """Open what signs it; raises as `load_issuer` does."""
    settings = config.service.issuer
    return load_issuer(config, settings, f"{config.listener.status.url}/issuers/{settings.name}.crt")


def certificate_path(config: Config) -> Path:
    """Return where the listener's key and chain are."""
    return config.state / "tls" / "listener.pem"


def ensure(config: Config) -> Path:
    """Issue the listener's certificate unless a good one with half its life ahead is there; return its path.

    It is put in place once the audit trail has it. While the database is away, one that still is good stays in use.
    Raises ServiceUnavailable for that, and when the service issuer is too near its end; and what opening its key and
    the database raises.
    """
    path = certificate_path(config)
    issuer_certificate = x509.load_pem_x509_certificate(config.service.issuer.certificate.read_bytes())
    names = names_of(config.external_url)
    reason = _why_renew(path, issuer_certificate, names, clock.now())
    if reason is not None:
        issuer = service_issuer(config)
        leaf, pem = _issue(issuer, names)
        _record(config, issuer, leaf, [name.value for name in names], reason)
        private_files.replace(path, pem)
    return path


def check(config: Config) -> str | None:
    """Say what is wrong with the certificate, or None when it is good; a host without the listener has none."""
    path = certificate_path(config)
    if not path.exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}"
    if clock.now() >= certificate.not_valid_after_utc:
        return f"the listener's certificate expired at {clock.rfc3339(certificate.not_valid_after_utc)}"
    return None


def _record(config: Config, issuer: Issuer, leaf: x509.Certificate, names: list[str], reason: str) -> None:
    """Add the event; without a database only if there is nothing else to be served with."""
    serial = f"{leaf.serial_number:034x}"
    try:
        with closing(Database(config.database.url, config.database.reveal_password())) as database:
            database.require_current()
            with database.write(durable=True) as connection:
                audit.record(
                    connection,
                    audit.EVERYWHERE,
                    "listener.certified",
                    serial,
                    names=names,
                    issuer=issuer.id,
                    issuer_key=issuer.key_id.hex(),
                    tbs_sha256=sha256(leaf.tbs_certificate_bytes).hexdigest(),
                    not_after=clock.rfc3339(leaf.not_valid_after_utc),
                    reason=reason,
                )
    except ServiceUnavailable:
        if certificate_path(config).exists() and check(config) is None:
            raise
        log.warning("listener.certificate_not_audited", serial=serial, names=names, issuer=issuer.id)
    log.info("listener.certificate_issued", serial=serial, names=names, reason=reason)


def names_of(external_url: str) -> tuple[Identifier, ...]:
    """Return the host's name; loopback addresses as well where the host is this one (RFC 6761 §6.3)."""
    host = urlsplit(external_url).hostname or ""
    try:
        return (Identifier("ip", str(ipaddress.ip_address(host))),)
    except ValueError:
        name = Identifier("dns", host)
    if host == "localhost" or host.endswith(".localhost"):
        return (name, Identifier("ip", "127.0.0.1"), Identifier("ip", "::1"))
    return (name,)


def _why_renew(path: Path, issuer: x509.Certificate, names: tuple[Identifier, ...], now: datetime) -> str | None:
    try:
        pem = path.read_bytes()
        key, certificate = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    except FileNotFoundError:
        return "there was none"
    except (OSError, ValueError, TypeError) as error:
        return f"the old one cannot be read: {error}"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    reasons = {
        "the old one has another key": key.public_key() != certificate.public_key(),
        "the service issuer is another": _key_id(certificate) != _key_id(issuer),
        "the external URL has another host": _names_of(certificate) != {name.value for name in names},
        "half its life was over": now >= begin + (end - begin) / 2,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _key_id(certificate: x509.Certificate) -> bytes | None:
    """Return the key id of an issuer; of a leaf, that of the key that signed it."""
    extensions = certificate.extensions
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def _names_of(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def _issue(issuer: Issuer, names: tuple[Identifier, ...]) -> tuple[x509.Certificate, bytes]:
    now = clock.now()
    if not issuer.can_sign(now, timedelta(seconds=PROFILE.lifetime)):
        expires = clock.rfc3339(issuer.certificate.not_valid_after_utc)
        raise ServiceUnavailable(
            f"the service issuer {issuer.id} ends at {expires}, too early to sign for the listener"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    not_before, not_after = validity(PROFILE, now)
    leaf = issuer.issue(
        LeafRequest(
            identifiers=names,
            uris=(),
            public_key=key.public_key(),
            profile=PROFILE,
            serial=new_serial(),
            not_before=not_before,
            not_after=not_after,
        )
    )
    own_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain: str = issuer.pem_chain(leaf.public_bytes(Encoding.DER))
    return leaf, own_key + chain.encode()
