"""Revocation lists: signed if they are an issuer's own, and good for as long as is configured. RFC 5280 §5."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.issuer import Issuer
from acme_ca.signer.refusal import Refused, require

SLACK = timedelta(minutes=5)  # for clocks of other hosts, and for making it
OLDEST = timedelta(minutes=15)  # of thisUpdate, which is backdated
ALWAYS = {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER}
SOMETIMES = {ExtensionOID.ISSUING_DISTRIBUTION_POINT}


@dataclass(frozen=True)
class Lists:
    """The revocation lists of an issuer. Which certificates are in one is read from the database by who makes it."""

    issuer: Issuer
    lifetime: timedelta

    def check(self, found: x509.CertificateRevocationList, now: datetime) -> None:
        """Raise Refused unless it is a list of this issuer that may be published now."""
        certificate = self.issuer.certificate
        require(found.issuer == certificate.subject, "the issuer of the list is not the issuer's subject")
        begin, end = found.last_update_utc, found.next_update_utc
        require(now - OLDEST <= begin <= now + SLACK, f"thisUpdate is {begin}, expected about {now}")
        latest = min(now + self.lifetime + SLACK, certificate.not_valid_after_utc)
        if end is None or not now < end <= latest:
            raise Refused(f"nextUpdate is {end}, expected until {latest} at most")
        present = {extension.oid for extension in found.extensions}
        strange = ", ".join(sorted(oid.dotted_string for oid in present ^ ALWAYS if oid not in SOMETIMES))
        require(not strange, f"extensions that are missing, or that no list has: {strange}")
        authority = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        require(authority == key_identifier_of(certificate), "the authority key identifier is not the issuer's")
        for extension in found.extensions:
            if isinstance(extension.value, x509.IssuingDistributionPoint):
                require(extension.critical, "the issuing distribution point is not critical")
                _check_point(extension.value)


def _check_point(found: x509.IssuingDistributionPoint) -> None:
    """Refuse a list for others, of some reasons, or of one kind of certificate: shards are told apart by URL alone."""
    limits = (
        found.only_contains_user_certs,
        found.only_contains_ca_certs,
        found.indirect_crl,
        found.only_contains_attribute_certs,
        found.only_some_reasons is not None,
        found.relative_name is not None,
    )
    names = found.full_name or []
    is_plain = bool(names) and all(isinstance(name, x509.UniformResourceIdentifier) for name in names)
    require(not any(limits) and is_plain, "the issuing distribution point is more than URLs of a shard")
