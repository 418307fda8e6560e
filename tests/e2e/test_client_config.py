"""What `acme-ca client-config` prints, used as it is: clients get certificates by it."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import checks
from tests.e2e.ca import ACME_CA, BOUND, OPEN, Ca
from tests.e2e.drivers.caddy import Caddy
from tests.e2e.drivers.mod_md import ModMd
from tests.e2e.scenario import Eab, Issued, Wish, run
from tests.support.tools import require_tool, venv_tool

pytestmark = pytest.mark.timeout(300)

both = pytest.mark.parametrize("is_bound", [False, True], ids=["open", "bound"])


@dataclass(frozen=True)
class Printed:
    """What the command printed, and for which names."""

    names: tuple[str, ...]
    files: dict[str, str]
    eab: Eab | None


@pytest.fixture
def printed(ca: Ca, tmp_path: Path) -> Callable[..., Printed]:
    """Run the command as an operator does, with a key of the CA's where accounts have to be bound."""

    def ask(client: str, *options: str, is_bound: bool) -> Printed:
        zone = ca.zone(bound=is_bound)
        names = tuple(f"{label}.configured-{client.replace('_', '-')}.{zone}" for label in ("a", "b"))
        words: list[str | Path] = [word for name in names for word in ("--name", name)]
        eab = ca.new_eab() if is_bound else None
        if eab:
            key_file = tmp_path / "mac-key"
            key_file.write_text(eab.secret)
            words += ["--eab-kid", eab.kid, "--eab-key-file", key_file]
        environment = BOUND if is_bound else OPEN
        where = ("--config", ca.config, "--environment", environment, "--root", ca.root, "--json")
        document = json.loads(run(*ACME_CA, "client-config", client, *where, *words, *options))
        return Printed(names, {file["name"]: file["text"] for file in document["files"]}, eab)

    return ask


def check(ca: Ca, issued: Issued, names: Sequence[str], folder: Path) -> None:
    checks.names_are(issued, names)
    checks.chain_verifies(issued, ca.root, names, folder)


def shell(text: str, program: Path, folder: Path, *options: str) -> None:
    """Run a printed script, which finds the program with options of the test's own."""
    found = folder / "bin" / program.name
    found.parent.mkdir(exist_ok=True)
    found.write_text(f'#!/bin/sh\nexec {shlex.join((str(program), *options))} "$@"\n')
    found.chmod(0o755)
    run("bash", "-eu", "-c", text, env={"PATH": f"{found.parent}:{os.environ['PATH']}"})


@both
def test_certbot(ca: Ca, printed: Callable[..., Printed], is_bound: bool, tmp_path: Path) -> None:  # noqa: FBT001 - pytest passes it by name
    found = printed("certbot", "--profile", "server-8h", is_bound=is_bound)
    folders = [f"--{kind}-dir={tmp_path / kind}" for kind in ("config", "work", "logs")]
    port = (f"--http-01-port={ca.http_port}", "--http-01-address=127.0.0.1")
    shell(found.files["certbot.sh"], venv_tool("certbot"), tmp_path, *folders, *port)
    live = tmp_path / "config" / "live" / found.names[0]
    issued = Issued(live / "fullchain.pem", live / "privkey.pem")
    check(ca, issued, found.names, tmp_path)
    before = issued.serial

    service = found.files["certbot-acme-ca.service"]
    (renew,) = re.findall("^Environment=(.*)\\nExecStart=(.*)$", service, re.MULTILINE)
    shell(" ".join(renew), venv_tool("certbot"), tmp_path, *folders)
    assert issued.serial == before, "it is not due"
    shell(" ".join(renew), venv_tool("certbot"), tmp_path, *folders, "--force-renewal")
    check(ca, issued, found.names, tmp_path)
    assert issued.serial != before


@both
def test_lego_4(ca: Ca, printed: Callable[..., Printed], is_bound: bool, tmp_path: Path) -> None:  # noqa: FBT001 - pytest passes it by name
    found = printed("lego", is_bound=is_bound)
    option = f"--http.port=127.0.0.1:{ca.http_port}"
    files = {name: text.replace("/var/lib/lego", str(tmp_path / "lego")) for name, text in found.files.items()}
    shell(files["lego-4.sh"], require_tool("lego"), tmp_path, option)
    stem = tmp_path / "lego" / "certificates" / found.names[0]
    issued = Issued(stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key"))
    check(ca, issued, found.names, tmp_path)
    before = issued.serial
    shell(files["lego-4-renew.sh"], require_tool("lego"), tmp_path, option)
    check(ca, issued, found.names, tmp_path)
    assert issued.serial != before, "an hour is less than a day: it is renewed on every run"


class ConfiguredCaddy(Caddy):
    """Caddy with the printed file, to which the test adds where to listen and where to store."""

    text: str

    def caddyfile(self, wish: Wish, ratio: float) -> str:
        del wish, ratio
        ports = f"http_port {self.ca.http_port}\n https_port {self.ca.tls_port}"
        storage = f"storage file_system {self.home}/storage\n skip_install_trust\n admin off"
        assert self.text.startswith("{\n")
        text = self.text.replace("{\n", f"{{\n default_bind 127.0.0.1\n {ports}\n {storage}\n", 1)
        return text.replace("cert_issuer", "auto_https disable_redirects\n cert_issuer", 1)


@both
def test_caddy(ca: Ca, printed: Callable[..., Printed], is_bound: bool, tmp_path: Path) -> None:  # noqa: FBT001 - pytest passes it by name
    found = printed("caddy", "--profile", "server-8h", is_bound=is_bound)
    client = ConfiguredCaddy(ca, tmp_path / "home")
    client.text = found.files["Caddyfile"]
    for name in found.names:
        check(ca, client.issue(Wish((name,), "http-01")), (name,), tmp_path)


class ConfiguredModMd(ModMd):
    """httpd with the printed file, to which the test adds modules, ports and folders."""

    text: str

    def httpd_conf(self, wish: Wish, window: str) -> str:
        ordinary = super().httpd_conf(wish, window)
        frame = [line for line in ordinary.splitlines() if not line.startswith(("MDC", "MDR", "MDP", "MDomain"))]
        body = "\n".join(frame).partition("<VirtualHost")[0]
        ports = f"MDPortMap http:{self.ca.http_port} https:{self.ca.tls_port}"
        text = self.text.replace(str(self.ca.root), f"{self.home}/root.pem")
        return f"{body}\n{ports}\n{text.replace('*:443', f'127.0.0.1:{self.ca.tls_port}')}"


@both
def test_mod_md(ca: Ca, printed: Callable[..., Printed], is_bound: bool, tmp_path: Path) -> None:  # noqa: FBT001 - pytest passes it by name
    ModMd.version()
    found = printed("mod_md", "--profile", "server-8h", is_bound=is_bound)
    client = ConfiguredModMd(ca, tmp_path / "home")
    client.text = found.files["acme-ca.conf"]
    check(ca, client.issue(Wish(found.names, "http-01")), found.names, tmp_path)
