"""`acme-ca root create|adopt|sign-intermediate|sign-crl`: told, confirmed, done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from acme_ca.cli.options import SETTINGS, json_option, log_to_standard_error, print_json, printable, refuse

if TYPE_CHECKING:
    from acme_ca.ceremony.acts import Outcome, Rite
    from acme_ca.ceremony.plan import Reviewed

FILE = click.Path(path_type=Path, dir_okay=False)
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Agreeing:
    """How people agree to an act."""

    digest: str | None
    yes: bool
    as_json: bool


def agreeing_options(function: Function) -> Function:
    """Add the plan and the options by which people agree; the command gets them as `plan` and `agreeing`."""

    @click.option("--plan-digest", metavar="SHA256", help="Refuse unless the plan is the one with this digest.")
    @click.option("--yes", is_flag=True, help="Do not ask for confirmation; takes --plan-digest.")
    @click.argument("plan", type=FILE)
    @json_option
    @wraps(function)
    def with_agreeing(*arguments: Any, plan_digest: str | None, yes: bool, as_json: bool, **given: Any) -> Any:  # noqa: ANN401 - the command's own
        if yes and plan_digest is None:
            raise click.UsageError("--yes takes --plan-digest SHA256: the digest of the plan that was reviewed")
        return function(*arguments, agreeing=Agreeing(plan_digest, yes, as_json), **given)

    return cast("Function", with_agreeing)


@click.command(**SETTINGS)
@agreeing_options
def create(plan: Path, agreeing: Agreeing) -> None:
    """Make the root of a PLAN, and its key unless there is one. What is made is put beside the plan."""

    def propose(reviewed: Reviewed) -> Rite:
        from acme_ca.ceremony.acts import Creation

        return Creation(reviewed)

    _act(plan, agreeing, propose)


@click.command(**SETTINGS)
@agreeing_options
def adopt(plan: Path, agreeing: Agreeing) -> None:
    """Begin the transcript of a root that was made without one, such as that of `acme-ca init`.

    Its certificate is NAME.pem beside the PLAN.
    """

    def propose(reviewed: Reviewed) -> Rite:
        from acme_ca.ceremony.acts import Adoption

        return Adoption(reviewed)

    _act(plan, agreeing, propose)


@click.command("sign-intermediate", **SETTINGS)
@click.option("--name", help="Which intermediate of the plan it is for. Default: the only one.")
@agreeing_options
@click.argument("csr", type=FILE)
def sign_intermediate(plan: Path, csr: Path, name: str | None, agreeing: Agreeing) -> None:
    """Sign an intermediate of a PLAN for the key of a CSR. Nothing else is taken from the CSR."""

    def propose(reviewed: Reviewed) -> Rite:
        from acme_ca.ceremony.signings import IntermediateSigning

        return IntermediateSigning(reviewed, csr, name)

    _act(plan, agreeing, propose)


@click.command("cross-sign", **SETTINGS)
@click.option("--name", help="Which table [[cross_sign]] of the plan it is for. Default: the only one.")
@agreeing_options
@click.argument("certificate", type=FILE)
def cross_sign(plan: Path, certificate: Path, name: str | None, agreeing: Agreeing) -> None:
    """Sign another root, whose CERTIFICATE is the one that the PLAN names: who trusts this root then verifies both."""

    def propose(reviewed: Reviewed) -> Rite:
        from acme_ca.ceremony.cross_signing import CrossSigning

        return CrossSigning(reviewed, certificate, name)

    _act(plan, agreeing, propose)


@click.command("sign-crl", **SETTINGS)
@agreeing_options
def sign_crl(plan: Path, agreeing: Agreeing) -> None:
    """Sign the root's revocation list, as a PLAN says. An entry of an earlier list has to be in the new one too."""

    def propose(reviewed: Reviewed) -> Rite:
        from acme_ca.ceremony.signings import CrlSigning

        return CrlSigning(reviewed)

    _act(plan, agreeing, propose)


def load_or_refuse(path: Path) -> Reviewed:
    """Return a plan, or end with exit code 1 and every mistake in it."""
    from acme_ca.ceremony.plan import load
    from acme_ca.config import ConfigError

    log_to_standard_error()
    try:
        return load(path)
    except ConfigError as error:
        refuse(f"{len(error.mistakes)} mistake(s) in the plan\n{error}")


def _act(path: Path, agreeing: Agreeing, propose: Callable[[Reviewed], Rite]) -> None:
    from acme_ca.ceremony.acts import perform
    from acme_ca.ceremony.errors import CeremonyError
    from acme_ca.keys import KeyAway, KeyUnavailableError

    reviewed = load_or_refuse(path)
    if agreeing.digest is not None and agreeing.digest.lower() != reviewed.digest:
        refuse(f"{path} has the digest {reviewed.digest}, not {agreeing.digest}: it is not the plan that was reviewed")
    try:
        rite = propose(reviewed)
        _agree(rite, agreeing)
        outcome = perform(rite)
    except (CeremonyError, KeyUnavailableError, KeyAway) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    _tell(outcome, as_json=agreeing.as_json)


def _agree(rite: Rite, agreeing: Agreeing) -> None:
    """Say what will be done, and go on only if somebody at a terminal, or the digest of the reviewed plan, says so."""
    from acme_ca import clock

    facts = [("Plan", str(rite.reviewed.path)), ("Its SHA-256", rite.reviewed.digest), *rite.facts(clock.now())]
    width = max(len(title) for title, _ in facts)
    for title, fact in facts:
        click.echo(f"{title:{width}}  {printable(fact)}", err=True)
    for remark in rite.remarks:
        click.echo(f"Note: {printable(remark)}", err=True)
    if agreeing.yes:
        return
    if not sys.stdin.isatty():
        refuse("there is no terminal to ask at; for scripts: --yes --plan-digest SHA256")
    click.confirm("Is the digest that of the plan that was reviewed, and shall this be done?", abort=True, err=True)


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    act = outcome.act
    if as_json:
        sha256 = act.certificate_sha256 or act.crl_sha256
        files = [str(file) for file in outcome.files]
        print_json({"act": act.act, "number": act.number, "sha256": sha256, "files": files, "head": outcome.head})
        return
    click.echo(f"Act {act.number}, {act.act} {act.name}, SHA-256 {act.certificate_sha256 or act.crl_sha256}")
    for file in outcome.files:
        click.echo(f"  wrote {file}")
    click.echo(f"Write down the head of the transcript: {outcome.head}")
