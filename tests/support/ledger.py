"""Certificates in the ledger without an order: signed by the environment's issuer, and recorded as finalize does."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock
from acme_ca.authority import Authority
from acme_ca.identifiers import Identifier
from acme_ca.models import base
from acme_ca.models.certificate import Certificate, CertificateStatus, serial_text
from acme_ca.pki.issuer import new_serial
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import BUILTIN
from acme_ca.pki.validity import validity
from acme_ca.public_keys import spki_sha256
from acme_ca.services import revocation

KEY = ec.generate_private_key(ec.SECP256R1())


def issue(
    ca: Authority, environment: str = "test", profile: str = "server-7d", serial: int | None = None, shift: float = 0
) -> Certificate:
    """A certificate that is issued; with `shift`, the ledger has it that many seconds later than it is."""
    settings = ca.environments[environment]
    start, end = validity(BUILTIN[profile], clock.now())
    issuer = settings.issuers[0]
    leaf = LeafRequest(
        identifiers=(Identifier("dns", f"a.{environment}.localhost"),),
        uris=(),
        public_key=KEY.public_key(),
        profile=BUILTIN[profile],
        serial=serial or new_serial(),
        not_before=start,
        not_after=end,
    )
    line = Certificate(
        serial=serial_text(leaf.serial),
        environment=environment,
        account_id="a",
        order_id=base.new_id(),
        issuer_id=issuer.id,
        authority_key_id=issuer.key_id,
        profile=profile,
        policy_version="1",
        names=[str(name) for name in leaf.identifiers],
        key_sha256=spki_sha256(leaf.public_key),
        not_before=start,
        not_after=end,
        created_at=clock.now(),
        crl_shard=issuer.shard_of(leaf.serial),
        ocsp_due_at=clock.now() if issuer.ocsp_url is not None and leaf.profile.revocation == "crl" else None,
    )
    with ca.database.write() as connection:
        base.insert(connection, line)
    line.issue(issuer.issue(leaf).public_bytes(Encoding.DER))
    line.not_before, line.not_after = (moment + timedelta(seconds=shift) for moment in (start, end))
    with ca.database.write() as connection:
        base.update(connection, line)
    return line


def revoke(ca: Authority, line: Certificate, reason: int = 0, at: datetime | None = None) -> None:
    """Revoke a certificate."""
    with ca.database.write() as connection:
        held = base.get_one(connection, Certificate, line.id, lock=True)
        assert held.status == CertificateStatus.ISSUED
        revocation.record(connection, held, reason, at or clock.now(), by="test")
