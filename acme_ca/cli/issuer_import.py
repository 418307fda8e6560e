"""`acme-ca issuer import`: take an issuer's certificate that was signed elsewhere. docs/how-to/ceremony.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from acme_ca.ceremony.issuers import Import
    from acme_ca.ceremony.wanted import Wanted
    from acme_ca.config import Config
    from acme_ca.db import Database
    from acme_ca.issuers.lines import Line

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("import", **SETTINGS)
@config_option
@click.option("--issuer", metavar="ENVIRONMENT/ISSUER", help="Whose it is. Default: the one that has its key.")
@click.option(
    "--chain", "above", type=FILE, multiple=True, help="What is between it and the root, nearest first; repeatable."
)
@click.option("--allow-wider", is_flag=True, help="Take it though it may sign for more than was asked for.")
@click.option("--replace", is_flag=True, help="Let it take the place of another certificate for the same key.")
@click.option("--dry-run", is_flag=True, help="Only check.")
@click.argument("certificate", type=FILE)
@json_option
def import_(  # noqa: PLR0913 - each an option
    *,
    config_path: Path,
    issuer: str | None,
    above: tuple[Path, ...],
    allow_wider: bool,
    replace: bool,
    dry_run: bool,
    certificate: Path,
    as_json: bool,
) -> None:
    """Check the CERTIFICATE of an issuer that was signed elsewhere, and put it where the configuration looks for it.

    It has to be for the issuer's key, permit all that the environment needs, and lead to the root that is configured.
    PEM or DER. A running server takes it when it is told to read its configuration again (SIGHUP); one that
    `acme-ca issuer rotate` asked for is published at once, and signs when its time has come.
    """
    from acme_ca.ceremony.errors import CeremonyError
    from acme_ca.ceremony.issuers import check, read_certificates
    from acme_ca.ceremony.rotation import prepared
    from acme_ca.cli.opening import load_or_refuse
    from acme_ca.keys import KeyAway, KeyUnavailableError

    config = load_or_refuse(config_path, files=False)
    try:
        first, *rest = read_certificates([certificate])
        with _known(config) as database:
            waiting = [] if database is None else prepared(config, database)
            found = check(config, first, [*rest, *read_certificates(above)], issuer, [one for _, one in waiting])
            _require_as_asked(found, allow_wider=allow_wider)
            taken = ([], None) if dry_run else _take(database, found, waiting, replace=replace)
    except (CeremonyError, KeyUnavailableError, KeyAway) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    _tell(found, *taken, as_json=as_json, dry_run=dry_run)


@contextmanager
def _known(config: Config) -> Iterator[Database | None]:
    """Open the database that knows what waits for a certificate; the first issuers of a CA do not need one."""
    from acme_ca.db import Database
    from acme_ca.problems import ServiceUnavailable
    from acme_ca.secret import SecretUnavailableError

    scheme, _, name = config.database.url.partition(":///")
    if scheme == "sqlite" and not Path(name).exists():  # to open it would make it
        yield None
        return
    try:
        database = Database(config.database.url, config.database.reveal_password())
        database.require_current()
    except (ServiceUnavailable, RuntimeError, SecretUnavailableError) as error:
        click.echo(f"Note: only the issuers of the configuration are looked at: {error}", err=True)
        yield None
        return
    try:
        yield database
    finally:
        database.close()


def _require_as_asked(found: Import, *, allow_wider: bool) -> None:
    if found.wider and not allow_wider:
        told = "\n".join(f"  {one}" for one in found.wider)
        refuse(f"the certificate may sign for more than was asked for (--allow-wider takes it):\n{told}")


def _take(
    database: Database | None, found: Import, waiting: Sequence[tuple[Line, Wanted]], *, replace: bool
) -> tuple[list[Path], datetime | None]:
    """Put the certificate where it belongs; return the files, or when the next generation signs."""
    import os

    from acme_ca.ceremony.issuers import place
    from acme_ca.ceremony.rotation import take

    line = next((line for line, one in waiting if one is found.issuer), None)
    if line is None or database is None:
        return place(found, replace=replace), None
    return [], take(database, line, found, by=f"uid:{os.geteuid()}")


def _tell(found: Import, files: list[Path], signs_from: datetime | None, *, as_json: bool, dry_run: bool) -> None:
    from cryptography.hazmat.primitives.hashes import SHA256

    from acme_ca import clock

    document = {
        "issuer": str(found.issuer),
        "sha256": found.certificate.fingerprint(SHA256()).hex(":").upper(),
        "not_after": clock.rfc3339(found.certificate.not_valid_after_utc),
        "wider": list(found.wider),
        "notes": list(found.notes),
        "files": [str(path) for path in files],
        "signs_from": None if signs_from is None else clock.rfc3339(signs_from),
    }
    if as_json:
        print_json(document)
        return
    for wider in found.wider:
        click.echo(f"Warning: it may sign for {wider}", err=True)
    for note in found.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(f"{document['issuer']}: fits; ends {document['not_after']}; SHA-256 {document['sha256']}")
    for path in files:
        click.echo(f"  wrote {path}")
    if signs_from is not None:
        click.echo(f"  published, and signs from {document['signs_from']}")
    elif not files and not dry_run:
        click.echo("  it is in its place already")
