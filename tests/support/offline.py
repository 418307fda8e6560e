"""A ceremony in a folder: a plan, requests, and the commands as people give them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from acme_ca.cli import cli
from acme_ca.keys import PrivateKey
from acme_ca.pki.ca import name_of
from acme_ca.pki.csr import make_for_authority

PLAN = """\
[root]
name = "root-corp"
common_name = "Corp Root"
organization = "Corp"
kind = "ec-p384"
lifetime_days = 3650
key = { type = "software", path = "safe/root.key", passphrase = "file:safe/passphrase" }

[[intermediate]]
name = "prod-1"
common_name = "Corp prod-1"
permitted_dns = ["prod.corp.example"]
permitted_ips = ["10.0.0.0/8"]
lifetime_days = 365
issuer_url = "http://ca.corp.example:8080/ca/prod/root.der"
crl_url = "http://ca.corp.example:8080/crl/root-corp.crl"

[[intermediate]]
name = "test-1"
common_name = "Corp test-1"
permitted_dns = ["test.corp.example"]
lifetime_days = 365

[crl]
number = "sequence"
next_update_days = 90
"""


@dataclass(frozen=True)
class Offline:
    """The machine that is offline."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path, plan: str = PLAN) -> Offline:
        """Write a plan; there is a medium for the root's key."""
        (folder / "safe").mkdir(parents=True)
        made = cls(folder)
        made.plan.write_text(plan)
        return made

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.folder / "plan.toml"

    @property
    def transcript(self) -> Path:
        """The transcript."""
        return self.folder / "root-corp.transcript.jsonl"

    @property
    def root(self) -> Path:
        """The root's certificate."""
        return self.folder / "root-corp.pem"

    @property
    def digest(self) -> str:
        """What was reviewed."""
        return sha256(self.plan.read_bytes()).hexdigest()

    def edit(self, before: str, after: str) -> None:
        """Change the plan."""
        text = self.plan.read_text()
        assert before in text
        self.plan.write_text(text.replace(before, after, 1))

    def run(self, verb: str, *arguments: object) -> Result:
        """Give a command as it is."""
        return CliRunner().invoke(cli, ["root", verb, *map(str, arguments)])

    def act(self, verb: str, *arguments: object) -> Result:
        """Give a command for the plan, agreed to by its digest."""
        return self.run(verb, self.plan, *arguments, "--yes", "--plan-digest", self.digest, "--json")

    def done(self, verb: str, *arguments: object) -> dict[str, Any]:
        """Do so, and it works."""
        result = self.act(verb, *arguments)
        assert result.exit_code == 0, result.output
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def refused(self, verb: str, *arguments: object) -> str:
        """Do so, and it is refused: nothing is written. Returns why."""
        before = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        result = self.act(verb, *arguments)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()} == before
        return result.stderr

    def request(self, name: str, key: PrivateKey | None = None, common_name: str | None = None) -> Path:
        """A request in a file."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        request = make_for_authority(key, name_of(common_name or f"Corp {name}", []), (f"{name}.example",), ())
        path = self.folder / f"{name}.csr"
        path.write_bytes(request.public_bytes(Encoding.PEM))
        return path

    def whole(self) -> Offline:
        """Hold the whole ceremony."""
        self.done("create")
        for name in ("prod-1", "test-1"):
            self.done("sign-intermediate", self.request(name), "--name", name)
        self.done("sign-crl")
        return self
