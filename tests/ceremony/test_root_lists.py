"""Revocation lists of an offline root, also of one that `acme-ca init` made."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from acme_ca.cli import cli
from tests.support.ca import make_ca_files
from tests.support.corporate import openssl
from tests.support.offline import PLAN, Offline


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


REVOKED = '\n[[crl.revoked]]\nserial = "{serial:x}"\nreason = "{reason}"\ndate = {date}\n'


def revoke(offline: Offline, serial: int, reason: str = "keyCompromise", date: str = "2026-01-01T00:00:00Z") -> None:
    offline.plan.write_text(offline.plan.read_text() + REVOKED.format(serial=serial, reason=reason, date=date))


def test_a_list_revokes_for_good_and_openssl_sees_it(offline: Offline) -> None:
    offline.whole()
    serial = certificate(offline.folder / "prod-1.pem").serial_number
    revoke(offline, serial)
    offline.done("sign-crl")
    text = openssl("crl", "-in", offline.folder / "root-corp.2.crl", "-noout", "-text")
    assert f"{serial:X}" in text
    assert "Key Compromise" in text
    before = offline.plan.read_text()
    offline.plan.write_text(PLAN)
    assert f"certificate {serial:x} is revoked on the list before, and is to stay so" in offline.refused("sign-crl")
    offline.plan.write_text(before)
    revoke(offline, 0xABCDEF, "cACompromise")
    result = offline.act("sign-crl")
    assert "Note: no act of the transcript signed certificate abcdef" in result.stderr
    assert (offline.folder / "root-corp.3.crl").exists()
    assert offline.run("verify", offline.transcript).exit_code == 0


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('number = "sequence"', "number = 1", "number 1 (1) is not above that of the list before, 1"),
        ("next_update_days = 90", "next_update_days = 4000", "is not between now and"),
        ("next_update_days = 90", "next_update = 2026-01-01T00:00:00Z", "is not between now and"),
        ('[crl]\nnumber = "sequence"\nnext_update_days = 90\n', "", "has no table [crl]"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(offline: Offline, before: str, after: str, reason: str) -> None:
    offline.whole()
    offline.edit(before, after)
    assert reason in offline.refused("sign-crl")


def test_nothing_is_revoked_in_the_future(offline: Offline) -> None:
    offline.done("create")
    revoke(offline, 1, date=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert "which is in the future" in offline.refused("sign-crl")
    offline.plan.write_text(PLAN)
    revoke(offline, 0xA)
    revoke(offline, 0xA)
    assert "crl.revoked[1].serial: 'a' stands there twice" in offline.refused("sign-crl")


def test_numbers_of_lists_follow_the_rule(offline: Offline) -> None:
    offline.done("create")
    offline.edit('number = "sequence"', "number = 7")
    offline.done("sign-crl")
    offline.edit("number = 7", 'number = "sequence"')
    offline.done("sign-crl")
    offline.edit('number = "sequence"', 'number = "time"')
    offline.done("sign-crl")
    numbers = sorted(int(path.name.split(".")[1]) for path in offline.folder.glob("*.crl"))
    assert numbers[:2] == [7, 8]
    assert abs(numbers[2] - datetime.now(UTC).timestamp()) < 3600
    assert "is not above" not in offline.run("verify", offline.transcript).stderr


def test_the_root_of_init_is_adopted_and_its_list_renewed(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path / "ca", "--environment", "prod")
    plan = PLAN.replace("Corp Root", "localhost root").replace('organization = "Corp"', 'organization = "acme-ca"')
    offline = Offline.prepare(tmp_path / "offline", plan)
    assert f"there is no {offline.root}: put the root's certificate there" in offline.refused("adopt")
    shutil.copy(path.parent / "certificates" / "root.pem", offline.root)
    assert "safe/root.key: No such file" in offline.refused("adopt")
    for name in ("root.key", "passphrase"):
        shutil.copy(path.parent / "keys" / name, offline.folder / "safe" / name)
    offline.done("adopt")
    assert "the numbers of its earlier lists are in no transcript" in offline.refused("sign-crl")
    offline.edit('number = "sequence"', 'number = "time"')
    made = offline.done("sign-crl")
    shutil.copy(made["files"][-1], path.parent / "certificates" / "root-1.crl")
    assert CliRunner().invoke(cli, ["config", "check", "--config", str(path)]).exit_code == 0
    assert offline.run("verify", offline.transcript, "--made", made["files"][-1]).exit_code == 0
    assert "exists already" in offline.refused("adopt")


def test_what_is_to_be_adopted_has_to_be_as_the_plan_says(offline: Offline, tmp_path: Path) -> None:
    other = Offline.prepare(tmp_path / "other", PLAN.replace("Corp Root", "Other Root"))
    other.done("create")
    shutil.copy(other.root, offline.root)
    assert "its subject is CN=Other Root,O=Corp, expected CN=Corp Root,O=Corp" in offline.refused("adopt")
    offline.root.write_text("nothing")
    assert "is no certificate in PEM" in offline.refused("adopt")
