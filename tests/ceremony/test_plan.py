"""The plan of a ceremony: its mistakes are named with their lines, and only the one that was reviewed counts."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from acme_ca.ceremony.plan import load
from acme_ca.config import ConfigError
from tests.support.offline import Offline


def test_the_template_is_a_good_plan(offline: Offline) -> None:
    offline.plan.write_text(offline.run("plan").stdout)
    result = offline.run("plan", offline.plan, "--json")
    assert json.loads(result.stdout) == {"ok": True, "plan": str(offline.plan), "sha256": offline.digest}
    assert offline.digest in offline.run("plan", offline.plan).stdout
    commented = offline.plan.read_text().replace("# [[crl.revoked]]", "[[crl.revoked]]")
    for setting in ("serial", "reason", "date"):
        commented = commented.replace(f"# {setting} =", f"{setting} =")
    offline.plan.write_text(commented)
    assert [one.serial for one in (load(offline.plan).plan.crl or pytest.fail("no crl")).revoked] == ["1a2b3"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            'common_name = "Corp Root"',
            'comon_name = "x"',
            "3: root.comon_name: there is no such setting; did you mean 'com",
        ),
        ('kind = "ec-p384"', 'kind = "ed25519"', "5: root.kind: should be 'ec-p256'"),
        ("lifetime_days = 3650", "", "1: root: expected lifetime_days, or not_before and not_after"),
        ("lifetime_days = 3650", "not_before = 2026-01-01T00:00:00Z", "1: root: expected lifetime_days, or not_before"),
        (
            "lifetime_days = 3650",
            "not_before = 2026-01-01T00:00:00Z\nnot_after = 2025-01-01T00:00:00Z",
            "1: root: not_after is not later",
        ),
        ("lifetime_days = 3650", "lifetime_days = 0", "6: root.lifetime_days: "),
        ("lifetime_days = 3650", "not_before = 2026-01-01\nnot_after = 2027-01-01T00:00:00Z", "6: root.not_before: "),
        ('type = "software", path', 'type = "software", pth', "7: root.key.pth: there is no such setting"),
        (
            '"http://ca.corp.example:8080/crl',
            '"https://ca.corp.example/crl',
            "16: intermediate[0].crl_url: expected http",
        ),
        ('name = "test-1"', 'name = "prod-1"', "19: intermediate[1].name: 'prod-1' stands there twice"),
        ('name = "test-1"', 'name = "root-corp"', "2: root.name: something that it signs has this name"),
        ('permitted_dns = ["test.corp.example"]', "", "18: intermediate[1]: expected permitted_dns or permitted_ips"),
        ('permitted_dns = ["test.corp.example"]', 'permitted_dns = ["*.a"]', "21: intermediate[1].permitted_dns[0]: "),
        ("next_update_days = 90", "", "24: crl: expected next_update_days or next_update"),
        (
            "next_update_days = 90",
            'next_update_days = 90\n[[crl.revoked]]\nserial = "xyz"\nreason = "lost"\ndate = 2026-01-01T00:00:00Z',
            "28: crl.revoked[0].serial: ",
        ),
        ("[crl]", "[crls]", "24: crls: there is no such setting; did you mean 'crl'?"),
        ("[crl]", "[crl", "24:"),
    ],
)
def test_a_mistake_in_a_plan_is_named_with_its_line(offline: Offline, before: str, after: str, expected: str) -> None:
    offline.edit(before, after)
    for verb in ("create", "sign-crl"):
        assert f"{offline.plan}:{expected}" in offline.refused(verb)
    assert f"{offline.plan}:{expected}" in offline.run("plan", offline.plan).stderr
    with pytest.raises(ConfigError):
        load(offline.plan)


def test_a_plan_that_was_not_reviewed_is_refused(offline: Offline) -> None:
    digest = offline.digest
    offline.edit("Corp Root", "Corp Boot")
    result = offline.run("create", offline.plan, "--yes", "--plan-digest", digest)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"has the digest {offline.digest}, not {digest}: it is not the plan that was reviewed" in result.stderr
    assert not (offline.folder / "safe" / "root.key").exists()
    assert offline.run("create", offline.plan, "--yes").exit_code == 2
    assert "no terminal to ask at" in offline.run("create", offline.plan).stderr
    assert offline.run("create", offline.folder / "nowhere").exit_code == 1
    assert offline.run("create", offline.plan, "--yes", "--plan-digest", offline.digest.upper()).exit_code == 0


@pytest.mark.parametrize(("answer", "exists"), [(b"y\n", True), (b"n\n", False)])
def test_somebody_at_a_terminal_is_asked(offline: Offline, answer: bytes, exists: bool) -> None:  # noqa: FBT001 - a parameter of a test
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "acme_ca", "root", "create", str(offline.plan)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.write(ours, answer)
        output, told = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == (0 if exists else 1), told
    assert f"Its SHA-256  {offline.digest}".encode() in told
    assert b"shall this be done?" in told
    assert (b"Write down the head of the transcript" in output) == exists
    assert offline.root.exists() == offline.transcript.exists() == exists
