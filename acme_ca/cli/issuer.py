"""`acme-ca issuer`: the issuers of the configuration. Each verb is a module of its own."""

from __future__ import annotations

import click

from acme_ca.cli import issuer_csr, issuer_import
from acme_ca.cli.options import SETTINGS


@click.group(**SETTINGS)
def issuer() -> None:
    """Have certificates of issuers signed elsewhere, and put them in their places."""


for command in (issuer_csr.csr, issuer_import.import_):
    issuer.add_command(command)
