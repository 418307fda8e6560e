"""Options that the commands share: the server, and where the workload's credential comes from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import click

from acme_ca.agent.credentials import (
    GCP_HOST,
    CertifiedKey,
    Credential,
    GcpMetadata,
    GitHubActions,
    TokenCommand,
    TokenFile,
)
from acme_ca.agent.proofs import Prover

EXIT_CODES = "Exit codes: 0 done; 1 refused, or something was away; 2 wrong usage."
AWS = """\b
The token of an AWS role, which STS makes for any audience:
  --token-command 'aws sts get-web-identity-token --audience "$ACME_WORKLOAD_AUDIENCE"
      --signing-algorithm ES384 --duration-seconds 300 --query WebIdentityToken --output text'"""

Function = TypeVar("Function", bound=Callable[..., Any])

_EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)

_OPTIONS = (
    click.option("--server", required=True, envvar="ACME_WORKLOAD_SERVER", help="The URL of the ACME directory."),
    click.option(
        "--ca-file",
        type=_EXISTING,
        envvar="ACME_WORKLOAD_CA_FILE",
        help="The CA's root certificates in PEM. Default: what the system trusts.",
    ),
    click.option(
        "--provider", help="Who vouches for the workload, by its name in the CA, where the proof is not clear."
    ),
    click.option("--token-file", type=_FILE, help="A token that the platform keeps in a file; its audience is fixed."),
    click.option(
        "--token-command",
        metavar="COMMAND",
        help="A shell command that prints a token for the audience in $ACME_WORKLOAD_AUDIENCE.",
    ),
    click.option("--gcp", is_flag=True, help="The metadata server of Google Cloud ($GCE_METADATA_HOST for another)."),
    click.option("--github", is_flag=True, help="The ID token of a job of GitHub Actions."),
    click.option("--x5c-cert", type=_FILE, help="A certificate and its chain in PEM, whose key signs the proof."),
    click.option("--x5c-key", type=_FILE, help="The key of --x5c-cert in PEM."),
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"),
    click.option("--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True),
)


class Given(TypedDict):
    """What the shared options are, by the names that click passes them under."""

    server: str
    ca_file: Path | None
    provider: str | None
    token_file: Path | None
    token_command: str | None
    gcp: bool
    github: bool
    x5c_cert: Path | None
    x5c_key: Path | None
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["json", "console"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How to log."""

    level: Literal["debug", "info", "warning", "error"]
    format: Literal["json", "console"]


def shared(function: Function) -> Function:
    """Add the shared options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def prover(given: Given) -> Prover:
    """Return the one credential that was named; raises click.UsageError for none, for two, or for half of one."""
    if (given["x5c_cert"] is None) != (given["x5c_key"] is None):
        raise click.UsageError("--x5c-cert and --x5c-key belong together; only one of them is given")
    named = _named(given)
    if len(named) != 1:
        seen = "none is" if not named else f"{len(named)} are"
        raise click.UsageError(
            f"{seen} given; expected exactly one of "
            "--token-file, --token-command, --gcp, --github, and --x5c-cert with --x5c-key"
        )
    return Prover(named[0], given["provider"])


def log_settings(given: Given) -> LogSettings:
    """Return how to log."""
    return LogSettings(given["log_level"], given["log_format"])


def _named(given: Given) -> list[Credential]:
    named: list[Credential] = []
    if given["token_file"] is not None:
        named.append(TokenFile(given["token_file"]))
    if given["token_command"] is not None:
        named.append(TokenCommand(given["token_command"]))
    if given["gcp"]:
        named.append(GcpMetadata(os.environ.get("GCE_METADATA_HOST") or GCP_HOST))
    if given["github"]:
        named.append(GitHubActions())
    if given["x5c_cert"] is not None and given["x5c_key"] is not None:
        named.append(CertifiedKey(given["x5c_cert"], given["x5c_key"]))
    return named
