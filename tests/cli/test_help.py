"""The help of every noun and verb waits for nothing that only their work needs."""

import subprocess
import sys

from acme_ca.cli import COMMANDS

HEAVY = (
    *("flask", "sqlalchemy", "cryptography", "pydantic"),
    *("structlog", "gunicorn", "rich", "prometheus_client"),
)
PROGRAM = f"""
import sys
import click
from acme_ca.cli import cli

def help_of(command, context):
    print(context.command_path, len(command.get_help(context)), sep="\\t")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            help_of(verb, click.Context(verb, info_name=name, parent=context))

help_of(cli, click.Context(cli, info_name="acme-ca"))
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def test_help_of_nouns_and_verbs_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    *told, loaded = done.stdout.splitlines()
    lengths = {path: int(length) for path, length in (line.split("\t") for line in told)}
    assert lengths.keys() >= {f"acme-ca {noun}" for noun in COMMANDS} | {"acme-ca policy shadow report"}
    assert all(lengths.values())
    assert loaded == "[]"
