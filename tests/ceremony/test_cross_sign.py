"""`acme-ca root cross-sign`: the old root vouches for the new one, and openssl follows either."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from acme_ca import clock
from acme_ca.ceremony.verification import verify
from tests.support.corporate import openssl
from tests.support.offline import Offline
from tests.support.roots import Root, verifies, write

TABLE = """\
[[cross_sign]]
name = "root-2-by-corp"
sha256 = "{sha256}"
lifetime_days = 730
crl_url = "http://ca.corp.example:8080/crl/root-corp.crl"

[crl]
"""


@pytest.fixture
def second() -> Root:
    """The new root."""
    return Root.make("root-2", clock.now() - timedelta(minutes=5))


@pytest.fixture
def planned(offline: Offline, second: Root) -> Path:
    """The new root's certificate, which the plan of the old one names."""
    offline.edit("[crl]\n", TABLE.format(sha256=second.certificate.fingerprint(SHA256()).hex(":").upper()))
    offline.done("create")
    return write(offline.folder / "root-2.crt", second.certificate)


def made(offline: Offline) -> x509.Certificate:
    return x509.load_pem_x509_certificate((offline.folder / "root-2-by-corp.pem").read_bytes())


def test_who_trusts_either_root_verifies_what_is_below_the_new_one(
    offline: Offline, planned: Path, second: Root, tmp_path: Path
) -> None:
    done = offline.done("cross-sign", planned)
    assert done["files"] == [str(offline.transcript), str(offline.folder / "root-2-by-corp.pem")]
    cross, old = made(offline), x509.load_pem_x509_certificate(offline.root.read_bytes())
    assert (cross.subject, cross.issuer) == (second.certificate.subject, old.subject)
    below = second.intermediate("prod-2")
    for chain, roots, expected in (
        ((below, cross), [old], True),
        ((below, cross), [second.certificate], True),
        ((below,), [second.certificate], True),
        ((below,), [old], False),
    ):
        assert verifies(tmp_path / "openssl", chain, roots) is expected
    text = openssl("x509", "-in", offline.folder / "root-2-by-corp.pem", "-noout", "-text")
    assert "CA:TRUE, pathlen:1" in text
    assert "URI:http://ca.corp.example:8080/crl/root-corp.crl" in text


def test_it_is_in_the_transcript_and_can_be_revoked(offline: Offline, planned: Path) -> None:
    offline.done("cross-sign", planned, "--name", "root-2-by-corp")
    verdict = verify(offline.transcript.read_text())
    assert (verdict.findings, [act.act for act in verdict.acts]) == ([], ["root.created", "root.cross_signed"])
    assert verdict.acts[1].other == planned.read_text()
    assert "signed already, in act 2" in offline.refused("cross-sign", planned)
    serial = f"{made(offline).serial_number:x}"
    revoked = f'[[crl.revoked]]\nserial = "{serial}"\nreason = "superseded"\ndate = 2026-01-01T00:00:00Z\n'
    offline.plan.write_text(f"{offline.plan.read_text()}\n{revoked}")
    told = offline.act("sign-crl")
    assert told.exit_code == 0, told.output
    assert f"{serial} (root-2-by-corp): superseded" in told.stderr
    assert verify(offline.transcript.read_text()).findings == []


@pytest.mark.parametrize(
    ("member", "instead", "finding"),
    [
        ("other", None, "cannot be read"),
        ("other_sha256", "0" * 64, "the digest of the other root is not that of its DER"),
        ("name", "root-3", "its plan cross-signs nothing by the name root-3"),
    ],
)
def test_what_was_changed_is_found(
    offline: Offline, planned: Path, member: str, instead: str | None, finding: str
) -> None:
    offline.done("cross-sign", planned)
    first, second = offline.transcript.read_text().splitlines()
    record = json.loads(second)
    record["act"] = {name: value for name, value in (record["act"] | {member: instead}).items() if value is not None}
    changed = json.dumps(record, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    findings = verify(f"{first}\n{changed}\n").findings
    assert any(finding in one for one in findings), findings
    assert any("the root has not signed it" in one for one in findings)


def test_another_root_than_the_reviewed_one_is_refused(offline: Offline, planned: Path, tmp_path: Path) -> None:
    third = Root.make("root-3")
    told = offline.refused("cross-sign", write(tmp_path / "root-3.pem", third.certificate))
    assert "and the plan says" in told
    told = offline.refused("cross-sign", write(tmp_path / "below.pem", third.intermediate("prod-3")))
    assert "it is not self-signed" in told
    assert "it has the key or the name of the root that signs" in offline.refused("cross-sign", offline.root)
    (tmp_path / "nothing.pem").write_text("nothing")
    assert "no certificate in PEM" in offline.refused("cross-sign", tmp_path / "nothing.pem")
    assert "there are: root-2-by-corp" in offline.refused("cross-sign", planned, "--name", "root-9")


def test_it_ends_with_either_root(offline: Offline, planned: Path) -> None:
    offline.edit("lifetime_days = 730", "lifetime_days = 7300")
    assert "is not inside that of" in offline.refused("cross-sign", planned)


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ('name = "root-2-by-corp"', 'name = "prod-1"', "an intermediate has this name"),
        ('name = "root-2-by-corp"', 'name = "root-corp"', "would have the same file"),
        ('sha256 = "ab', 'sha256 = "xy', "cross_sign[0].sha256"),
        ("lifetime_days = 730", "lifetime_days = 730\npath_length = 9", "cross_sign[0].path_length"),
    ],
)
def test_a_mistake_in_the_table_is_named(offline: Offline, before: str, after: str, mistake: str) -> None:
    offline.edit("[crl]\n", TABLE.format(sha256="ab" * 32))
    offline.edit(before, after)
    assert mistake in offline.refused("create")
