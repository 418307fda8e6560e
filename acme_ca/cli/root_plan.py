"""`acme-ca root plan`: a plan to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from acme_ca.cli.options import SETTINGS, json_option, print_json


@click.command(**SETTINGS)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@json_option
def plan(file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Print a commented plan, to be changed and reviewed; with FILE, check that one and print its digest."""
    if file is None:
        from acme_ca.ceremony.template import TEMPLATE

        click.echo(TEMPLATE, nl=False)
        return
    from acme_ca.cli.root_acts import load_or_refuse

    digest = load_or_refuse(file).digest
    if as_json:
        print_json({"ok": True, "plan": str(file), "sha256": digest})
    else:
        click.echo(f"{file}: good. SHA-256 {digest}")
