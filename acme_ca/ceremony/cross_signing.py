"""A root vouches for another one: in a root roll, who trusts the old one alone verifies what is below the new one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import public_keys
from acme_ca.ceremony import fitting
from acme_ca.ceremony.acts import Facts, Made, Rite, made_certificate, refuse_existing, require_fit, span
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.ceremony.plan import CrossSign, Reviewed
from acme_ca.ceremony.verification import digest_of
from acme_ca.keys import PrivateKey
from acme_ca.pki import ca


class CrossSigning(Rite):
    """Sign another root of the plan: its certificate has to be the one whose digest the plan has."""

    act = "root.cross_signed"

    def __init__(self, reviewed: Reviewed, certificate: Path, name: str | None) -> None:
        super().__init__(reviewed)
        self.require_root()
        self._planned = _planned(reviewed, name)
        self.name = self._planned.name
        for act in self.verdict.acts:
            if act.name == self.name:
                raise CeremonyError(
                    f"{self.name} was signed already, in act {act.number} at {act.at}: its certificate is in the "
                    "transcript (`acme-ca root verify --extract`); a new one takes a table with a new name"
                )
        refuse_existing(reviewed.path.with_name(f"{self.name}.pem"))
        self._file, self._other = certificate, _read(certificate)
        require_fit(fitting.of_other_root(self._other, self.root, self._planned))

    def facts(self, now: datetime) -> Facts:
        """Yield what will be vouched for."""
        planned, other = self._planned, self._other
        yield "Cross-sign", f"{planned.name}: {other.subject.rfc4514_string()}, by {self.root.subject.rfc4514_string()}"
        yield "Other root", f"{self._file}, SHA-256 {digest_of(other)}"
        yield "Its key", f"{public_keys.check(other.public_key())}"
        yield "CAs below it", str(planned.path_length)
        yield "Validity", span(planned, now)
        yield "Root is at", planned.issuer_url or "(not said)"
        yield "List is at", planned.crl_url or "(not said)"
        yield "Writes", f"{planned.name}.pem, and a line of {self.reviewed.transcript_file}"

    def make(self, key: PrivateKey, now: datetime) -> Made:
        """Sign it."""
        self.require_key(key)
        planned, other = self._planned, self._other
        start, end = planned.validity(now)
        certificate = ca.make_cross_sign(
            self.root,
            key,
            other,
            not_before=start,
            not_after=end,
            path_length=planned.path_length,
            issuer_url=planned.issuer_url,
            crl_url=planned.crl_url,
        )
        require_fit(fitting.of_cross_sign(certificate, self.root, planned, other))
        return made_certificate(
            f"{planned.name}.pem",
            certificate,
            "the other root is the one whose digest the plan has, and is signed by its own key",
            "the root's key belongs to the root's certificate",
            other=other.public_bytes(Encoding.PEM).decode(),
            other_sha256=digest_of(other),
        )


def _planned(reviewed: Reviewed, name: str | None) -> CrossSign:
    known = {one.name: one for one in reviewed.plan.cross_sign}
    if name is None and len(known) == 1:
        return reviewed.plan.cross_sign[0]
    if name is None or name not in known:
        seen = "say which one it is (--name)" if name is None else f"the plan cross-signs nothing by the name {name!r}"
        raise CeremonyError(f"{seen}; there are: {', '.join(known) or 'none'}")
    return known[name]


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise CeremonyError(f"{path} is no certificate in PEM: {error}") from error
