"""Certificates that workloads show: whether a chain leads to a trust anchor, and what a leaf says. RFC 5280 §6."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from acme_ca.clock import rfc3339
from acme_ca.https import MAX_BODY, FetchFailedError
from acme_ca.jose.encoding import shown
from acme_ca.problems import Problem
from acme_ca.workload.base import LEEWAY, refusal

MAX_PATH = 8  # certificates between the leaf and the anchor, whoever sends them

UNREADABLE = (
    ValueError,  # binascii.Error and the decoders' errors are
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,  # of what it will refuse one day, where warnings are made errors
)
"""What cryptography raises for a certificate that cannot be read."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_NO_PATH = "all candidates exhausted with no interior errors"
_URI_CONSTRAINT = "unsupported name constraint"
_WHICH = re.compile(r" \(encountered processing .*\)\Z", re.DOTALL)
# A name has nothing that could be taken for the joints of the texts it becomes part of.
_DNS = re.compile(r"[A-Za-z0-9*_-]+(?:\.[A-Za-z0-9*_-]+)*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Anchors:
    """What chains may lead to, and certificates on the way that clients need not send. `name` is for the details."""

    name: str
    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()

    def subjects(self) -> frozenset[bytes]:
        """Return the DER of the names that may stand as the issuer of the last certificate sent."""
        return frozenset(ca.subject.public_bytes() for ca in (*self.roots, *self.intermediates))


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a leaf's subjectAltName by kind, each kind sorted."""

    dns: tuple[str, ...]
    uri: tuple[str, ...]
    ip: tuple[str, ...]
    mail: tuple[str, ...]


def verify(chain: Sequence[x509.Certificate], anchors: Anchors, now: datetime) -> tuple[x509.Certificate, ...]:
    """Return the path from the leaf `chain[0]` to one of the roots, both included.

    Raises token_expired and token_not_yet_valid for the leaf, evidence_malformed for a leaf that is a CA or may not
    sign, and issuer_untrusted for all else, which says at which certificate and why.
    """
    leaf, *sent = chain
    _check_times(leaf, now)
    _check_is_leaf(leaf)
    if not anchors.roots:  # a SPIFFE bundle may have none; the verifier does not do without
        raise _untrusted(leaf, anchors, _NO_PATH)
    # A leaf from the future within the leeway is judged at its own beginning.
    moment = max(now, leaf.not_valid_before_utc)
    builder = PolicyBuilder().store(Store(list(anchors.roots))).time(moment).max_chain_depth(MAX_PATH)
    builder = builder.extension_policies(
        ca_policy=ExtensionPolicy.webpki_defaults_ca(),
        # The default asks for a subjectAltName and clientAuth, which not every CA puts into a machine's certificate.
        ee_policy=ExtensionPolicy.permit_all(),
    )
    try:
        return tuple(builder.build_client_verifier().verify(leaf, [*sent, *anchors.intermediates]).chain)
    except VerificationError as error:
        raise _untrusted(leaf, anchors, str(error)) from error


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return the value of an extension, or None if the certificate has none of the kind."""
    return next((found.value for found in certificate.extensions if isinstance(found.value, kind)), None)


def names(leaf: x509.Certificate) -> Names:
    """Return the names of subjectAltName; raises evidence_malformed for one with characters that no name has."""
    san = extension(leaf, x509.SubjectAlternativeName)
    if san is None:
        return Names((), (), (), ())
    return Names(
        dns=_sorted(san.get_values_for_type(x509.DNSName), _DNS, "dNSName"),
        uri=_sorted(san.get_values_for_type(x509.UniformResourceIdentifier), _URI, "uniformResourceIdentifier"),
        ip=_sorted((str(address) for address in san.get_values_for_type(x509.IPAddress)), _VISIBLE, "iPAddress"),
        mail=_sorted(san.get_values_for_type(x509.RFC822Name), _VISIBLE, "rfc822Name"),
    )


def serial(certificate: x509.Certificate) -> str:
    """Return the serial number in lower-case hexadecimal, without leading zeros."""
    return f"{certificate.serial_number:x}"


def load_der(octets: bytes) -> x509.Certificate:
    """Return a certificate of which every field that is looked at can be read; raises one of UNREADABLE.

    cryptography reads most fields only when they are asked for, and then raises.
    """
    certificate = x509.load_der_x509_certificate(octets)
    if certificate.serial_number <= 0:  # RFC 5280 §4.1.2.2; cryptography only warns
        raise ValueError("the serial number is not positive")
    for name in ("extensions", "subject", "issuer", "not_valid_before_utc", "not_valid_after_utc"):
        getattr(certificate, name)
    certificate.public_key()
    return certificate


# --- Files: certificates in PEM, and other things to trust ---


def stamp(file: Path) -> object:
    """Return what changes when the file does; raises FetchFailedError."""
    try:
        found = file.stat()
    except OSError as error:
        raise FetchFailedError(f"{file} cannot be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_file(file: Path) -> bytes:
    """Return the content of a file of at most MAX_BODY octets; raises FetchFailedError."""
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BODY)
    except OSError as error:
        raise FetchFailedError(f"{file} cannot be read: {error.strerror}") from error


def load_pem(file: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file, at least one; raises FetchFailedError."""
    try:
        found = x509.load_pem_x509_certificates(read_file(file))
        return tuple(load_der(certificate.public_bytes(Encoding.DER)) for certificate in found)
    except UNREADABLE as error:
        raise FetchFailedError(f"{file} has no certificates in PEM that can be read") from error


def _sorted(values: Iterable[str], form: re.Pattern[str], what: str) -> tuple[str, ...]:
    found = sorted(values)
    if bad := next((value for value in found if not form.fullmatch(value)), None):
        raise refusal("evidence_malformed", f"the leaf certificate has the {what} {shown(bad)}, which is no name")
    return tuple(found)


def _check_times(leaf: x509.Certificate, now: datetime) -> None:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end:
        raise refusal(
            "token_expired",
            f"the leaf certificate expired at {rfc3339(end)}; the time of this server is {rfc3339(now)}",
        )
    if now + timedelta(seconds=LEEWAY) < begin:
        raise refusal(
            "token_not_yet_valid",
            f"the leaf certificate is valid from {rfc3339(begin)} on; the time of this server is {rfc3339(now)}",
        )


def _check_is_leaf(leaf: x509.Certificate) -> None:
    constraints = extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise refusal("evidence_malformed", "the leaf certificate is that of a CA; expected a workload's own")
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and (not usage.digital_signature or usage.key_cert_sign or usage.crl_sign):
        raise refusal(
            "evidence_malformed",
            "the leaf certificate is not for signatures; expected a keyUsage with digitalSignature, and without "
            "keyCertSign and cRLSign",
        )


def _untrusted(leaf: x509.Certificate, anchors: Anchors, error: str) -> Problem:
    """Say what the verifier has seen; its text may quote names that the client chose."""
    reason = _WHICH.sub("", error.removeprefix("validation failed: ")).removeprefix("candidates exhausted: ")
    if reason == _NO_PATH:
        reason = (
            f"no path leads from its issuer {shown(leaf.issuer.rfc4514_string())} to a root; send all intermediates"
        )
    elif reason == _URI_CONSTRAINT:
        reason = (
            "a CA on the way constrains the names of URIs, which this server cannot check (unsupported name "
            "constraint); have the certificate issued by a CA without"
        )
    return refusal("issuer_untrusted", f"the leaf certificate is not by a CA of {anchors.name}: {shown(reason)[1:-1]}")
