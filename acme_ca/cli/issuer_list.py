"""`acme-ca issuer list`: the generations of each issuer, and what each does now. docs/how-to/rotation.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acme_ca.cli.options import SETTINGS, config_option, json_option, print_json, refuse
from acme_ca.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from acme_ca.issuers.lines import Line

COLUMNS = {
    "environment": "environment",
    "issuer": "issuer",
    "stage": "stage",
    "staged_at": "published",
    "signs_from": "signs from",
    "signs_until": "until",
    "last_leaf_at": "last leaf ends",
    "ends_at": "ends",
    "root": "root",
    "key": "key",
}


@click.command("list", **SETTINGS)
@config_option
@click.argument("environment", required=False)
@json_option
def list_(config_path: Path, environment: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """List the issuers of all environments, or of one: all generations, and which of them signs now.

    It reads configuration and database, and opens no key.
    """
    from acme_ca import clock
    from acme_ca.cli.opening import open_whole_database
    from acme_ca.issuers.lines import read
    from acme_ca.models.distrusted_issuer import publication

    with open_whole_database(config_path) as (config, database):
        if environment is not None and environment not in config.environment:
            refuse(f"there is no environment {environment!r}; there are {', '.join(config.environment)}")
        try:
            found = [line for name in config.environment for line in read(database, config, name)]
            with database.read() as connection:
                distrusted = frozenset(publication(connection))
        except (OSError, ValueError) as error:
            refuse(str(error))
    now = clock.now()
    rows = [row for line in found if environment in {None, line.environment} for row in rows_of(line, now, distrusted)]
    if as_json:
        print_json({"issuers": rows})
        return
    print_table(tuple(COLUMNS.values()), [tuple(row[name] for name in COLUMNS) for row in rows], "There are none.")


def rows_of(line: Line, now: datetime, distrusted: Collection[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what is known of each generation of a line. One whose key is distrusted signs in no stage."""
    from cryptography.hazmat.primitives.hashes import SHA256

    from acme_ca.clock import rfc3339
    from acme_ca.issuers import key_of
    from acme_ca.pki.generations import Stage, active_since, last_leaf_at
    from acme_ca.public_keys import spki_sha256

    stages, since = line.stages(now), active_since(line.spans, line.rules.longest, now)
    spans = {span.id: span for span in line.spans}
    for one in line.generations:
        row: dict[str, Any] = {
            "environment": line.environment,
            "issuer": one.id,
            "line": line.settings.name,
            "generation": one.number,
            "stage": stages[one.id].value,
            "signs": stages[one.id] is Stage.ACTIVE,
            "key": str(key_of(line.settings, one.number)),
        }
        row |= dict.fromkeys(("staged_at", "signs_from", "signs_until", "last_leaf_at", "retired_at", "ends_at"))
        row |= dict.fromkeys(("root", "sha256"))
        if (span := spans.get(one.id)) is not None:
            certificate, *_, root = line.paths[one.id]
            last = last_leaf_at(line.spans, line.rules.longest, now, one.id)
            row |= {
                "staged_at": rfc3339(span.staged_at),
                "signs_from": rfc3339(since.get(one.id, span.activates_at)),
                "signs_until": rfc3339(span.signs_until(line.rules.longest)),
                "last_leaf_at": None if last is None else rfc3339(last),
                "retired_at": None if span.retired_at is None else rfc3339(span.retired_at),
                "ends_at": rfc3339(span.ends_at),
                "root": root.subject.rfc4514_string(),
                "sha256": certificate.fingerprint(SHA256()).hex(":").upper(),
            }
            if spki_sha256(certificate.public_key()) in distrusted:  # type: ignore[arg-type]  # an issuer's key
                row |= {"stage": "distrusted", "signs": False}
        yield row
