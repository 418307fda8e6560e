"""docs/how-to/signer.md: what it shows fits the configuration and the command."""

from __future__ import annotations

import configparser
from pathlib import Path

from acme_ca.cli import COMMANDS
from acme_ca.config import load
from tests.support.ca import make_ca_files

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "files"


def test_the_unit_runs_the_signer_where_the_settings_look_for_it(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path)
    with path.open("a") as file:
        file.write("\n" + (FILES / "signer.toml").read_text())
    signer = load(path).signer
    assert signer is not None
    assert signer.socket is not None
    unit = configparser.RawConfigParser(strict=False)
    unit.read(FILES / "signer.service")
    service = unit["Service"]
    assert signer.socket.parent == Path("/run") / service["RuntimeDirectory"]
    assert service["User"] not in signer.users
    assert service["ExecStart"].split()[1] in COMMANDS
