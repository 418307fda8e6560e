"""`acme-ca doctor`: what is wrong with this CA, seen from its host. docs/doctor.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca import clock
from acme_ca.cli.options import SETTINGS, config_option, json_option, log_to_standard_error, print_json, refuse

if TYPE_CHECKING:
    from acme_ca.doctor import Finding


@click.command(**SETTINGS)
@config_option
@click.option("--environment", "chosen", multiple=True, help="Only this one; repeatable. Default: all.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=20.0, show_default=True, help="Seconds for a check."
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, config_path: Path, chosen: tuple[str, ...], timeout: float, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Look for what is wrong with this CA: configuration, network, keys, listeners, database. Changes nothing.

    Each finding has a code, which docs/doctor.md explains. The exit code is 1 if there is an error among them.
    """
    log_to_standard_error()
    found = _examine(config_path, chosen, timeout)
    if as_json:
        print_json({"ok": not _has_errors(found), "findings": [finding.document() for finding in found]})
    else:
        _print(found)
    ctx.exit(1 if _has_errors(found) else 0)


def _examine(path: Path, chosen: tuple[str, ...], timeout: float) -> list[Finding]:
    from acme_ca.config import ConfigError, load
    from acme_ca.doctor import CHECKS, Finding, Host, examine

    try:
        config = load(path)
    except ConfigError as error:
        return [
            Finding("CFG001", mistake.setting or str(path), str(mistake), "no mistake") for mistake in error.mistakes
        ]
    if unknown := set(chosen) - set(config.environment):
        refuse(f"there is no environment {min(unknown)!r}; there are {', '.join(config.environment)}")
    host = Host(config, chosen or tuple(config.environment), clock.now(), min(timeout, 5.0))
    found: list[Finding] = []
    for number, check in enumerate(CHECKS, 1):
        click.echo(f"[{number}/{len(CHECKS)}] looking at {check.what}", err=True)
        found += examine(check, host, timeout)
    order = ("error", "warning", "info")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _has_errors(found: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in found)


def _print(found: list[Finding]) -> None:
    from acme_ca.doctor import CODES

    for finding in found:
        kind = CODES[finding.code]
        click.echo(f"{finding.code} {finding.severity}: {kind.meaning} ({finding.place})")
        click.echo(f"  seen      {finding.seen}\n  expected  {finding.expected}\n  fix       {kind.fix}\n")
    counts = Counter(finding.severity for finding in found)
    click.echo(", ".join(f"{counts[kind]} {kind}" for kind in ("error", "warning", "info")))
