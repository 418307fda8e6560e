"""`acme-ca root`: a root that is offline. Nothing here needs a configuration, a database or the network.

docs/how-to/ceremony.md
"""

from __future__ import annotations

import click

from acme_ca.cli import root_acts, root_plan, root_verify
from acme_ca.cli.options import SETTINGS


@click.group(**SETTINGS)
def root() -> None:
    """Hold a key ceremony by a reviewed plan: make a root, sign intermediates, other roots and revocation lists.

    Needs no configuration, no database and no network. Each act leaves a line in a transcript, which the root signs.
    """


for command in (
    root_plan.plan,
    root_acts.create,
    root_acts.adopt,
    root_acts.sign_intermediate,
    root_acts.cross_sign,
    root_acts.sign_crl,
    root_verify.verify,
):
    root.add_command(command)
