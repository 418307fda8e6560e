"""How commands ask the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from click import ClickException
from click.testing import CliRunner

from acme_ca.cli import cli
from acme_ca.cli.client import Api, Reply


@pytest.mark.parametrize(
    "url",
    ["https://ca.example:x", "ca.example:8444", "http://ca.example", "https://", "https://[::1", "", "https://:1"],
)
def test_what_is_no_url_of_an_api_is_refused(url: str) -> None:
    result = CliRunner().invoke(cli, ["admin", "list", "--api", url])
    assert result.exit_code == 1
    assert "expected a URL such as https://ca.example:8444" in result.stderr


@dataclass
class Breaking:
    """A way to ask that breaks for some time."""

    breaks: int
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        assert path.startswith("/admin/v1/")
        assert body is None or headers["Content-Type"] == "application/json"
        self.asked.append((method, headers.get("Idempotency-Key")))
        if len(self.asked) <= self.breaks:
            raise ConnectionResetError("it broke")
        return Reply(200, {}, b"{}")


def test_what_acts_is_asked_once_more_with_the_same_key() -> None:
    transport = Breaking(1)
    assert Api(transport).call("POST", "/admins", body={}).document == {}
    (first, again) = transport.asked
    assert first == again
    assert first[1]
    other = Breaking(0)
    Api(other).call("POST", "/admins", body={})
    assert other.asked[0][1] not in (None, first[1])


@pytest.mark.parametrize(("method", "times"), [("POST", 2), ("DELETE", 1)])
def test_a_connection_that_stays_broken_ends_the_command(method: str, times: int) -> None:
    transport = Breaking(9)
    with pytest.raises(ClickException, match="it broke"):
        Api(transport).call(method, "/admins")
    assert len(transport.asked) == times
