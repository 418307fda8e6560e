"""`acme-ca issuer`: what signs, and what it signed beside leafs. Each verb has a module."""

from __future__ import annotations

import click

from acme_ca.cli import issuer_sub_cas
from acme_ca.cli.options import SETTINGS


@click.group(**SETTINGS)
def issuer() -> None:
    """Have sub-CAs signed, and list them."""


for command in issuer_sub_cas.COMMANDS:
    issuer.add_command(command)
