"""`acme-ca crl`."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from acme_ca import config
from acme_ca.authority import Authority
from acme_ca.cli import cli
from acme_ca.services import crls
from tests.support.ca import make_ca_files


def test_lists_are_shown_and_made_anew(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["crl", *arguments, "--config", str(path)])

    assert "no revocation lists yet" in run("list").output
    ca = Authority(config.load(path))
    crls.publish_due(ca)
    ca.close()
    assert "prod-1" in run("list").output
    found = json.loads(run("list", "--json").stdout)
    assert [crl["issuer"] for crl in found] == ["dev-1", "prod-1", "test-1"]
    assert run("regenerate", "test-1").stdout == "The worker makes anew: test-1\n"
    assert json.loads(run("regenerate", "test-1", "--json").stdout) == {"crls": ["test-1"]}
    refused = run("regenerate", "none")
    assert (refused.exit_code, "none" in refused.output) == (1, True)
