"""The look at an intermediate that was signed elsewhere, before anything is signed with it. RFC 5280 §4.2, §6.1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509 import verification

from acme_ca import public_keys
from acme_ca.pki import constraints, leaf
from acme_ca.pki.ca import key_identifier_of
from acme_ca.pki.constraints import Subtrees
from acme_ca.pki.issuer import MARGIN
from acme_ca.pki.profile import Usage
from acme_ca.problems import BadPublicKey
from acme_ca.public_keys import PublicKey

Value = TypeVar("Value", bound=x509.ExtensionType)

GOOD_HASHES = (SHA256.name, SHA384.name, SHA512.name)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an intermediate has to be good for: a key, names, usages, and a leaf that lives so long."""

    public_key: PublicKey
    names: Subtrees
    usages: frozenset[Usage]
    longest: timedelta


def misfits(path: Sequence[x509.Certificate], asked: Asked, now: datetime) -> list[str]:
    """Say why nothing may be signed with the first certificate of a path, the last of which is the root."""
    found = [reason for number in range(len(path)) for reason in _of_an_authority(path, number, now)]
    found += _of_the_issuer(path[0], asked)
    ends = min(certificate.not_valid_after_utc for certificate in path)
    if ends > now and now + asked.longest + MARGIN > ends:
        found.append(f"the path ends at {ends}, before a leaf of {asked.longest} that is issued now")
    found += [
        f"{_name(certificate)} does not permit {what}"
        for number, certificate in enumerate(path)
        for what in constraints.lacking(certificate, asked.names, named=number == 0)
    ]
    return found or list(_of_the_path(path, now))


def excesses(certificate: x509.Certificate, asked: Asked) -> Iterator[str]:
    """Yield what a certificate may do that was not asked for."""
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is not None and basic.path_length != 0:
        yield f"intermediates below it: its path length is {basic.path_length}, expected 0"
    yield from constraints.beyond(certificate, asked.names)
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    if usages is None:
        yield "any extended key usage"
    else:
        yield from (f"extended key usage {oid.dotted_string}" for oid in usages if oid not in leaf.USAGES.values())


def _of_an_authority(path: Sequence[x509.Certificate], number: int, now: datetime) -> Iterator[str]:
    """Yield what is wrong with one certificate of the path, whoever is below it."""
    certificate, name = path[number], _name(path[number])
    basic, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    if basic is None or not basic.ca:
        yield f"{name} is no CA certificate (basicConstraints CA:TRUE)"
    elif basic.path_length is not None and basic.path_length < number:
        yield f"{name} allows {basic.path_length} intermediates below it, and there are {number}"
    if usage is None or not (usage.key_cert_sign and usage.crl_sign):
        yield f"{name} has not the key usages keyCertSign and cRLSign"
    if now < certificate.not_valid_before_utc:
        yield f"{name} is not valid before {certificate.not_valid_before_utc}"
    if now > certificate.not_valid_after_utc:
        yield f"{name} expired at {certificate.not_valid_after_utc}"
    yield from _of_a_key(certificate)
    is_root = number == len(path) - 1  # nobody relies on what a root says of itself
    hash_ = None if is_root else _hash(certificate)
    if hash_ is not None and hash_ not in GOOD_HASHES:
        yield f"{name} is signed with {hash_}, expected one of {', '.join(GOOD_HASHES)}"


def _of_a_key(certificate: x509.Certificate) -> Iterator[str]:
    try:
        public_keys.check(certificate.public_key())
    except BadPublicKey as error:
        yield f"the key of {_name(certificate)}: {error.detail}"
    except (ValueError, UnsupportedAlgorithm) as error:
        yield f"the key of {_name(certificate)} cannot be read: {error}"
    else:
        if isinstance(certificate.public_key(), Ed25519PublicKey):
            yield f"the key of {_name(certificate)} is Ed25519, which verifiers take in leafs only"


def _of_the_issuer(certificate: x509.Certificate, asked: Asked) -> Iterator[str]:
    name = _name(certificate)
    if certificate.public_key() != asked.public_key:
        yield f"{name} is for another key than the issuer's"
    if not constraints.is_constrained(certificate):
        yield f"{name} has no name constraints, and nothing is signed below such a certificate"
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    missing = sorted(usage for usage in asked.usages if usages is not None and leaf.USAGES[usage] not in usages)
    if missing:
        yield f"{name} lacks the extended key usages {', '.join(missing)}"
    try:
        key_identifier_of(certificate)
    except ValueError as error:
        yield str(error)


def _of_the_path(path: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    """Verify the signatures, and then the path as relying parties do; the issuer stands where a leaf would."""
    for below, above in pairwise([*path, path[-1]]):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            yield f"{_name(below)} is not issued by {_name(above)}: {error or 'the signature does not verify'}"
            return
    any_leaf = verification.ExtensionPolicy.permit_all()
    authorities = verification.ExtensionPolicy.webpki_defaults_ca()
    policy = verification.PolicyBuilder().store(verification.Store([path[-1]])).time(now)
    try:
        verifier = policy.extension_policies(ca_policy=authorities, ee_policy=any_leaf).build_client_verifier()
        verifier.verify(path[0], list(path[1:-1]))
    except (verification.VerificationError, ValueError) as error:
        yield f"the path from {_name(path[0])} to {_name(path[-1])} does not verify: {error}"


def _hash(certificate: x509.Certificate) -> str | None:
    try:
        found = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"algorithm {certificate.signature_algorithm_oid.dotted_string}"
    return None if found is None else found.name


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _extension(certificate: x509.Certificate, kind: type[Value]) -> Value | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
