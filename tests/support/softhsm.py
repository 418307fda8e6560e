"""SoftHSM: tokens of the tests' own, which can be taken out and put back."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from acme_ca.keys import Pkcs11Key
from acme_ca.keys.pkcs11_uri import Pkcs11Uri
from acme_ca.secret import Secret
from tests.support.tools import require_tool

PIN = "1234567"
CONFIGURATION = "SOFTHSM2_CONF"


@dataclass(frozen=True)
class Token:
    """A token; `folder` has its objects."""

    label: str
    folder: Path
    pin_file: Path
    module: Path

    def key(self, label: str, **more: object) -> Pkcs11Key:
        """A key in it, be it there or not."""
        uri = Pkcs11Uri(token=self.label, label=label)
        values = {
            "type": "pkcs11",
            "uri": uri,
            "module": self.module,
            "pin": Secret("file", str(self.pin_file)),
            **more,
        }
        return Pkcs11Key.model_validate(values)

    @property
    def options(self) -> tuple[str, ...]:
        """What lets `acme-ca init` keep keys in it."""
        pin = f"file:{self.pin_file}"
        return ("--pkcs11-module", str(self.module), "--pkcs11-token", self.label, "--pkcs11-pin", pin)

    def take_out(self) -> None:
        """Let it be away: for libraries that look, and for those that have it open."""
        self.folder.rename(self._elsewhere)

    def put_back(self) -> None:
        """As it was; what the library may have written in its place in the meantime is none of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._elsewhere.rename(self.folder)

    @property
    def _elsewhere(self) -> Path:
        return self.folder.parents[1] / f"{self.folder.name}-taken"


class SoftHsm:
    """A SoftHSM configuration. The library reads it when it is initialized, by an environment variable."""

    def __init__(self, folder: Path) -> None:
        self.module = require_tool("softhsm")
        self.configuration = folder / "softhsm2.conf"
        self._folder = folder
        self._tokens = folder / "tokens"
        self._tokens.mkdir(parents=True)
        self.configuration.write_text(f"directories.tokendir = {self._tokens}\nlog.level = ERROR\n")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, CONFIGURATION: str(self.configuration)}

    def token(self, label: str) -> Token:
        """Initialize a new token."""
        before = set(self._tokens.iterdir())
        words = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "7654321"]
        subprocess.run(
            [require_tool("softhsm2-util"), *words], env=self.environment, check=True, capture_output=True, timeout=60
        )
        (folder,) = set(self._tokens.iterdir()) - before
        pin_file = self._folder / f"{label}.pin"
        pin_file.write_text(f"{PIN}\n")
        pin_file.chmod(0o600)
        return Token(label, folder, pin_file, self.module)
