"""Rate limits by the admin API and the command line."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from acme_ca import clock, config
from acme_ca.authority import Authority
from acme_ca.cli import cli
from acme_ca.services import rate_limits
from tests.admin.conftest import Api
from tests.support.ca import make_ca_files

PATH = "/environments/prod/limits"


def use_up(ca: Authority, address: str, times: int) -> None:
    """Let a client make accounts."""
    with ca.database.write() as connection:
        for _ in range(times):
            rate_limits.count_account(connection, ca.environments["prod"], address, clock.now())


def test_who_is_limited_is_listed_and_reset(api: Api) -> None:
    use_up(api.ca, "192.0.2.1", 3)
    use_up(api.ca, "192.0.2.2", 1000)
    found = api("GET", PATH).json["items"]
    assert sorted(use["used"] for use in found) == [3, 1000]
    (limited,) = api("GET", f"{PATH}?limited=true").json["items"]
    assert (limited["limit"], limited["count"], limited["seconds"]) == ("new_account_per_address", 1000, 3600)
    url = f"{PATH}/new_account_per_address?subject="
    assert api("DELETE", f"{url}192.0.2.2&dry_run=true").status == 200
    assert len(api("GET", f"{PATH}?limited=true&limit_name=new_account_per_address").json["items"]) == 1
    assert api("DELETE", f"{url}192.0.2.2").json == {"limit": "new_account_per_address"}
    assert api("GET", f"{PATH}?limited=true").json["items"] == []
    api("DELETE", f"{url}192.0.2.2").refused(404)
    api("DELETE", f"{PATH}/new_account_per_address").refused(400)


def test_the_command_line_lists_and_resets(tmp_path: Path) -> None:
    path = make_ca_files(tmp_path)
    ca = Authority(config.load(path))
    use_up(ca, "192.0.2.2", 1000)
    ca.close()

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["limit", *arguments, "--environment", "prod", "--config", str(path)])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "new_account_per_address" in run("list")
    (use,) = json.loads(run("list", "--json"))
    assert "is forgotten" in run("reset", use["limit"], "192.0.2.2")
    assert "Nobody is limited" in run("list")
