"""The command line: one module for each noun, loaded when it is called.

Loading everything (pydantic, cryptography, SQLAlchemy, Flask) takes most of a second; help and a misspelled command
must not wait for it. So what only the run of a command needs is imported by the function that runs.
"""

from __future__ import annotations

from importlib import import_module

import click

EXIT_CODES = "Exit codes: 0 done; 1 refused, or mistakes found; 2 wrong usage."

COMMANDS = {
    "account": "Search, show, end and note accounts; list and end their pauses.",
    "admin": "Enroll operators, and give them certificates and tokens for the admin API.",
    "audit": "Show, search, export and verify the audit trail.",
    "cert": "Search, show, revoke and replace certificates; block keys.",
    "client-config": "Print the configuration of stock ACME clients, ready to be copied.",
    "config": "Check the configuration file, or print its JSON Schema.",
    "crl": "List the revocation lists, and have them made anew.",
    "db": "Create or migrate the tables of the database.",
    "doctor": "Look for what is wrong with this CA, from its own host.",
    "eab": "Make, list and revoke keys for external account binding (EAB).",
    "explain": "Tell what became of an order, a certificate or a name, and why.",
    "init": "Make what a new CA needs: keys, certificates, configuration, database.",
    "issuer": "List and rotate issuers, have their certificates signed, sign CAs of meshes; end a compromised one.",
    "key": "Make, list and check the private keys that the configuration names.",
    "limit": "List what was used of the rate limits, and reset it.",
    "policy": "Check and try rules; show, apply and bring back the policy of an environment.",
    "root": "Hold a key ceremony with an offline root, by a plan; verify its transcript.",
    "serve": "Serve ACME, the admin API and the status listener.",
    "signer": "Hold the issuers' keys in a process of its own, and sign what it finds right.",
    "workload": "List, revoke and release what workloads are bound to; admit one by hand.",
}
"""Each command is the function of its name in the module of its name, with an underscore for a hyphen; here is its line
in the list of commands."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"acme_ca.cli.{name}"), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(package_name="acme-ca", message="%(prog)s %(version)s")
def cli() -> None:
    """acme-ca: an ACME certificate authority for machines that live for minutes."""
