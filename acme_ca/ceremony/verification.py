"""A transcript, looked at from outside: whether all of it is there, unchanged, and about things that fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca import clock, public_keys
from acme_ca.ceremony import fitting, plan, transcript
from acme_ca.ceremony.transcript import BEGINNINGS, NOTHING, Act, BrokenLineError, Record
from acme_ca.config.mistakes import ConfigError
from acme_ca.pki import crl, csr
from acme_ca.problems import Problem

UNREADABLE = (*csr.DECODING_ERRORS, Problem)  # what reading parts of certificates, lists and requests raises
MADE = (".pem", ".crl")  # endings of what a ceremony writes beside its transcript


@dataclass(slots=True)
class Verdict:
    """What a transcript says, and what is wrong with it. `head` is the hash of its last line."""

    acts: list[Act] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    root: x509.Certificate | None = None
    findings: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        """What the next act will call the last one."""
        return transcript.line_hash(self.lines[-1]) if self.lines else NOTHING

    @property
    def hashes(self) -> list[str]:
        """The hash of each line: the head, as it was after that act."""
        return [transcript.line_hash(line) for line in self.lines]

    def certificate(self, act: Act) -> x509.Certificate | None:
        """Return the certificate of an act; findings tell when it cannot be read."""
        try:
            return None if act.certificate is None else x509.load_pem_x509_certificate(act.certificate.encode())
        except UNREADABLE:
            return None

    def crl(self, act: Act) -> x509.CertificateRevocationList | None:
        """Return the revocation list of an act; findings tell when it cannot be read."""
        try:
            return None if act.crl is None else x509.load_pem_x509_crl(act.crl.encode())
        except UNREADABLE:
            return None

    @property
    def last_crl(self) -> x509.CertificateRevocationList | None:
        """The newest revocation list."""
        return next((found for act in reversed(self.acts) if (found := self.crl(act)) is not None), None)

    @property
    def files(self) -> dict[str, str]:
        """What the ceremony wrote beside the plan, by the names of the files."""
        found = {f"{act.name}.pem": act.certificate for act in self.acts if act.certificate is not None}
        lists = [(act, made) for act in self.acts if (made := self.crl(act)) is not None]
        return found | {f"{act.name}.{crl.number_of(made)}.crl": act.crl or "" for act, made in lists}

    @property
    def made(self) -> dict[str, Act]:
        """The acts by the SHA-256 of the certificate or list that came of them."""
        return {digest: act for act in self.acts if (digest := act.certificate_sha256 or act.crl_sha256)}


def verify(text: str) -> Verdict:
    """Look at every record of a transcript."""
    verdict = Verdict()
    try:
        for line, record in transcript.read(text):
            found = list(_of_record(record, verdict))
            verdict.acts.append(record.act)
            verdict.lines.append(line)
            verdict.findings += [f"line {len(verdict.lines)}: {reason}" for reason in found]
    except BrokenLineError as error:
        verdict.findings.append(f"line {error.number}: {error}")
    if not verdict.acts and not verdict.findings:
        verdict.findings.append("it is empty")
    return verdict


def compare(verdict: Verdict, copy: Verdict) -> list[str]:
    """Say what a copy of the transcript, kept elsewhere, has that is missing or different in it."""
    for number, (ours, theirs) in enumerate(zip(verdict.lines, copy.lines, strict=False), 1):
        if ours != theirs:
            return [f"line {number} is another one than in the copy"]
    more = copy.acts[len(verdict.acts) :]
    return [f"act {act.number} is missing: {act.act} {act.name} of {act.at}" for act in more]


def strangers(verdict: Verdict, files: list[Path], *, required: bool) -> list[str]:
    """Name the files with a certificate or list that the root signed, and no act tells of.

    What the root has not signed is a stranger only if it is `required` to be in the transcript.
    """
    found = []
    for path in files:
        made = _read(path)
        if made is None or verdict.root is None:
            found += [f"{path} is no certificate and no revocation list"] if required else []
        elif digest_of(made) not in verdict.made and (required or _is_signed(made, verdict.root)):
            found.append(f"{path} was signed by the root, and no act tells of it")
    return found


def _of_record(record: Record, before: Verdict) -> Iterator[str]:
    act = record.act
    yield from _of_place(act, before)
    if act.plan_sha256 != sha256(act.plan.encode()).hexdigest():
        yield "the digest of the plan is not that of its text"
    if act.act in BEGINNINGS:
        before.root = before.root or before.certificate(act)
    if before.root is None:
        yield "there is no certificate of the root"
    else:
        yield from _of_signature(record, before.root)
        yield from _of_contents(act, before, before.root)


def _of_place(act: Act, before: Verdict) -> Iterator[str]:
    """Yield what is wrong with where an act stands."""
    if act.number != len(before.acts) + 1 or act.previous != before.head:
        yield f"act {act.number} does not follow what is before it: an act is missing, or was changed"
    if (act.act in BEGINNINGS) == bool(before.acts):
        yield f"{act.act} cannot stand here: a transcript begins with its root, and has one"
    if before.acts and act.at < before.acts[-1].at:
        yield f"it was done at {act.at}, before the act that it follows"


def _of_signature(record: Record, root: x509.Certificate) -> Iterator[str]:
    try:
        key = root.public_key()
        public_keys.check(key)
    except UNREADABLE as error:
        yield f"the root's key cannot be used: {error}"
        return
    sha256 = public_keys.spki_sha256(key).hex()  # type: ignore[arg-type]  # check() refuses other kinds of key
    if record.act.key.sha256 != sha256 or not record.is_signed_by(key):  # type: ignore[arg-type]
        yield "the root has not signed it"


def _of_contents(act: Act, before: Verdict, root: x509.Certificate) -> Iterator[str]:
    try:
        planned = plan.loads(act.plan, Path("plan.toml")).plan
        yield from fitting.of_root(root, planned, adopted=act.act != "root.created")
        if act.act in BEGINNINGS:
            yield from _of_digest("certificate", act.certificate_sha256, root)
        elif act.act == "intermediate.signed":
            yield from _of_intermediate(act, planned, before, root)
        elif act.act == "root.cross_signed":
            yield from _of_cross_sign(act, planned, before, root)
        else:
            yield from _of_crl(act, planned, before, root)
    except ConfigError as error:
        yield f"its plan cannot be read: {error}"
    except UNREADABLE as error:
        yield f"what it is about cannot be read: {error}"


def _of_intermediate(act: Act, planned: plan.Plan, before: Verdict, root: x509.Certificate) -> Iterator[str]:
    certificate = x509.load_pem_x509_certificate((act.certificate or "").encode())
    yield from _of_digest("certificate", act.certificate_sha256, certificate)
    if act.csr_sha256 != sha256((act.csr or "").encode()).hexdigest():
        yield "the digest of the request is not that of its text"
    key = csr.proved_key((act.csr or "").encode()).public_key
    intermediate = next((one for one in planned.intermediate if one.name == act.name), None)
    if intermediate is None:
        yield f"its plan has no intermediate {act.name}"
    else:
        yield from fitting.of_intermediate(certificate, root, intermediate, key)
    if any(one.act == act.act and one.name == act.name for one in before.acts):
        yield f"intermediate {act.name} was signed before"


def _of_cross_sign(act: Act, planned: plan.Plan, before: Verdict, root: x509.Certificate) -> Iterator[str]:
    certificate = x509.load_pem_x509_certificate((act.certificate or "").encode())
    other = x509.load_pem_x509_certificate((act.other or "").encode())
    yield from _of_digest("certificate", act.certificate_sha256, certificate)
    yield from _of_digest("other root", act.other_sha256, other)
    found = next((one for one in planned.cross_sign if one.name == act.name), None)
    if found is None:
        yield f"its plan cross-signs nothing by the name {act.name}"
    else:
        yield from fitting.of_other_root(other, root, found)
        yield from fitting.of_cross_sign(certificate, root, found, other)
    if any(one.name == act.name for one in before.acts):
        yield f"{act.name} was signed before"


def _of_crl(act: Act, planned: plan.Plan, before: Verdict, root: x509.Certificate) -> Iterator[str]:
    found = x509.load_pem_x509_crl((act.crl or "").encode())
    yield from _of_digest("revocation list", act.crl_sha256, found)
    if planned.crl is None:
        yield "its plan has no revocation list"
        return
    yield from fitting.of_crl((act.crl or "").encode(), root, planned.crl)
    last = before.last_crl
    if last is not None:
        if crl.number_of(found) <= crl.number_of(last):
            yield f"its number {crl.number_of(found)} is not above that of the list before, {crl.number_of(last)}"
        yield from not_revoked_any_more(before, {entry.serial_number for entry in found}, act.at)


def not_revoked_any_more(before: Verdict, serials: set[int], at: str) -> Iterator[str]:
    """Yield what the list before has and a new one would not: only what expired may leave. RFC 5280 §3.3."""
    ends = {found.serial_number: found.not_valid_after_utc for act in before.acts if (found := before.certificate(act))}
    for entry in before.last_crl or ():
        serial = entry.serial_number
        if serial not in serials and not (serial in ends and clock.rfc3339(ends[serial]) < at):
            yield f"certificate {serial:x} is revoked on the list before, and is to stay so"


def _of_digest(what: str, digest: str | None, made: x509.Certificate | x509.CertificateRevocationList) -> Iterator[str]:
    if digest != digest_of(made):
        yield f"the digest of the {what} is not that of its DER"


def digest_of(made: x509.Certificate | x509.CertificateRevocationList) -> str:
    """Return the SHA-256 of the DER, hexadecimal: what `openssl x509 -fingerprint -sha256` shows."""
    return sha256(made.public_bytes(Encoding.DER)).hexdigest()


def _read(path: Path) -> x509.Certificate | x509.CertificateRevocationList | None:
    data = path.read_bytes()
    for load in (
        x509.load_pem_x509_certificate,
        x509.load_pem_x509_crl,
        x509.load_der_x509_certificate,
        x509.load_der_x509_crl,
    ):
        with suppress(ValueError):
            return load(data)
    return None


def _is_signed(made: x509.Certificate | x509.CertificateRevocationList, root: x509.Certificate) -> bool:
    try:
        if isinstance(made, x509.Certificate):
            made.verify_directly_issued_by(root)
            return True
        return made.is_signature_valid(root.public_key())  # type: ignore[arg-type]  # what is no CA key raises
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
