"""An issuer: the certificate and key that sign leafs, and the care with which they do. RFC 5280 §6.

Build, lint under a throwaway key, sign, verify the finished chain: both checks stop the issuance.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID

from acme_ca.pki import leaf, lint
from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.leaf import LeafRequest
from acme_ca.pki.profile import Profile, Usage
from acme_ca.pki.signing import SigningKey, sign, signatures_of, throwaway_like
from acme_ca.pki.signing import new_serial as new_serial
from acme_ca.public_keys import spki_sha256
from acme_ca.vocabulary import SignatureName

CRL = ".crl"  # RFC 2585 §4.2
PEM_LINE = 64  # characters, RFC 7468 §2
MARGIN = timedelta(minutes=5)  # an issuer stops signing this long before a leaf would outlive it


class IssuanceError(Exception):
    """The finished certificate does not verify: a defect of the CA or of its configuration."""


@dataclass(frozen=True)
class Issuer:
    """Signs leafs. `chain` has the certificates above it without the root; `alternates` other ways to other roots.

    `crl_url` is where its full list is. With more than one of `crl_shards`, its leafs point to the list of a shard.
    """

    id: str
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate
    key: SigningKey = field(repr=False)
    issuer_url: str | None = None
    crl_url: str | None = None
    crl_shards: int = 1
    ocsp_url: str | None = None
    alternates: tuple[tuple[x509.Certificate, ...], ...] = ()
    signature: SignatureName | None = None
    """What it signs with, where its key leaves a choice."""
    is_open: bool = True
    """Whether its key could be opened here; if not, what it signed elsewhere is published all the same."""
    _proved: set[Usage] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a key that is not the certificate's, and a chain that does not hold together."""
        if self.key.public_key() != self.certificate.public_key():
            raise ValueError(f"the key of issuer {self.id} does not belong to its certificate")
        if self.signature not in {None, *(possible := signatures_of(self.key.public_key()))}:
            raise ValueError(
                f"signature: the key of issuer {self.id} does not sign with {self.signature}; "
                f"expected {' or '.join(possible)}"
            )
        self._require_path((self.certificate, *self.chain, self.root), "chain")
        for number, alternate in enumerate(self.alternates):
            if not alternate or alternate[0].public_key() != self.certificate.public_key():
                raise ValueError(
                    f"alternates[{number}] of issuer {self.id} does not begin with a certificate of its key"
                )
            self._require_path(alternate, f"alternates[{number}]")

    def _require_path(self, path: tuple[x509.Certificate, ...], what: str) -> None:
        if any(isinstance(certificate.public_key(), ed25519.Ed25519PublicKey) for certificate in path):
            # The path verifier, and browsers with it, take Ed25519 keys in leafs only: nothing would verify.
            raise ValueError(f"the {what} of issuer {self.id} has an Ed25519 CA key; expected EC, RSA or ML-DSA keys")
        for below, above in pairwise(path):
            try:
                below.verify_directly_issued_by(above)
            except Exception as error:
                names = f"{below.subject.rfc4514_string()} is not issued by {above.subject.rfc4514_string()}"
                raise ValueError(f"the {what} of issuer {self.id} does not hold: {names}") from error

    @cached_property
    def signs_with(self) -> SignatureName:
        """What leafs, lists and responders of it are signed with."""
        return self.signature or signatures_of(self.key.public_key())[0]

    @cached_property
    def key_id(self) -> bytes:
        """The key identifier that leafs name their issuer by. RFC 5280 §4.2.1.1."""
        return key_identifier_of(self.certificate).key_identifier or b""

    @cached_property
    def key_sha256(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo."""
        return spki_sha256(self.certificate.public_key())  # type: ignore[arg-type]  # issuers have EC or RSA keys

    def pem_chain(self, der: bytes, alternate: int = 0) -> str:
        """Return a leaf and what is above it in PEM, without the root; `alternate` > 0 names another chain."""
        text = b64encode(der).decode()
        lines = "\n".join(text[start : start + PEM_LINE] for start in range(0, len(text), PEM_LINE))
        return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n{self._chains_pem[alternate]}"

    @cached_property
    def _chains_pem(self) -> tuple[str, ...]:
        """What follows the leaf in PEM: the default chain, then each alternate. RFC 8555 §7.4.2."""
        return tuple(
            "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)
            for chain in ((self.certificate, *self.chain), *self.alternates)
        )

    @cached_property
    def ends_at(self) -> datetime:
        """When the first certificate of the chain, the root included, expires."""
        return min(certificate.not_valid_after_utc for certificate in (self.certificate, *self.chain, self.root))

    @cached_property
    def begins_at(self) -> datetime:
        """Since when all certificates of the chain are valid."""
        return max(certificate.not_valid_before_utc for certificate in (self.certificate, *self.chain, self.root))

    def signs_as(self, profile: Profile) -> bool:
        """Whether its signatures are those that a profile asks for."""
        return not profile.signed_by or self.signs_with in profile.signed_by

    def can_sign(self, now: datetime, lifetime: timedelta) -> bool:
        """Whether a leaf of this lifetime, made now, ends before everything above it."""
        return self.begins_at <= now and now + lifetime + MARGIN <= self.ends_at

    def shard_of(self, serial: int) -> int:
        """Return the shard of a new certificate. The ledger keeps it: that of an old one may be another."""
        return serial % self.crl_shards

    def crl_url_of(self, shard: int) -> str | None:
        """Return where the list of a shard is, or None when no list is published."""
        return None if self.crl_url is None else f"{self.crl_url.removesuffix(CRL)}/{shard}{CRL}"

    def issue(self, request: LeafRequest) -> x509.Certificate:
        """Return the signed certificate; raises LintError or IssuanceError when it is not what it has to be."""
        if request.not_after > self.ends_at:  # of everything above the leaf: the lint sees its issuer alone
            raise IssuanceError(f"the leaf would outlive the chain of issuer {self.id}, which ends at {self.ends_at}")
        crl_url = self.crl_url_of(self.shard_of(request.serial)) if self.crl_shards > 1 else self.crl_url
        built = leaf.builder(request, self.certificate, self.issuer_url, crl_url, self.ocsp_url)
        throwaway = throwaway_like(self.key)
        draft = sign(built, throwaway, self.signature)
        lint.check(draft, request, self.certificate, crl_url, self.ocsp_url)
        certificate = sign(built, self.key, self.signature)
        self._verify(certificate, request)
        return certificate

    def _verify(self, certificate: x509.Certificate, request: LeafRequest) -> None:
        """Verify the chain as a relying party would, for each usage, with pyca's own path verifier. RFC 5280 §6.1."""
        at = verification.PolicyBuilder().time(max(request.not_before, self.begins_at))
        try:
            for usage in request.profile.extended_key_usages:
                self._verify_for(usage, at, certificate, request)
        except (verification.VerificationError, ValueError) as error:
            raise IssuanceError(f"the finished chain of issuer {self.id} does not verify: {error}") from error

    def _verify_for(
        self, usage: Usage, at: verification.PolicyBuilder, certificate: x509.Certificate, request: LeafRequest
    ) -> None:
        """Verify for one usage.

        The first leaf proves everything above it up to the root, which never changes; for the following ones the
        issuer is the anchor, constraints included, which is seven times cheaper than a P-384 signature more.
        """
        near = usage in self._proved and not self._constrained_above
        anchor, above = (self.certificate, []) if near else (self.root, [self.certificate, *self.chain])
        policy = at.store(verification.Store([anchor]))
        if usage == "clientAuth":
            policy.build_client_verifier().verify(certificate, above)
        elif request.identifiers:
            policy.build_server_verifier(_subject(request)).verify(certificate, above)
        else:
            return  # there is no host to verify; a URI alone comes with clientAuth, see Profile
        self._proved.add(usage)

    @cached_property
    def _constrained_above(self) -> bool:
        """Whether names are constrained above the issuer too: then one good leaf proves nothing for the next."""
        return any(
            extension.oid == ExtensionOID.NAME_CONSTRAINTS
            for certificate in (*self.chain, self.root)
            for extension in certificate.extensions
        )


def _subject(request: LeafRequest) -> x509.DNSName | x509.IPAddress:
    name = request.identifiers[0]
    if name.type == "ip":
        return x509.IPAddress(ip_address(name.value))
    return x509.DNSName(name.value.replace("*", "a", 1) if name.wildcard else name.value)
