"""`acme-workload eab` and `acme-workload run`. docs/workload-identity-00.md."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn, Unpack

import click
import structlog

from acme_ca import identifiers, logs
from acme_ca.agent import eab as forms
from acme_ca.agent.client import Server
from acme_ca.agent.errors import AgentError
from acme_ca.agent.issuance import Wish
from acme_ca.agent.options import AWS, EXIT_CODES, Given, log_settings, prover, shared
from acme_ca.agent.outlets import HOOK_SECONDS, Envoy, Files, Hook, Outlet, Socket
from acme_ca.agent.run import Agent, Settings
from acme_ca.agent.transport import Transport
from acme_ca.problems import Problem

EPILOG = f"{AWS}\n\n{EXIT_CODES}"

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")

log = structlog.get_logger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(package_name="acme-ca", message="%(prog)s %(version)s")
def cli() -> None:
    """acme-workload: certificates for what a platform vouches for, and keys for ACME clients."""


class ExchangeGiven(Given):
    """The options of `eab`."""

    account_jkt: str | None
    key: bool
    output: str
    secret_name: str
    namespace: str | None


class RunGiven(Given):
    """The options of `run`."""

    dns: tuple[str, ...]
    spiffe_id: str | None
    profile: str | None
    out: Path
    account_key: Path | None
    hook: str | None
    hook_seconds: float
    status_file: Path | None
    envoy: Path | None
    spiffe_socket: str | None
    once: bool


@cli.command(epilog=EPILOG)
@shared
@click.option("--account-jkt", metavar="THUMBPRINT", help="The one account key (RFC 7638) that the result is good for.")
@click.option("--key/--no-key", default=True, help="Without a key only the account of --account-jkt is bound.")
@click.option("--output", type=click.Choice(["shell", "json", "k8s-secret"]), default="shell", show_default=True)
@click.option("--secret-name", default="acme-eab", show_default=True, help="The name of the Kubernetes Secret.")
@click.option("--namespace", help="The namespace of the Kubernetes Secret. Default: where it is applied.")
def eab(**given: Unpack[ExchangeGiven]) -> None:
    """Exchange a credential for a key of external account binding (EAB), for any ACME client.

    What is printed is a secret, good for one account and a few minutes. For a shell: eval "$(acme-workload eab ...)".
    """
    logs.configure(log_settings(given), sys.stderr.buffer)
    jkt = _thumbprint(given["account_jkt"], key=given["key"])
    workload = prover(given)
    if given["output"] == "k8s-secret" and not given["key"]:
        raise click.UsageError("without a key there is nothing to put into a Secret; leave out --no-key")
    with _refusing():
        for name in (given["secret_name"], given["namespace"]):
            forms.require_name(name or given["secret_name"])
        server = Server(Transport(given["ca_file"]), given["server"])
        found = workload.exchange(server, jkt, key=given["key"])
        if given["output"] == "k8s-secret":
            text = forms.kubernetes_secret(found, given["secret_name"], given["namespace"])
        else:
            text = (forms.shell if given["output"] == "shell" else forms.as_json)(found, given["server"])
    click.echo(text, nl=False)


@cli.command(epilog=EPILOG)
@shared
@click.option("--dns", multiple=True, metavar="NAME", help="A DNS name for the certificate; repeatable.")
@click.option("--spiffe-id", help="The SPIFFE ID for the certificate.")
@click.option("--profile", help="The certificate profile. Default: the environment's.")
@click.option("--out", type=_FOLDER, required=True, help="Where key.pem, cert.pem, chain.pem and the others go.")
@click.option(
    "--account-key", type=_FILE, help="The account key, made if there is none. Default: account.key in --out."
)
@click.option(
    "--hook",
    metavar="COMMAND",
    help="A shell command to run after each change and at start, until it ends with 0; finds $ACME_WORKLOAD_KEY etc.",
)
@click.option("--hook-seconds", type=click.FloatRange(min=1), default=HOOK_SECONDS, show_default=True)
@click.option("--status-file", type=_FILE, help="A JSON file: not_after, seconds_left, renew_at, last_error.")
@click.option("--envoy", type=_FOLDER, help="A folder for Envoy's file-based SDS.")
@click.option("--spiffe-socket", metavar="unix:///PATH", help="Serve the SPIFFE Workload API on this socket.")
@click.option("--once", is_flag=True, help="End after the first certificate.")
def run(**given: Unpack[RunGiven]) -> None:
    """Obtain a certificate for this workload, and keep it fresh.

    Read key and certificate from the folder OUT/current, resolved once: it always is a pair. The hook finds
    ACME_WORKLOAD_KEY, _CERT, _CHAIN, _FULLCHAIN, _BUNDLE, _DIR, _SPIFFE_ID and _NOT_AFTER in its environment.
    """
    logs.configure(log_settings(given))
    wish = _wish(given["dns"], given["spiffe_id"], given["profile"])
    workload = prover(given)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with ExitStack() as stack, _refusing():
        publish, after = _outlets(given, stack)
        settings = Settings(
            directory_url=given["server"],
            ca_file=given["ca_file"],
            wish=wish,
            prover=workload,
            account_key=given["account_key"] or given["out"] / "account.key",
            out=given["out"],
            publish=publish,
            after=after,
            status_file=given["status_file"],
        )
        agent = Agent(settings)
        if not given["once"]:
            agent.forever()
        agent.once()


def _outlets(given: RunGiven, stack: ExitStack) -> tuple[Sequence[Outlet], Sequence[Outlet]]:
    """Return what wants certificates, and what wants to hear of changes afterwards."""
    publish: list[Outlet] = [Files(given["out"])]
    if given["envoy"] is not None:
        publish.append(Envoy(given["envoy"]))
    if given["spiffe_socket"] is not None:
        publish.append(_socket(given["spiffe_socket"], stack))
    after = [] if given["hook"] is None else [Hook(given["hook"], given["out"], given["hook_seconds"])]
    return publish, after


def _socket(address: str, stack: ExitStack) -> Socket:
    try:
        module = import_module("acme_ca.agent.spiffe_socket")
    except ModuleNotFoundError as error:
        raise AgentError(
            f"--spiffe-socket needs a package that is missing ({error.name}): install acme-ca[spiffe-socket]"
        ) from error
    api = module.WorkloadApi(address)
    stack.callback(api.stop)
    return Socket(api.current)


def _wish(dns: tuple[str, ...], spiffe_id: str | None, profile: str | None) -> Wish:
    if not dns and spiffe_id is None:
        raise click.UsageError("nothing is asked for; expected --dns or --spiffe-id")
    try:
        parsed = identifiers.parse_many([("dns", name) for name in dns]) if dns else ()
        if spiffe_id is not None:
            identifiers.parse_spiffe_id(spiffe_id)
    except Problem as problem:
        raise click.UsageError("; ".join([problem.detail, *(part.detail for part in problem.subproblems)])) from problem
    return Wish(tuple(dict.fromkeys(name.value for name in parsed)), spiffe_id, profile)


def _thumbprint(text: str | None, *, key: bool) -> str | None:
    if text is None and not key:
        raise click.UsageError("--no-key binds an account key, so --account-jkt has to say which")
    if text is not None and not _THUMBPRINT.fullmatch(text):
        raise click.UsageError("--account-jkt is no thumbprint: expected 43 characters of base64url (RFC 7638)")
    return text


@contextmanager
def _refusing() -> Iterator[None]:
    """End with exit code 1 and the reason on standard error."""
    try:
        yield
    except AgentError as error:
        raise click.ClickException(str(error)) from error


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End by an exception: whatever is at hand leaves no half of a file behind."""
    del frame
    log.info("run.stopped", signal=signal.Signals(number).name)
    raise SystemExit(0)
