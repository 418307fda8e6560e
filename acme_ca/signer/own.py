"""Certificates of the CA itself, which are in no ledger: of its listener, its OCSP responders and its operators.

Each is good for one thing only, and that thing is held against the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, ObjectIdentifier

from acme_ca import public_keys
from acme_ca.pki import admin_leaf, ocsp
from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.issuer import Issuer
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import Profile
from acme_ca.services import listener
from acme_ca.signer import claims
from acme_ca.signer.leafs import check_content
from acme_ca.signer.refusal import require
from acme_ca.vocabulary import MLDSA_KEY_TYPES

BACKDATE = timedelta(minutes=5)
SLACK = timedelta(minutes=1)  # for clocks, and for the time that a request takes
FOR_ONE_USE = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}
CRITICAL = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}


@dataclass(frozen=True)
class ListenerCertificates:
    """The certificate of the HTTPS listeners: for the host of `external_url` alone."""

    external_url: str
    issuer: Issuer
    profile: Profile = listener.PROFILE

    def check(self, found: x509.Certificate, now: datetime) -> None:
        """Raise Refused, or LintError, unless it is one."""
        request = LeafRequest(
            identifiers=listener.names_of(self.external_url),
            uris=(),
            public_key=claims.public_key(found, ("ec-p256",)),
            profile=self.profile,
            serial=found.serial_number,
            not_before=found.not_valid_before_utc,
            not_after=found.not_valid_after_utc,
        )
        check_content(found, request, self.issuer, now, crl_url=None, ocsp_url=None)


@dataclass(frozen=True)
class Responders:
    """The certificates of an issuer's OCSP responders. RFC 6960 §4.2.2.2."""

    issuer: Issuer
    lifetime: timedelta

    def check(self, found: x509.Certificate, now: datetime) -> None:
        """Raise Refused unless it is one, which can sign responses and nothing else."""
        require(self.issuer.ocsp_url is not None, f"issuer {self.issuer.id} has no OCSP responder: see `ocsp`")
        claims.public_key(found, ("ec-p256", *MLDSA_KEY_TYPES))
        require(_common_name(found) == ocsp.responder_name(self.issuer.id), "the subject is no responder's")
        _check_use(found, self.issuer.certificate, ExtendedKeyUsageOID.OCSP_SIGNING, {ExtensionOID.OCSP_NO_CHECK})
        require(found.extensions.get_extension_for_class(x509.KeyUsage).value == ocsp.SIGNS_ONLY, "it does not sign")
        _check_validity(found, self.issuer.certificate, now, self.lifetime)


@dataclass(frozen=True)
class OperatorCertificates:
    """The certificates that operators sign in with at the admin API, which knows them one by one."""

    certificate: x509.Certificate
    lifetime: timedelta

    def check(self, found: x509.Certificate, now: datetime) -> None:
        """Raise Refused unless it is one, which is good for nothing but TLS clients."""
        public_keys.check(found.public_key())
        require(bool(_common_name(found)), "the subject is no operator's")
        _check_use(found, self.certificate, ExtendedKeyUsageOID.CLIENT_AUTH, set())
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
        require(usage == admin_leaf.KEY_USAGE, f"the key usage is {usage}")
        _check_validity(found, self.certificate, now, self.lifetime)


def _common_name(found: x509.Certificate) -> str:
    """Return the common name of a subject that is nothing else, or nothing."""
    names = [attribute for attribute in found.subject if attribute.oid == NameOID.COMMON_NAME]
    return str(names[0].value) if len(names) == len(list(found.subject)) == 1 else ""


def _check_use(
    found: x509.Certificate, issuer: x509.Certificate, use: ObjectIdentifier, more: set[ObjectIdentifier]
) -> None:
    extensions = found.extensions
    require(found.issuer == issuer.subject, "the issuer's name is not the issuer's subject")
    present = {extension.oid for extension in extensions}
    strange = ", ".join(sorted(oid.dotted_string for oid in present ^ (FOR_ONE_USE | more)))
    require(not strange, f"extensions that are missing, or that such certificates do not have: {strange}")
    critical = {extension.oid for extension in extensions if extension.critical}
    require(critical == CRITICAL, f"the critical extensions are {sorted(oid.dotted_string for oid in critical)}")
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    require(not constraints.ca and constraints.path_length is None, "it is a CA certificate")
    uses = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    require(uses == [use], f"the extended key usages are {[one.dotted_string for one in uses]}")
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    require(authority == key_identifier_of(issuer), "the authority key identifier is not the issuer's")
    require(found.public_key() != issuer.public_key(), "the key is the issuer's own")


def _check_validity(found: x509.Certificate, issuer: x509.Certificate, now: datetime, lifetime: timedelta) -> None:
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    latest = min(now + lifetime + SLACK, issuer.not_valid_after_utc)
    earliest = max(now - BACKDATE - SLACK, issuer.not_valid_before_utc)
    require(
        earliest <= begin < end <= latest and now < end,
        f"it lives from {begin} to {end}, expected from {earliest} to {latest} at most",
    )
