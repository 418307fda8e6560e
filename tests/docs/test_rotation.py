"""docs/how-to/rotation.md: its commands are run, by a root whose key is here and by one that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_ceremony import PASSPHRASE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.prepare(tmp_path)


def test_the_next_issuer_of_a_root_that_is_here(desk: Desk) -> None:
    command = ["acme_ca", "init", "--dir", str(desk.ca), "--external-url", "https://ca.corp.example:8443"]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True, env=os.environ)
    assert "prod-2, after prod-1" in desk.run("rotation-plan.sh")
    told = desk.run("rotation-rotate.sh")
    assert "prod-2 is published, and signs from" in told
    assert "staged" in told


def test_the_next_issuer_of_a_root_that_is_offline(desk: Desk) -> None:
    desk.run("ceremony-requests.sh")
    desk.run("ceremony-plan.sh")
    desk.run("ceremony-hold.sh", [PASSPHRASE, *"yyyy"])
    desk.run("ceremony-import.sh", HEAD=desk.head)
    assert "elsewhere: a request is made" in desk.run("rotation-plan.sh")
    assert "prod-2 waits for its certificate" in desk.run("rotation-request.sh")
    assert "5 acts, good" in desk.run("rotation-hold.sh", [PASSPHRASE, "y"])
    told = desk.run("rotation-import.sh", HEAD=desk.head)
    assert "published, and signs from" in told
    assert "staged" in told
