"""`acme-ca serve`: the listeners and the worker under a supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca.cli.options import SETTINGS, config_option, refuse

if TYPE_CHECKING:
    from acme_ca.server.children import Role

ROLES: tuple[Role, ...] = ("signer", "acme", "status", "admin", "worker")
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@click.command(**SETTINGS)
@config_option
@click.option(
    "--only",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    help="Serve only this; repeatable. Default: everything.",
)
@click.option("--child", is_flag=True, hidden=True, help="Take orders from the supervisor on standard input.")
def serve(config_path: Path, roles: tuple[Role, ...], child: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Serve ACME and the admin API over HTTPS, the status listener over plain HTTP, and do the work beside requests.

    With [signer], a process of its own has the issuers' keys, and the others ask it; `acme-ca signer` runs it apart.

    SIGTERM and SIGINT let requests at hand finish. SIGHUP reads the configuration again; when something is wrong with
    it, the one before stays in use and the log says why. The HTTPS listener's certificate is renewed in place.
    """
    if child:
        from acme_ca.server import children

        children.run(children.Orders.model_validate_json(sys.stdin.buffer.read()))
        return
    from acme_ca.cli.opening import load_or_refuse

    config = load_or_refuse(config_path)
    if config.listener.admin is None and "admin" in roles:
        refuse("there is no [listener.admin] in the configuration")
    if config.signer is None and "signer" in roles:
        refuse("there is no [signer] in the configuration")
    _keep_metrics_in(config.state / "metrics")
    from acme_ca import logs
    from acme_ca.server.supervisor import StartError, Supervisor

    logs.configure(config.log)
    try:
        Supervisor(config, config_path.absolute(), tuple(dict.fromkeys(roles)) or ROLES).run()
    except StartError as error:
        refuse(str(error))


def _keep_metrics_in(folder: Path) -> None:
    """Let all processes count into one folder. It has to be there, and named, when `metrics` is first imported."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"{folder}: {error.strerror}")
    os.environ[METRICS_FOLDER] = str(folder)
