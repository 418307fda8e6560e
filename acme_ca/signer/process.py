"""A process that is the signer: `acme-ca signer`, or a child of `acme-ca serve`."""

from __future__ import annotations

import socket
from collections.abc import Callable

import structlog

from acme_ca import keys
from acme_ca.config import Config
from acme_ca.signer.desk import Desk
from acme_ca.signer.server import Server

log = structlog.get_logger(__name__)


def prepare(config: Config, listening: socket.socket) -> Server:
    """Open the keys and be ready to answer; raises what opening keys does."""
    desk = Desk(config)
    try:
        server = Server(config, listening, desk)
    except BaseException:
        desk.close()
        raise
    if config.signer is not None:
        config.signer_socket.chmod(int(config.signer.mode, 8))
    log.info("signer.ready", socket=str(config.signer_socket), issuers=desk.issuers)
    return server


def renew(server: Server, config: Config) -> None:
    """Answer by another configuration from now on; raises what opening keys does, and then nothing has changed."""
    desk = Desk(config)
    try:
        server.configure(config)
    except BaseException:
        desk.close()
        raise
    before, server.desk = server.desk, desk
    before.close()  # what is being signed by it opens what it needs once more
    log.info("signer.reloaded", issuers=server.desk.issuers)


def run(server: Server, stopping: Callable[[], bool]) -> None:
    """Answer until `stopping`."""
    try:
        server.run(stopping)
    finally:
        server.desk.close()
        keys.let_go()
        log.info("signer.stopped")
