"""`acme-ca config`: is the configuration file good, and what may stand in it."""

from __future__ import annotations

from pathlib import Path

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json
from acme_ca.config import Config, ConfigError, json_schema, load


@click.group(**SETTINGS)
def config() -> None:
    """Check the configuration file, or print its JSON Schema."""


@config.command(**SETTINGS)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, config_path: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Name every mistake in the configuration file, each with its line.

    The files that it names have to be there; keys are not opened.
    """
    try:
        found = load(config_path)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "mistakes": [mistake.document() for mistake in error.mistakes]})
        else:
            click.echo(str(error), err=True)
        ctx.exit(1)
    if as_json:
        print_json({"ok": True, "mistakes": []})
    else:
        click.echo(f"{config_path}: good. {_summary(found)}")


@config.command(**SETTINGS)
def schema() -> None:
    """Print the JSON Schema of the configuration file; editors complete and check TOML by it."""
    print_json(json_schema())


def _summary(found: Config) -> str:
    return f"Environments: {', '.join(found.environment)}; ACME on {found.listener.acme.bind}."
