"""`acme-ca issuer`: the issuers of the configuration. Each verb is a module of its own."""

from __future__ import annotations

import click

from acme_ca.cli import issuer_csr, issuer_distrust, issuer_import, issuer_list, issuer_rotate, issuer_sub_cas
from acme_ca.cli.options import SETTINGS


@click.group(**SETTINGS)
def issuer() -> None:
    """List and rotate issuers, have their certificates signed elsewhere, sign CAs of meshes; end a compromised one."""


for command in (
    issuer_list.list_,
    issuer_rotate.rotate,
    issuer_csr.csr,
    issuer_import.import_,
    *issuer_sub_cas.COMMANDS,
    *issuer_distrust.COMMANDS,
):
    issuer.add_command(command)
