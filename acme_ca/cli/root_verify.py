"""`acme-ca root verify`: a transcript, looked at by anybody who has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca.cli.options import SETTINGS, counted, json_option, print_json, printable, refuse

if TYPE_CHECKING:
    from acme_ca.ceremony.verification import Verdict

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(**SETTINGS)
@click.option("--head", metavar="SHA256", help="A head that was written down: it has to be in the transcript.")
@click.option("--made", type=FILE, multiple=True, help="A certificate or list that it has to tell of; repeatable.")
@click.option(
    "--extract",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the certificates and lists that are in it to this folder; nothing is overwritten.",
)
@click.argument("transcripts", metavar="TRANSCRIPT [COPY...]", type=FILE, nargs=-1, required=True)
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    *,
    head: str | None,
    made: tuple[Path, ...],
    extract: Path | None,
    transcripts: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Find whatever was changed in a TRANSCRIPT, is missing in it, or does not fit: signatures, hashes, certificates.

    All that a COPY has, which was kept elsewhere, has to be in it too, and so have certificates and lists that lie
    beside it and that the root signed. The exit code is 1 when something is wrong.
    """
    from acme_ca.ceremony.verification import compare, strangers

    first, *copies = [_read(path) for path in transcripts]
    findings = list(first.findings)
    for path, copy in zip(transcripts[1:], copies, strict=True):
        findings += [f"{path}: {finding}" for finding in (*copy.findings, *compare(first, copy))]
    if head is not None and head.lower() not in first.hashes:
        findings.append(f"no line of it has the hash {head}: acts were taken out or changed since it was written down")
    findings += strangers(first, _beside(transcripts[0]), required=False)
    findings += strangers(first, list(made), required=True)
    if extract is not None and not findings:
        _extract(first, extract)
    _tell(first, transcripts[0], findings, as_json=as_json)
    ctx.exit(1 if findings else 0)


def _read(path: Path) -> Verdict:
    from acme_ca.ceremony.verification import verify as look

    try:
        return look(path.read_bytes().decode())
    except OSError as error:
        refuse(f"{path}: {error.strerror}")
    except UnicodeDecodeError as error:
        refuse(f"{path} is no transcript: byte {error.start} is not UTF-8")


def _beside(transcript: Path) -> list[Path]:
    from acme_ca.ceremony.verification import MADE

    return sorted(path for path in transcript.absolute().parent.iterdir() if path.suffix in MADE and path.is_file())


def _extract(verdict: Verdict, folder: Path) -> None:
    from acme_ca.ceremony.files import put

    try:
        for name, pem in verdict.files.items():
            put(folder / name, pem.encode(), replace=False)
            click.echo(f"wrote {folder / name}", err=True)
    except FileExistsError as error:
        refuse(f"{error.filename} exists already; nothing is overwritten")
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")


def _tell(verdict: Verdict, path: Path, findings: list[str], *, as_json: bool) -> None:
    if as_json:
        acts = [act.model_dump(mode="json", exclude_none=True) for act in verdict.acts]
        print_json({"ok": not findings, "findings": findings, "head": verdict.head, "acts": acts})
        return
    for act in verdict.acts:
        digest = act.certificate_sha256 or act.crl_sha256
        click.echo(printable(f"{act.number}  {act.at}  {act.act} {act.name}  by {act.user} on {act.host}  {digest}"))
    for finding in findings:
        click.echo(f"{path}: {printable(finding)}", err=True)
    outcome = f"{counted(len(findings), 'finding')}" if findings else f"good, head {verdict.head}"
    click.echo(f"{path}: {counted(len(verdict.acts), 'act')}, {outcome}", err=bool(findings))
