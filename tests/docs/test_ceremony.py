"""docs/how-to/ceremony.md: its commands are run, in its order, by somebody at a terminal who says yes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from acme_ca.ceremony.verification import verify
from tests.support import terminal
from tests.support.corporate import Corporate, openssl
from tests.support.tools import require_tool

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "files"
PASSPHRASE = "correct horse battery staple"


@dataclass(frozen=True)
class Desk:
    """The folders of the page, below one of the test's own: that of the CA, the medium of the key, that of files."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> Desk:
        """Lay out the media."""
        for name in ("key", "exchange"):
            (folder / name).mkdir()
        return cls(folder)

    @property
    def ca(self) -> Path:
        """What is /var/lib/acme-ca on the page."""
        return self.folder / "ca"

    @property
    def key(self) -> Path:
        """What is /media/root-1 on the page."""
        return self.folder / "key"

    @property
    def exchange(self) -> Path:
        """Where the commands are run."""
        return self.folder / "exchange"

    @property
    def transcript(self) -> Path:
        """The transcript."""
        return self.exchange / "root-1.transcript.jsonl"

    @property
    def head(self) -> str:
        """What was written down."""
        return verify(self.transcript.read_text()).head

    def run(self, name: str, answers: Sequence[str] = (), **environ: str) -> str:
        """Run a file of the page; what it says."""
        text = (FILES / name).read_text()
        text = text.replace("/var/lib/acme-ca", str(self.ca)).replace("/media/root-1", str(self.key))
        return terminal.run(text, self.exchange, answers, **environ)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.prepare(tmp_path)


def test_the_ceremony_with_a_key_on_a_medium(desk: Desk) -> None:
    desk.run("ceremony-requests.sh")
    told = desk.run("ceremony-plan.sh")
    digest = openssl("dgst", "-sha256", "-r", desk.exchange / "plan.toml").split()[0]
    assert digest in told
    told = desk.run("ceremony-hold.sh", [PASSPHRASE, *"yyyy"])
    assert told.count(digest) == 4
    assert "4 acts, good" in told
    desk.run("ceremony-import.sh", HEAD=desk.head)
    for name in ("service-1", "prod-1"):
        assert (desk.ca / "certificates" / f"{name}.pem").read_bytes() == (desk.exchange / f"{name}.pem").read_bytes()
    desk.run("ceremony-list.sh", [PASSPHRASE, "y"])
    assert len(verify(desk.transcript.read_text()).acts) == 5
    desk.run("ceremony-list-import.sh", HEAD=desk.head)
    newest = max(desk.exchange.glob("root-1.*.crl"), key=lambda path: int(path.name.split(".")[1]))
    assert (desk.ca / "certificates" / "root-1.crl").read_bytes() == newest.read_bytes()


def test_the_ceremony_with_an_hsm(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = str(require_tool("softhsm2-util"))
    (desk.folder / "tokens").mkdir()
    config = desk.folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {desk.folder / 'tokens'}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    command = [tool, "--init-token", "--free", "--label", "root-1", "--so-pin", "12345678", "--pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True)
    desk.run("ceremony-requests.sh")
    desk.run("ceremony-plan.sh")
    if not knows_pkcs11(desk):
        pytest.skip("keys in PKCS#11 tokens are not known yet")
    assert "4 acts, good" in desk.run("ceremony-hsm.sh", ["87654321", *"yyyy"])
    desk.run("ceremony-import.sh", HEAD=desk.head)


def knows_pkcs11(desk: Desk) -> bool:
    """Whether a plan may have such a key."""
    plan = desk.folder / "hsm.toml"
    text = (desk.exchange / "plan.toml").read_text()
    key = next(line for line in (FILES / "ceremony-hsm.sh").read_text().splitlines() if line.startswith("sed "))
    plan.write_text(text.replace(text[text.index("key = ") : text.index("\n\n[[inter")], key.split("|")[2]))
    command = [sys.executable, "-m", "acme_ca", "root", "plan", str(plan)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_a_root_that_init_made_is_adopted(desk: Desk) -> None:
    command = ["acme_ca", "init", "--dir", str(desk.ca), "--external-url", "https://ca.corp.example:8443", "--json"]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    shutil.move(desk.ca / "keys" / "root.key", desk.key / "root.key")
    shutil.copy(desk.ca / "certificates" / "root.pem", desk.exchange / "root-1.pem")
    passphrase = (desk.ca / "keys" / "passphrase").read_text().strip()
    desk.run("ceremony-adopt.sh", [passphrase, *"yy"])
    desk.run("ceremony-list-import.sh", HEAD=desk.head)


def test_a_corporate_root_signs(desk: Desk) -> None:
    desk.run("ceremony-requests.sh")
    corporate = Corporate.make(desk.folder / "corporate")
    shutil.copy(corporate.certificate_file, desk.exchange / "corp-root.pem")
    for name in ("service-1", "prod-1"):
        corporate.sign(desk.exchange / f"{name}.csr", desk.exchange / f"{name}.crt")
    desk.run("ceremony-corporate.sh")
    config = desk.ca / "acme-ca.toml"
    config.write_text(config.read_text().replace('root_crl = "certificates/root-1.crl"\n', ""))
    command = [sys.executable, "-m", "acme_ca", "config", "check", "--config", str(config), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"ok": True, "mistakes": []}
