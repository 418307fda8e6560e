"""Certificates that machines already have: of the CA that bootstraps hosts, or of an older PKI.

A workload signs the key authorization with the key of its certificate, so that proxies that end TLS do not matter.
docs/workload-identity-00.md
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import Field

from acme_ca.clock import rfc3339
from acme_ca.jose.encoding import shown
from acme_ca.paths import ExistingFile
from acme_ca.problems import ServiceUnavailable
from acme_ca.workload import chain, pop
from acme_ca.workload.base import Expected, Format, Proof, Provider, Workload, refusal
from acme_ca.workload.chain import Anchors, Names
from acme_ca.workload.documents import Documents, Origin
from acme_ca.workload.tokens import MAX_SUBJECT

DAY = 86400

_MAX_STALE = DAY  # seconds that the last good certificates are used for when a file is gone or broken
_SAFE = ":/?#[]@!$&'()*+,=~"  # what a URI is made of but semicolon and percent sign, RFC 3986 §2
_SINGLE = {"common_name": NameOID.COMMON_NAME, "organization": NameOID.ORGANIZATION_NAME}

_FILES: Documents[Anchors] = Documents()


class X5c(Provider):
    """Believe what the CAs of a file certify. Revocation is not asked about: let such certificates be short-lived."""

    type: Literal["x5c"] = "x5c"
    ca_file: ExistingFile
    """PEM file of the roots; it is read again when it changes."""
    intermediates_file: ExistingFile | None = None
    """PEM file of CA certificates below the roots, for clients that send their own certificate alone."""
    binding: Literal["required"] = "required"
    """A proof always signs the key authorization."""
    single_use_serial: bool = False
    """Whether a certificate proves an identity to one account only, once."""
    max_lifetime: Annotated[int, Field(ge=60, le=40_000 * DAY)] | None = None
    """The longest certificate that is believed, in seconds from its notBefore to its notAfter; without it any."""
    required_eku: Literal["clientAuth"] | None = None
    """The extended key usage a certificate must have; without it any, also none."""
    formats: ClassVar[tuple[Format, ...]] = ("x5c",)

    def claims_proof(self, proof: Proof) -> bool:
        """Tell whether the proof asks for this provider, or asks for none and has one of its CAs as an issuer."""
        signed = pop.parse(proof.evidence)
        if proof.provider is not None:
            return proof.provider == self.name
        try:
            subjects = self._anchors().subjects()
        except ServiceUnavailable:
            return True  # it may be: `verify` then says that the files cannot be read, which the client can wait for
        return any(certificate.issuer.public_bytes() in subjects for certificate in signed.chain)

    def verify(self, proof: Proof, expected: Expected, now: datetime) -> Workload:
        """Return the machine that the certificate names."""
        if proof.format not in self.formats:
            raise refusal("format_unsupported", f"the provider {self.name} does not take {shown(proof.format)}")
        signed = pop.parse(proof.evidence)
        path = chain.verify(signed.chain, self._anchors(), now)
        self._check_lifetime(signed.leaf)
        self._check_usage(signed.leaf)
        pop.verify(signed, expected)
        names = chain.names(signed.leaf)
        serial = chain.serial(signed.leaf)
        return Workload(
            provider=self.name,
            issuer=path[-1].subject.rfc4514_string(),
            subject=_subject(signed.leaf, names),
            claims=_claims(signed.leaf, names),
            mode="required",
            expires_at=signed.leaf.not_valid_after_utc,
            instance=serial,
            token_id=serial if self.single_use_serial else None,
            checks=(
                f"the certificate {serial} leads to {path[-1].subject.rfc4514_string()} by {len(path) - 1} signatures",
                f"the certificate is valid until {rfc3339(signed.leaf.not_valid_after_utc)}",
                f"its key has signed the key authorization for {expected.url} ({signed.alg})",
            ),
        )

    def _check_lifetime(self, leaf: x509.Certificate) -> None:
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        if self.max_lifetime is not None and lifetime > timedelta(seconds=self.max_lifetime):
            raise refusal(
                "token_too_old",
                f"the leaf certificate is made for {lifetime.total_seconds():.0f} s; {self.name} takes those for at "
                f"most {self.max_lifetime} s",
            )

    def _check_usage(self, leaf: x509.Certificate) -> None:
        usages = chain.extension(leaf, x509.ExtendedKeyUsage) or ()
        if self.required_eku == "clientAuth" and ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
            raise refusal(
                "issuer_untrusted",
                "the leaf certificate has no extendedKeyUsage with clientAuth; have one issued for TLS clients",
            )

    def _anchors(self) -> Anchors:
        files = tuple(file for file in (self.ca_file, self.intermediates_file) if file is not None)
        origin = Origin(self._load, 0, _MAX_STALE, lambda: tuple(chain.stamp(file) for file in files))
        return _FILES.at((self.name, *files), origin).current()

    def _load(self) -> Anchors:
        below = () if self.intermediates_file is None else chain.load_pem(self.intermediates_file)
        return Anchors(self.name, chain.load_pem(self.ca_file), below)


# --- What the certificate says ---


def _subject(leaf: x509.Certificate, names: Names) -> str:
    """Return the text that stands for the machine: another certificate of its own has the same one.

    That is `x5c:` with the URI of subjectAltName if it has exactly one, else with the distinguished name (RFC 4514)
    and all names of subjectAltName. No two sets of names have one text: a distinguished name starts with `TYPE=`, a
    URI with `scheme:`, and semicolons, which divide the parts, are escaped within them.
    """
    if len(names.uri) == 1:
        return _bounded(f"x5c:{names.uri[0]}")
    kinds = {"dns": names.dns, "uri": names.uri, "ip": names.ip, "mail": names.mail}
    alternatives = [f"{kind}={quote(name, safe=_SAFE)}" for kind, found in kinds.items() for name in found]
    distinguished = _printable(leaf.subject.rfc4514_string())
    if not distinguished and not alternatives:
        raise refusal("evidence_malformed", "the leaf certificate has neither a subject nor a subjectAltName")
    return _bounded(";".join((f"x5c:{distinguished}", *alternatives)))


def _bounded(subject: str) -> str:
    if len(subject) > MAX_SUBJECT:
        raise refusal("evidence_malformed", f"the leaf certificate has names of more than {MAX_SUBJECT} characters")
    return subject


def _claims(leaf: x509.Certificate, names: Names) -> dict[str, Any]:
    """Return what policy can ask for. What a subject has more than once is left out, but for its units."""
    claims: dict[str, Any] = {
        "serial": chain.serial(leaf),
        "issuing_ca": _printable(leaf.issuer.rfc4514_string()),
        "dns": list(names.dns),
        "uri": list(names.uri),
        "ip": list(names.ip),
        "mail": list(names.mail),  # policy asks for email_verified beside email
        "organizational_unit": _attributes(leaf.subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
    }
    for claim, oid in _SINGLE.items():
        if len(found := _attributes(leaf.subject, oid)) == 1:
            claims[claim] = found[0]
    return claims


def _attributes(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [_printable(f"{attribute.value!s}") for attribute in name.get_attributes_for_oid(oid)]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise refusal("evidence_malformed", f"the leaf certificate has the name {shown(text)}, which cannot be printed")
    return text
