"""What a root signs: intermediates and its revocation list, by the plan and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography.x509.oid import NameOID

from acme_ca import clock, public_keys
from acme_ca.ceremony import fitting
from acme_ca.ceremony.acts import (
    Facts,
    Made,
    Rite,
    made_certificate,
    refuse_existing,
    require_fit,
    span,
)
from acme_ca.ceremony.errors import CeremonyError
from acme_ca.ceremony.plan import BACKDATE, REASONS, Intermediate, Reviewed
from acme_ca.ceremony.transcript import BEGINNINGS
from acme_ca.ceremony.verification import digest_of, not_revoked_any_more
from acme_ca.keys import PrivateKey
from acme_ca.pki import ca, csr
from acme_ca.pki import crl as pki
from acme_ca.pki.crl import CrlRequest
from acme_ca.problems import BadCsr
from acme_ca.vocabulary import AUTHORITY_KEY_TYPES


class IntermediateSigning(Rite):
    """Sign an intermediate of the plan for the key of a request, from which nothing else is taken."""

    act = "intermediate.signed"

    def __init__(self, reviewed: Reviewed, request: Path, name: str | None) -> None:
        super().__init__(reviewed)
        self.require_root()
        self._planned = _planned(reviewed, name)
        self.name = self._planned.name
        self._refuse_second()
        refuse_existing(reviewed.path.with_name(f"{self.name}.pem"))
        self._file = request
        self._csr, self._request = _read(request)
        if self._request.public_key == self.root.public_key():
            raise CeremonyError(f"{request} is of the root's own key")
        if self._request.key_type not in AUTHORITY_KEY_TYPES:
            raise CeremonyError(
                f"{request} is of a key of kind {self._request.key_type}, which verifiers take in leafs only"
            )
        self.remarks = tuple(self._remarked())

    def facts(self, now: datetime) -> Facts:
        """Yield what the intermediate will be."""
        planned = self._planned
        yield "Intermediate", f"{planned.name}: CN={planned.common_name}, below {self.root.subject.rfc4514_string()}"
        yield "DNS names", ", ".join(planned.permitted_dns) or "none"
        yield "Addresses", ", ".join(map(str, planned.permitted_ips)) or "none"
        yield "Path length", str(planned.path_length)
        yield "Validity", span(planned, now)
        yield "Root is at", planned.issuer_url or "(not said)"
        yield "List is at", planned.crl_url or "(not said)"
        yield "Request", f"{self._file}, SHA-256 {sha256(self._csr.encode()).hexdigest()}"
        key_sha256 = public_keys.spki_sha256(self._request.public_key).hex()
        yield "Its key", f"{self._request.key_type}, SHA-256 {key_sha256}"
        yield "Writes", f"{planned.name}.pem, and a line of {self.reviewed.transcript_file}"

    def make(self, key: PrivateKey, now: datetime) -> Made:
        """Sign it."""
        self.require_key(key)
        planned, public_key = self._planned, self._request.public_key
        start, end = planned.validity(now)
        certificate = ca.make_intermediate(
            self.root,
            key,
            public_key,
            common_name=planned.common_name,
            permitted_dns=planned.permitted_dns,
            permitted_ips=planned.permitted_ips,
            not_before=start,
            not_after=end,
            issuer_url=planned.issuer_url,
            crl_url=planned.crl_url,
            path_length=planned.path_length,
        )
        require_fit(fitting.of_intermediate(certificate, self.root, planned, public_key))
        return made_certificate(
            f"{planned.name}.pem",
            certificate,
            "the signature of the request verifies by the request's own key",
            f"the key of the request is {self._request.key_type}, and not the root's",
            "the root's key belongs to the root's certificate",
            csr=self._csr,
            csr_sha256=sha256(self._csr.encode()).hexdigest(),
        )

    def _refuse_second(self) -> None:
        for act in self.verdict.acts:
            if (act.act, act.name) == (self.act, self.name):
                raise CeremonyError(
                    f"intermediate {self.name} was signed already, in act {act.number} at {act.at}: its certificate is "
                    "in the transcript (`acme-ca root verify --extract`); a new one takes a table with a new name"
                )

    def _remarked(self) -> Iterator[str]:
        names = [str(one.value) for one in self._request.csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [self._planned.common_name]:
            expected = f"CN={self._planned.common_name}"
            yield f"the request calls itself {self._request.subject!r}; the plan says {expected}, which counts"
        for act in self.verdict.acts:
            other = self.verdict.certificate(act)
            if other is not None and other.public_key() == self._request.public_key:
                yield f"the key of the request is that of {act.name} too, signed in act {act.number}"


class CrlSigning(Rite):
    """Sign the root's revocation list."""

    act = "crl.signed"

    def __init__(self, reviewed: Reviewed) -> None:
        super().__init__(reviewed)
        self.require_root()
        if reviewed.plan.crl is None:
            raise CeremonyError(f"{reviewed.path} has no table [crl]")
        self._planned = reviewed.plan.crl
        self.name = reviewed.plan.root.name
        self._names = {
            found.serial_number: act.name
            for act in self.verdict.acts
            if (found := self.verdict.certificate(act)) is not None and act.act not in BEGINNINGS
        }
        now = clock.now()
        self._require_sense(now)
        self.remarks = tuple(
            f"no act of the transcript signed certificate {one.serial}"
            for one in self._planned.revoked
            if int(one.serial, 16) not in self._names
        )

    def facts(self, now: datetime) -> Facts:
        """Yield what the list will say."""
        yield "Revocation list", f"of {self.root.subject.rfc4514_string()}"
        yield "Number", f"{self._number(now)} ({self._planned.number})"
        yield "Next update", clock.rfc3339(self._planned.ends_at(now))
        for one in self._planned.revoked:
            name = self._names.get(int(one.serial, 16), "unknown")
            yield "Revokes", f"{one.serial} ({name}): {one.reason}, since {clock.rfc3339(one.date)}"
        if not self._planned.revoked:
            yield "Revokes", "nothing"
        yield "Writes", f"{self.name}.NUMBER.crl, and a line of {self.reviewed.transcript_file}"

    def make(self, key: PrivateKey, now: datetime) -> Made:
        """Sign it."""
        self.require_key(key)
        planned, number = self._planned, self._number(now)
        file = f"{self.name}.{number}.crl"
        refuse_existing(self.reviewed.path.with_name(file))
        revoked = [pki.Revoked(int(one.serial, 16), one.date, REASONS[one.reason]) for one in planned.revoked]
        request = CrlRequest(number, now - BACKDATE, planned.ends_at(now), revoked)
        pem = pki.to_pem(pki.make(request, self.root, key))
        require_fit(fitting.of_crl(pem, self.root, planned))
        checked = (
            "the root's key belongs to the root's certificate",
            "everything that the list before revokes is revoked",
            "the list is as the plan says, and its signature verifies",
        )
        digest = digest_of(pki.read(pem, self.root))
        return Made(file, pem.decode(), checked, {"crl": pem.decode(), "crl_sha256": digest})

    def _number(self, now: datetime) -> int:
        """Return the number of the new list; raises CeremonyError unless it is above that of the last."""
        last = 0 if self.verdict.last_crl is None else pki.number_of(self.verdict.last_crl)
        rule = self._planned.number
        if rule == "sequence" and not last and self.verdict.acts[0].act == "root.adopted":
            raise CeremonyError(
                "the root was adopted, and the numbers of its earlier lists are in no transcript: give the first list "
                'here number = "time", or a number above all of them'
            )
        number = rule if isinstance(rule, int) else int(now.timestamp()) if rule == "time" else last + 1
        if number <= last:
            raise CeremonyError(f"number {number} ({rule}) is not above that of the list before, {last}")
        return number

    def _require_sense(self, now: datetime) -> None:
        self._number(now)
        serials = {int(one.serial, 16) for one in self._planned.revoked}
        require_fit(not_revoked_any_more(self.verdict, serials, clock.rfc3339(now)))
        later = [one for one in self._planned.revoked if one.date > now]
        require_fit(f"{one.serial} is revoked from {one.date} on, which is in the future" for one in later)
        ends, last = self._planned.ends_at(now), self.root.not_valid_after_utc
        if not now < ends <= last:
            raise CeremonyError(f"its nextUpdate, {ends}, is not between now and {last}, when the root ends")


def _planned(reviewed: Reviewed, name: str | None) -> Intermediate:
    known = {one.name: one for one in reviewed.plan.intermediate}
    if name is None and len(known) == 1:
        return reviewed.plan.intermediate[0]
    if name is None or name not in known:
        seen = "say which intermediate it is for (--name)" if name is None else f"the plan has no intermediate {name!r}"
        raise CeremonyError(f"{seen}; there are: {', '.join(known) or 'none'}")
    return known[name]


def _read(path: Path) -> tuple[str, csr.ProvedKey]:
    data = path.read_bytes()
    try:
        if not data.lstrip().startswith(b"-----BEGIN"):
            raise CeremonyError(f"{path} is not in PEM; `openssl req -inform DER -in FILE` makes it so")
        return data.decode(), csr.proved_key(data)
    except (BadCsr, UnicodeDecodeError) as error:
        raise CeremonyError(f"{path}: {error}") from error
