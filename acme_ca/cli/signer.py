"""`acme-ca signer`: the process that holds the issuers' keys, run apart from `acme-ca serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca.cli.options import SETTINGS, config_option, refuse

if TYPE_CHECKING:
    from acme_ca.server.signals import Signals
    from acme_ca.signer.server import Server


@click.command(**SETTINGS)
@config_option
def signer(config_path: Path) -> None:
    """Hold the issuers' keys, and sign for the processes that [signer] in the configuration allows to ask.

    What it signs it has read and checked by itself, with the ledger's claim on the serial. Run it as a user of its own,
    who alone can read the keys, with `start = false` in [signer].

    SIGTERM and SIGINT let what is being signed finish. SIGHUP reads configuration and keys again; when something is
    wrong with them, those before stay in use and the log says why.
    """
    from acme_ca.cli.opening import load_or_refuse

    config = load_or_refuse(config_path)
    if config.signer is None:
        refuse("there is no [signer] in the configuration")
    from acme_ca import logs
    from acme_ca.server.application import NOT_ASSEMBLED
    from acme_ca.server.signals import STOP, Signals
    from acme_ca.server.sockets import listen
    from acme_ca.signer import process

    logs.configure(config.log)
    signals = Signals()
    try:
        (listening,) = listen(config, ("signer",), None).get("signer")
        server = process.prepare(config, listening)
    except NOT_ASSEMBLED as error:
        refuse(str(error))
    _notify("READY=1")
    process.run(server, lambda: _told(signals, server, config_path) in STOP)


def _told(signals: Signals, server: Server, config_path: Path) -> int | None:
    """Return the signal that came, if one did; a reload is done at once."""
    from acme_ca.server.signals import RELOAD

    number = signals.next()
    if number == RELOAD:
        _reload(server, config_path)
    return number


def _reload(server: Server, config_path: Path) -> None:
    import structlog

    from acme_ca.config import ConfigError, load
    from acme_ca.server.application import NOT_ASSEMBLED
    from acme_ca.signer import process

    try:
        process.renew(server, load(config_path))
    except (ConfigError, *NOT_ASSEMBLED) as error:
        log = structlog.get_logger(__name__)
        log.error("config.refused", reason=str(error), serving="the configuration before")  # noqa: TRY400 - no bug


def _notify(state: str) -> None:
    import structlog
    from gunicorn.systemd import sd_notify

    sd_notify(state, structlog.get_logger(__name__))  # for systemd's Type=notify
