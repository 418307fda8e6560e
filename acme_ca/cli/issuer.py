"""`acme-ca issuer`: the issuers of the configuration. Each verb is a module of its own."""

from __future__ import annotations

import click

from acme_ca.cli import issuer_csr, issuer_distrust, issuer_import, issuer_sub_cas
from acme_ca.cli.options import SETTINGS


@click.group(**SETTINGS)
def issuer() -> None:
    """Have certificates of issuers signed elsewhere, and CAs of meshes by them; end an issuer that was compromised."""


for command in (issuer_csr.csr, issuer_import.import_, *issuer_sub_cas.COMMANDS, *issuer_distrust.COMMANDS):
    issuer.add_command(command)
