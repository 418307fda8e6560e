"""The command line as a whole: lazy, helpful, and with documented exit codes."""

import subprocess
import sys
from importlib.util import find_spec

import click
import pytest
from click.testing import CliRunner

from acme_ca.cli import COMMANDS, EXIT_CODES, cli

HEAVY = ("pydantic", "cryptography", "sqlalchemy", "flask", "rich", "prometheus_client")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom acme_ca.__main__ import main\ntry:\n    main()\nfinally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_tells_its_exit_codes(name: str) -> None:
    assert find_spec(f"acme_ca.cli.{name.replace('-', '_')}")
    result = CliRunner().invoke(cli, [name, "--help"], terminal_width=200)
    assert result.exit_code == 0
    assert EXIT_CODES in result.output
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Group) or "--config" in result.output or name == "init"


@pytest.mark.parametrize("arguments", [["nonsense"], ["config", "nonsense"], ["init", "--nonsense"], ["--nonsense"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_version_is_shown() -> None:
    assert CliRunner().invoke(cli, ["--version"], prog_name="acme-ca").output.startswith("acme-ca 0.")


def test_words_are_completed() -> None:
    """As docs/how-to/operate.md tells shells to ask."""
    environ = {"_ACME_CA_COMPLETE": "bash_complete", "COMP_WORDS": "acme-ca cert re", "COMP_CWORD": "2"}
    result = CliRunner().invoke(cli, [], env=environ, prog_name="acme-ca")
    assert "plain,revoke" in result.output.splitlines()
