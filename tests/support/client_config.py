"""A CA whose configuration has something for every client of `acme-ca client-config`, and what the command prints."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from pathlib import Path

from click.testing import CliRunner, Result

from acme_ca.cli import cli
from tests.support.ca import make_ca_files

URL = "https://ca.corp.example:8443"
DIRECTORY = f"{URL}/acme/prod/directory"
NAMES = ("app.prod.corp.example", "www.prod.corp.example")
KID, KEY = "0123456789", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OWN = """
[profile.server-90d]
description = "TLS server, 90 days"
lifetime = 7776000
extended_key_usages = ["serverAuth"]
revocation = "crl"

[profile.odd]
description = "TLS server, for a time that no client counts in"
lifetime = 5401
extended_key_usages = ["serverAuth"]
revocation = "none"
"""
TERMS = "https://corp.example/terms?a=1&b='2'"


def make(folder: Path) -> Path:
    """An environment for everybody, one that requires external account binding, and one for appliances."""
    options = [word for name in ("prod", "bound", "infra") for word in ("--environment", name)]
    path = make_ca_files(folder, "--external-url", URL, "--domain", "corp.example", *options)
    head, prod, bound, infra = re.split(r"(?=^\[environment\.\w+\]$)", path.read_text(), flags=re.MULTILINE)
    prod = prod.replace('"server-8h"]', '"server-8h", "server-7d", "odd"]')
    bound = bound.replace("external_account_required = false", "external_account_required = true")
    infra = re.sub("^profiles = .*$", 'profiles = ["server-90d"]', infra, flags=re.MULTILINE)
    infra = infra.replace(
        'default_profile = "server-1h"', f'default_profile = "server-90d"\nterms_of_service = "{TERMS}"'
    )
    path.write_text(head + prod + bound + infra + OWN)
    return path


def run(path: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["client-config", "--config", str(path), *map(str, arguments)])


def answer(path: Path, client: str, *options: str | Path, environment: str = "prod") -> dict[str, str]:
    """The files by name, for NAMES."""
    named = [word for name in NAMES for word in ("--name", name.replace("prod", environment))]
    result = run(path, client, "--environment", environment, *named, *options, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["client"], document["environment"]) == (client, environment)
    return {file["name"]: file["text"] for file in document["files"]}


def bound_by(key_file: Path) -> tuple[str | Path, ...]:
    return ("--eab-kid", KID, "--eab-key-file", key_file)


def unit(text: str) -> ConfigParser:
    parser = ConfigParser(strict=True)
    parser.read_string(text)
    return parser
