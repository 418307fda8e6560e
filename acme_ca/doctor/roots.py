"""The revocation lists of roots: made elsewhere and seldom, so that nobody notices when one is forgotten."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.config import Issuer
from acme_ca.doctor.findings import Finding, Host
from acme_ca.doctor.serving import OK, get
from acme_ca.pki.ca import lists_of
from acme_ca.root_files import load_root_crl

NOTICE = timedelta(days=60)  # people and a safe have to be brought together for a new one


def crls(host: Host) -> Iterator[Finding]:
    """Look at the list of each root: how old it is, whether it is served, and whether it revokes an issuer."""
    seen: set[str] = set()
    for name, issuer in host.config.issuers:
        if name in host.environments or issuer is host.config.service.issuer:
            yield from _named(host, issuer)
            if issuer.root_crl is not None:
                is_new = issuer.root_crl.name not in seen
                seen.add(issuer.root_crl.name)
                yield from _crl(host, issuer, is_new=is_new)


def _crl(host: Host, issuer: Issuer, *, is_new: bool) -> Iterator[Finding]:
    assert issuer.root_crl is not None  # noqa: S101 - `crls` asks
    place = str(issuer.root_crl)
    try:
        crl = load_root_crl(issuer.root_crl, issuer.root)
        certificate = x509.load_pem_x509_certificate(issuer.certificate.read_bytes())
    except (OSError, ValueError) as error:
        if is_new:
            yield Finding("CRL004", place, str(error), "a list that the root has signed")
        return
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        yield Finding("CRL008", f"issuer {issuer.name}", f"{place} lists it", "an issuer that is not revoked")
    if is_new:
        yield from age(host, place, crl)
        yield from served(host, host.config.root_crl_url(issuer) or "", crl)


def age(host: Host, place: str, crl: x509.CertificateRevocationList) -> Iterator[Finding]:
    """Say if a list is past its nextUpdate, or is soon."""
    ends = crl.next_update_utc or crl.last_update_utc
    notice = min(NOTICE, (ends - crl.last_update_utc) / 3)
    seen = f"nextUpdate {ends:%Y-%m-%d %H:%M:%S} UTC"
    if ends <= host.now:
        yield Finding("CRL004", place, seen, f"later than {host.now:%Y-%m-%d %H:%M:%S} UTC")
    elif ends - host.now < notice:
        yield Finding("CRL005", place, seen, f"more than {notice.days} days from now")


def served(host: Host, url: str, crl: x509.CertificateRevocationList) -> Iterator[Finding]:
    """Compare the file with what is served. That nothing is served, `serving.crls` tells."""
    try:
        status, body = get(url, host.timeout)
    except (OSError, http.client.HTTPException):
        return
    if status != OK or body != crl.public_bytes(Encoding.DER):
        yield Finding("CRL006", url, f"status {status}, {len(body)} bytes", "the list that is in the file")


def _named(host: Host, issuer: Issuer) -> Iterator[Finding]:
    """Compare where the certificate says that the root's list is with where it is published."""
    try:
        named = set(lists_of(x509.load_pem_x509_certificate(issuer.certificate.read_bytes())))
    except (OSError, ValueError):
        return
    here = host.config.root_crl_url(issuer)
    if named and here not in named:
        expected = "root_crl with a file of that name" if here is None else here
        yield Finding("CRL007", f"issuer {issuer.name}", ", ".join(sorted(named)), expected)
